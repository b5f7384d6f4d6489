//! AuthorizationPolicy.

use super::{
    cursor::{At, Report},
    names, selector,
};

/// Lists of a `source`. Those marked can't be checked on a plain TCP connection.
const SOURCE: [(&str, bool); 14] = [
    ("principals", false),
    ("notPrincipals", false),
    ("requestPrincipals", true),
    ("notRequestPrincipals", true),
    ("namespaces", false),
    ("notNamespaces", false),
    ("serviceAccounts", false),
    ("notServiceAccounts", false),
    ("trustDomains", false),
    ("notTrustDomains", false),
    ("ipBlocks", false),
    ("notIpBlocks", false),
    ("remoteIpBlocks", true),
    ("notRemoteIpBlocks", true),
];

/// Lists of an `operation`.
const OPERATION: [(&str, bool); 8] = [
    ("hosts", true),
    ("notHosts", true),
    ("ports", false),
    ("notPorts", false),
    ("methods", true),
    ("notMethods", true),
    ("paths", true),
    ("notPaths", true),
];

pub(super) fn check(resource: &At<'_>, spec: &At<'_>, report: &mut Report) {
    selector::check(spec, report);
    let action = spec.get("action").text();
    check_action(spec, action, report);
    check_dry_run(resource, action, report);
    let mut needs_http = false;
    let mut limits_ports = true;
    for rule in spec.get("rules").items() {
        if !rule.is_set() {
            report.error(&rule, "is null; write {} for a rule that matches everything");
        }
        needs_http |= check_rule(&rule, action, report);
        limits_ports &= rule.get("to").items().iter().any(|to| !to.get("operation").get("ports").is_blank());
    }
    if action == "DENY" && needs_http && !limits_ports {
        report.warn(
            &spec.get("rules"),
            "has HTTP conditions without ports: on TCP ports they are ignored, so that more is denied than meant; \
             name the ports",
        );
    }
}

fn check_action(spec: &At<'_>, action: &str, report: &mut Report) {
    let (rules, provider) = (spec.get("rules"), spec.get("provider"));
    match action {
        "" | "ALLOW" | "DENY" | "AUDIT" | "CUSTOM" => {}
        other => report.error(&spec.get("action"), format!("{other:?} is not ALLOW, DENY, AUDIT or CUSTOM")),
    }
    if action == "CUSTOM" {
        if rules.is_blank() {
            report.error(&rules, "CUSTOM action without rules is meaningless as it will never be triggered");
        }
        if provider.get("name").is_blank() {
            report.error(&provider.get("name"), "CUSTOM action needs the name of an extension provider");
        }
    } else if provider.is_set() {
        report.error(&provider, "is for action CUSTOM only");
    }
    if action == "DENY" && rules.is_blank() {
        report.error(&rules, "DENY action without rules is meaningless as it will never be triggered");
    }
}

fn check_dry_run(resource: &At<'_>, action: &str, report: &mut Report) {
    let dry_run = resource.get("metadata").get("annotations").get("istio.io/dry-run");
    if !dry_run.is_set() {
        return;
    }
    if !matches!(dry_run.text(), "true" | "false") {
        report.error(&dry_run, format!("{:?} is neither true nor false", dry_run.text()));
    } else if dry_run.text() == "true" && !matches!(action, "" | "ALLOW" | "DENY") {
        report.error(&dry_run, "works for actions ALLOW and DENY only");
    }
}

/// Whether the rule has conditions about HTTP.
fn check_rule(rule: &At<'_>, action: &str, report: &mut Report) -> bool {
    let mut needs_http = false;
    for name in ["from", "to"] {
        if rule.has(name) && rule.get(name).is_blank() {
            report.error(&rule.get(name), format!("'{name}' field in rule is empty; leave it out to match everything"));
        }
    }
    for (list, part, fields) in [("from", "source", &SOURCE[..]), ("to", "operation", &OPERATION[..])] {
        for item in rule.get(list).items() {
            let part = item.get(part);
            if part.is_blank() {
                report.error(&part, "is empty; name at least one condition");
            }
            for (field, http) in fields {
                needs_http |= *http && part.has(field);
                check_values(&part.get(field), field, report);
            }
            check_accounts(&part, report);
        }
    }
    for condition in rule.get("when").items() {
        needs_http |= check_condition(&condition, report);
    }
    if action == "CUSTOM" {
        check_custom(rule, report);
    }
    needs_http
}

