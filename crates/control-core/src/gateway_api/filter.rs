//! What routes do to requests and answers.

use std::collections::BTreeMap;

use lateen_api::gateway_api as api;
use lateen_api::istio;

use super::Problem;
use super::backend::{Referrer, World};

/// Any scheme and host.
const ANY_ORIGIN: &str = r"^[a-zA-Z][a-zA-Z0-9+.-]*://[^/\s?#]+$";

/// Puts filters into a rule; a problem with a mirror leaves the rule as good as it can be.
pub(super) fn apply(
    filters: &[api::RouteFilter],
    rule: &mut istio::HttpRoute,
    from: Referrer<'_>,
    world: World<'_>,
    problem: &mut Option<Problem>,
) -> Result<(), Problem> {
    for filter in filters {
        match filter {
            api::RouteFilter { request_mirror: Some(mirror), .. } => {
                let (destination, wrong) = world.destination(&mirror.backend_ref, from);
                match wrong {
                    Some(wrong) => drop(problem.get_or_insert(wrong)),
                    None => {
                        let percentage = Some(istio::Percent { value: share(mirror) });
                        rule.mirrors.push(istio::HttpMirrorPolicy { destination, percentage });
                    }
                }
            }
            api::RouteFilter { request_redirect: Some(wanted), .. } => rule.redirect = Some(redirect(wanted)),
            api::RouteFilter { url_rewrite: Some(wanted), .. } => rule.rewrite = rewrite(wanted),
            api::RouteFilter { cors: Some(wanted), .. } => rule.cors_policy = Some(cors(wanted)),
            _ => headers(filter, &mut rule.headers)?,
        }
    }
    Ok(())
}

/// Puts a filter that changes headers into `all`; no other is possible for a single destination.
pub(super) fn headers(filter: &api::RouteFilter, all: &mut Option<istio::Headers>) -> Result<(), Problem> {
    if let Some(wanted) = &filter.request_header_modifier {
        all.get_or_insert_default().request = Some(operations(wanted));
    } else if let Some(wanted) = &filter.response_header_modifier {
        all.get_or_insert_default().response = Some(operations(wanted));
    } else {
        let message = format!("unsupported filter type \"{}\"", filter.kind);
        return Err(Problem::new("UnsupportedValue", message));
    }
    Ok(())
}

/// Of several values for one name the first counts.
fn operations(wanted: &api::HeaderFilter) -> istio::HeaderOperations {
    let map = |list: &[api::Header]| {
        let mut map = BTreeMap::new();
        for header in list {
            map.entry(header.name.clone()).or_insert_with(|| header.value.clone());
        }
        map
    };
    istio::HeaderOperations { set: map(&wanted.set), add: map(&wanted.add), remove: wanted.remove.clone() }
}

/// In percent.
fn share(mirror: &api::MirrorFilter) -> f64 {
    match (&mirror.fraction, mirror.percent) {
        (Some(fraction), _) => {
            let whole = fraction.denominator.unwrap_or(100).max(1);
            100.0 * f64::from(fraction.numerator) / f64::from(whole)
        }
        (None, Some(percent)) => f64::from(percent),
        (None, None) => 100.0,
    }
}

fn redirect(wanted: &api::RedirectFilter) -> istio::HttpRedirect {
    let derive = match wanted.scheme {
        Some(_) => istio::DerivePort::FromProtocolDefault,
        None => istio::DerivePort::FromRequestPort,
    };
    let mut redirect = istio::HttpRedirect {
        authority: wanted.hostname.clone().unwrap_or_default(),
        scheme: wanted.scheme.clone().unwrap_or_default(),
        port: wanted.port,
        derive_port: wanted.port.is_none().then_some(derive),
        redirect_code: wanted.status_code.unwrap_or(302),
        ..Default::default()
    };
    if let Some(path) = &wanted.path {
        match path.kind.as_str() {
            "ReplacePrefixMatch" => {
                redirect.prefix_rewrite = Some(path.replace_prefix_match.clone().unwrap_or_default());
            }
            _ => redirect.uri = path.replace_full_path.clone().unwrap_or_default(),
        }
    }
    redirect
}

fn rewrite(wanted: &api::RewriteFilter) -> Option<istio::HttpRewrite> {
    let mut rewrite =
        istio::HttpRewrite { authority: wanted.hostname.clone().unwrap_or_default(), ..Default::default() };
    if let Some(path) = &wanted.path {
        match path.kind.as_str() {
            "ReplacePrefixMatch" => {
                let prefix = path.replace_prefix_match.as_deref().unwrap_or_default();
                let prefix = prefix.strip_suffix('/').unwrap_or(prefix);
                // To replace by nothing is to remove the prefix.
                rewrite.uri = if prefix.is_empty() { "/".to_owned() } else { prefix.to_owned() };
            }
            _ => {
                let rewrite_to = path.replace_full_path.clone().unwrap_or_default();
                rewrite.uri_regex_rewrite =
                    Some(istio::RegexRewrite { pattern: "/.*".to_owned(), rewrite: rewrite_to });
            }
        }
    }
    (rewrite != istio::HttpRewrite::default()).then_some(rewrite)
}

fn cors(wanted: &api::CorsFilter) -> istio::CorsPolicy {
    let origin = |text: &String| match text.as_str() {
        "*" => istio::StringMatch { regex: Some(ANY_ORIGIN.to_owned()), ..Default::default() },
        text if text.contains('*') => {
            let pattern = text.split('*').map(escaped).collect::<Vec<_>>().join(".*");
            istio::StringMatch { regex: Some(format!("^{pattern}$")), ..Default::default() }
        }
        text => istio::StringMatch { exact: Some(text.to_owned()), ..Default::default() },
    };
    istio::CorsPolicy {
        allow_origins: wanted.allow_origins.iter().map(origin).collect(),
        allow_methods: wanted.allow_methods.clone(),
        allow_headers: wanted.allow_headers.clone(),
        expose_headers: wanted.expose_headers.clone(),
        max_age: wanted.max_age.map(|seconds| format!("{seconds}s")),
        allow_credentials: wanted.allow_credentials,
        unmatched_preflights: Some(istio::UnmatchedPreflights::Ignore),
        ..Default::default()
    }
}

/// Text as an expression for itself.
pub(crate) fn escaped(text: &str) -> String {
    let mut all = String::with_capacity(text.len());
    for c in text.chars() {
        if r"\.+*?()|[]{}^$".contains(c) {
            all.push('\\');
        }
        all.push(c);
    }
    all
}
