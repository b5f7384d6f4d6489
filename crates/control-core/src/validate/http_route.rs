//! One HTTP route of a VirtualService.

use lateen_mesh::grpc::STATUSES;

use crate::claims;

use super::{
    cursor::{At, Report},
    header, names, port,
    route::{self, string_match},
    time,
};

/// Bodies of direct responses beyond this are refused.
const BODY_LIMIT: usize = 1024 * 1024;
/// Bodies of direct responses beyond this burden every proxy's configuration.
const BODY_LARGE: usize = 100 * 1024;

pub(super) fn check(at: &At<'_>, delegate: bool, report: &mut Report) {
    check_action(at, delegate, report);
    for condition in at.get("match").items() {
        check_match(&condition, report);
    }
    route::weighted(&at.get("route"), report);
    header::operations(&at.get("headers"), report);
    time::positive(&at.get("timeout"), report);
    check_redirect(at, report);
    check_direct_response(&at.get("directResponse"), report);
    check_rewrite(&at.get("rewrite"), report);
    check_retries(&at.get("retries"), report);
    check_fault(&at.get("fault"), report);
    check_mirrors(at, report);
    check_cors(&at.get("corsPolicy"), report);
}

/// A route has one action.
fn check_action(at: &At<'_>, delegate: bool, report: &mut Report) {
    let (routes, redirects) = (!at.get("route").is_blank(), at.has("redirect"));
    let (answers, delegates) = (at.has("directResponse"), at.has("delegate"));
    if delegate && delegates {
        report.error(&at.get("delegate"), "a delegate can't delegate further");
    }
    match [routes, redirects, answers, delegates].iter().filter(|given| **given).count() {
        0 => report.error(at, "HTTP route, redirect or direct_response is required"),
        1 => {}
        _ => report.error(at, "only one of route, redirect, directResponse and delegate can be set"),
    }
    if redirects || answers {
        for name in ["fault", "rewrite", "mirror", "mirrors"] {
            if redirects && name == "rewrite" && at.has(name) {
                report.error(&at.get(name), "HTTP route rules can't have both a rewrite and a redirect");
            } else if answers && name != "fault" && at.has(name) {
                report.error(&at.get(name), "has no meaning for a direct response");
            }
        }
    }
    if delegates {
        let target = at.get("delegate");
        if target.get("name").is_blank() {
            report.error(&target.get("name"), "is required");
        }
    }
}

fn check_match(at: &At<'_>, report: &mut Report) {
    for name in ["uri", "scheme", "method", "authority"] {
        string_match(&at.get(name), report);
    }
    for name in ["headers", "withoutHeaders"] {
        for (header_name, condition) in at.get(name).entries() {
            if !condition.is_set() {
                report.error(&condition, "is null; write {} to ask for the header's presence");
            }
            if claims::keys(header_name).is_none() {
                report.check(&condition, header::name(header_name));
            }
            string_match(&condition, report);
        }
    }
    for (name, condition) in at.get("queryParams").entries() {
        if name.is_empty() || !condition.is_set() {
            report.error(&condition, "needs a name and a condition");
        }
        string_match(&condition, report);
    }
    port::number(&at.get("port"), report);
    names::labels(&at.get("sourceLabels"), report);
    route::gateways(&at.get("gateways"), report);
}

fn check_redirect(at: &At<'_>, report: &mut Report) {
    let redirect = at.get("redirect");
    if !redirect.is_set() {
        return;
    }
    if ["uri", "authority", "prefixRewrite"].iter().all(|name| redirect.get(name).is_blank())
        && redirect.count(&["port", "derivePort", "scheme"]) == 0
    {
        report.error(&redirect, "redirect must specify uri, authority, prefixRewrite, scheme or port");
    }
    let code = redirect.get("redirectCode");
    if code.integer().is_some_and(|code| code != 0 && !(300..=399).contains(&code)) {
        report.error(&code, "must be between 300 and 399");
    }
    if redirect.has("prefixRewrite") {
        let other = at
            .get("match")
            .items()
            .into_iter()
            .map(|condition| condition.get("uri"))
            .find(|uri| uri.has("exact") || uri.has("regex"));
        if let Some(uri) = other {
            report.error(&uri, "prefixRewrite replaces a prefix: this route has to match one");
        }
    }
}

fn check_direct_response(at: &At<'_>, report: &mut Report) {
    if !at.is_set() {
        return;
    }
    let status = at.get("status");
    if !status.integer().is_some_and(|status| (200..=600).contains(&status)) {
        report.error(&status, "HTTP status must be between 200 and 600");
    }
    let body = at.get("body");
    let size = body.get("string").text().len().max(body.get("bytes").text().len());
    if size > BODY_LIMIT {
        report.error(&body, format!("{size} bytes are too much for a direct response; the limit is 1 MiB"));
    } else if size > BODY_LARGE {
        report.warn(&body, format!("{size} bytes burden the configuration of every proxy; keep it below 100 KiB"));
    }
}