fn check_values(list: &At<'_>, field: &str, report: &mut Report) {
    if list.is_set() && list.is_blank() {
        report.error(list, "is an empty list, which matches nothing; leave it out");
    }
    for value in list.items() {
        if value.is_blank() {
            report.error(&value, format!("value in {field} must not be empty"));
        } else if field.to_ascii_lowercase().ends_with("ipblocks") {
            report.check(&value, names::range(value.text()));
        } else if field.to_ascii_lowercase().ends_with("ports") {
            report.check(&value, port(value.text()));
        } else if field.to_ascii_lowercase().ends_with("paths") {
            report.check(&value, path_template(value.text()));
        }
    }
}

fn port(text: &str) -> Result<(), String> {
    let valid = text.parse::<u16>().is_ok_and(|port| port > 0);
    valid.then_some(()).ok_or_else(|| format!("{text:?} is not a port number"))
}

/// `{*}` and `{**}` are whole segments, `{**}` the last template in the path.
fn path_template(text: &str) -> Result<(), String> {
    if !text.contains("{*}") && !text.contains("{**}") {
        return Ok(());
    }
    let mut after_rest = false;
    for segment in text.trim_start_matches('/').split('/') {
        match segment {
            "{*}" | "{**}" if after_rest => return Err("{**} must be the last operator in the path template".into()),
            "{*}" => {}
            "{**}" => after_rest = true,
            other if other.contains(['{', '}', '*']) => {
                return Err(format!("{other:?} mixes an operator of the path template with other text"));
            }
            _ => {}
        }
    }
    Ok(())
}

fn check_accounts(source: &At<'_>, report: &mut Report) {
    let others = ["principals", "notPrincipals", "namespaces", "notNamespaces"];
    for name in ["serviceAccounts", "notServiceAccounts"] {
        let accounts = source.get(name);
        if accounts.is_set() && source.count(&others) > 0 {
            report.error(&accounts, "can't be set beside namespaces or principals, which say the same");
        }
        for account in accounts.items() {
            let mut parts = account.text().split('/');
            let named = parts.next().is_some_and(|part| !part.is_empty()) && parts.all(|part| !part.is_empty());
            if !named || account.text().matches('/').count() > 1 || account.text().contains('*') {
                report.error(&account, format!("{:?} is not name or namespace/name", account.text()));
            }
        }
    }
}

/// Keys of `when` that look at HTTP, by prefix or whole.
const HTTP_KEYS: [&str; 3] = ["request.headers", "request.auth", "remote.ip"];
const PLAIN_KEYS: [&str; 9] = [
    "source.ip",
    "source.namespace",
    "source.principal",
    "source.serviceAccount",
    "source.trustDomain",
    "destination.ip",
    "destination.port",
    "connection.sni",
    "experimental.envoy.filters",
];

/// Whether the condition is about HTTP.
fn check_condition(at: &At<'_>, report: &mut Report) -> bool {
    let key = at.get("key");
    if key.is_blank() {
        report.error(&key, "key must not be empty");
        return false;
    }
    let stem = key.text().split('[').next().unwrap_or_default();
    let about_http = HTTP_KEYS.iter().any(|known| key.text().starts_with(known));
    let known = about_http || PLAIN_KEYS.iter().any(|known| stem == *known || stem.starts_with("experimental."));
    if !known {
        report.error(&key, format!("unknown attribute {:?}", key.text()));
    }
    if at.get("values").is_blank() && at.get("notValues").is_blank() {
        report.error(at, "at least one of values or notValues must be set");
    }
    for list in ["values", "notValues"] {
        for value in at.get(list).items() {
            match key.text() {
                _ if value.is_blank() => report.error(&value, "must not be empty"),
                "source.ip" | "destination.ip" | "remote.ip" => report.check(&value, names::range(value.text())),
                "destination.port" => report.check(&value, port(value.text())),
                _ => {}
            }
        }
    }
    about_http
}

/// An external authorizer is asked before identities are established.
fn check_custom(rule: &At<'_>, report: &mut Report) {
    for item in rule.get("from").items() {
        let source = item.get("source");
        for name in [
            "namespaces",
            "notNamespaces",
            "principals",
            "notPrincipals",
            "requestPrincipals",
            "notRequestPrincipals",
            "serviceAccounts",
            "notServiceAccounts",
            "trustDomains",
            "notTrustDomains",
        ] {
            if source.has(name) {
                report.error(&source.get(name), "is not supported with CUSTOM action");
            }
        }
    }
    for condition in rule.get("when").items() {
        let key = condition.get("key");
        let established =
            ["source.namespace", "source.principal", "source.serviceAccount", "source.trustDomain", "request.auth"];
        if established.iter().any(|known| key.text().starts_with(known)) {
            report.error(&key, "is not supported with CUSTOM action");
        }
    }
}