fn check_rewrite(at: &At<'_>, report: &mut Report) {
    if !at.is_set() {
        return;
    }
    let with_regex = at.get("uriRegexRewrite");
    if at.get("uri").is_blank() && at.get("authority").is_blank() && !with_regex.is_set() {
        report.error(at, "rewrite must specify uri, uriRegexRewrite or authority");
    }
    if !at.get("uri").is_blank() && with_regex.is_set() {
        report.error(&with_regex, "only one of uri and uriRegexRewrite can be set");
    }
    if with_regex.is_set() {
        route::regex(&with_regex.get("match"), report);
        if with_regex.get("rewrite").is_blank() {
            report.error(&with_regex.get("rewrite"), "is required");
        }
    }
}

/// The conditions that `retryOn` knows, besides statuses.
const RETRY_ON: [&str; 17] = [
    "5xx",
    "gateway-error",
    "reset",
    "reset-before-request",
    "connect-failure",
    "envoy-ratelimited",
    "retriable-4xx",
    "refused-stream",
    "retriable-status-codes",
    "retriable-headers",
    "http3-post-connect-failure",
    "cancelled",
    "deadline-exceeded",
    "internal",
    "resource-exhausted",
    "unavailable",
    "unknown",
];

fn check_retries(at: &At<'_>, report: &mut Report) {
    let attempts = at.get("attempts");
    time::not_negative(&attempts, report);
    let others = ["perTryTimeout", "retryOn", "retryRemoteLocalities", "retryIgnorePreviousHosts", "backoff"];
    if at.is_set() && attempts.integer().unwrap_or(0) == 0 && at.count(&others) > 0 {
        report
            .error(&attempts, "is 0, which switches retries off; the other settings of the retry policy need attempts");
    }
    time::positive(&at.get("perTryTimeout"), report);
    time::positive(&at.get("backoff"), report);
    let conditions = at.get("retryOn");
    for condition in conditions.text().split(',').map(str::trim).filter(|condition| !condition.is_empty()) {
        let status = condition.parse::<u16>().is_ok_and(|status| (100..600).contains(&status));
        if !status && !RETRY_ON.contains(&condition) {
            report.error(&conditions, format!("{condition:?} is neither a retry condition nor an HTTP status"));
        }
    }
}

fn check_fault(at: &At<'_>, report: &mut Report) {
    if !at.is_set() {
        return;
    }
    let (delay, abort) = (at.get("delay"), at.get("abort"));
    if !delay.is_set() && !abort.is_set() {
        report.error(at, "HTTP fault injection must have an abort and/or a delay");
    }
    if delay.is_set() {
        let fixed = delay.get("fixedDelay");
        if !fixed.is_set() && !delay.has("exponentialDelay") {
            report.error(&fixed, "is required");
        }
        time::positive(&fixed, report);
        time::percent(&delay.get("percent"), report);
        time::percent(&delay.get("percentage").get("value"), report);
    }
    if abort.is_set() {
        check_abort(&abort, report);
    }
}

fn check_abort(abort: &At<'_>, report: &mut Report) {
    time::percent(&abort.get("percentage").get("value"), report);
    let status = abort.get("httpStatus");
    if status.integer().is_some_and(|status| !(200..=600).contains(&status)) {
        report.error(&status, "HTTP status must be between 200 and 600");
    }
    let grpc = abort.get("grpcStatus");
    if grpc.is_set() && !STATUSES.contains(&grpc.text()) {
        report.error(&grpc, format!("{:?} is not a gRPC status", grpc.text()));
    }
    if abort.count(&["httpStatus", "grpcStatus", "http2Error"]) != 1 {
        report.error(abort, "needs one of httpStatus and grpcStatus");
    }
}

fn check_mirrors(at: &At<'_>, report: &mut Report) {
    if at.has("mirror") {
        route::destination(&at.get("mirror"), report);
    }
    if at.has("mirrorPercent") {
        report.warn(&at.get("mirrorPercent"), "is deprecated; use mirrorPercentage");
    }
    time::percent(&at.get("mirrorPercentage").get("value"), report);
    for mirror in at.get("mirrors").items() {
        route::destination(&mirror.get("destination"), report);
        time::percent(&mirror.get("percentage").get("value"), report);
    }
    if at.has("mirror") && !at.get("mirrors").is_blank() {
        report.error(&at.get("mirrors"), "only one of mirror and mirrors can be set");
    }
}

fn check_cors(at: &At<'_>, report: &mut Report) {
    for origin in at.get("allowOrigins").items() {
        if ["exact", "prefix", "regex"].iter().all(|name| origin.get(name).is_blank()) {
            report.error(&origin, "needs one of exact, prefix and regex, with a value");
        }
        string_match(&origin, report);
    }
    for method in at.get("allowMethods").items() {
        let known = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "CONNECT", "OPTIONS", "TRACE", "*"];
        if !known.contains(&method.text()) {
            report.error(&method, format!("{:?} is not an HTTP method", method.text()));
        }
    }
    for name in ["allowHeaders", "exposeHeaders"] {
        for item in at.get(name).items().iter().filter(|item| item.text() != "*") {
            report.check(item, header::name(item.text()));
        }
    }
    time::positive(&at.get("maxAge"), report);
}
