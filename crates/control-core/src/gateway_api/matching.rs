//! Conditions of routes.

use std::collections::BTreeMap;

use lateen_api::gateway_api as api;
use lateen_api::istio::{HttpMatchRequest, StringMatch};

use super::Problem;

fn exact(text: &str) -> StringMatch {
    StringMatch { exact: Some(text.to_owned()), ..Default::default() }
}

fn prefix(text: &str) -> StringMatch {
    StringMatch { prefix: Some(text.to_owned()), ..Default::default() }
}

fn regex(text: &str) -> StringMatch {
    StringMatch { regex: Some(text.to_owned()), ..Default::default() }
}

/// The condition of an HTTPRoute.
pub(super) fn http(wanted: &api::HttpRouteMatch) -> Result<HttpMatchRequest, Problem> {
    Ok(HttpMatchRequest {
        uri: wanted.path.as_ref().map(path).transpose()?,
        headers: named(&wanted.headers, "Header", str::to_ascii_lowercase)?,
        query_params: named(&wanted.query_params, "QueryParam", str::to_owned)?,
        method: wanted.method.as_deref().map(exact),
        ..Default::default()
    })
}

/// The condition of a GRPCRoute.
pub(super) fn grpc(wanted: &api::GrpcRouteMatch) -> Result<HttpMatchRequest, Problem> {
    Ok(HttpMatchRequest {
        uri: wanted.method.as_ref().map(method).transpose()?.flatten(),
        headers: named(&wanted.headers, "Header", str::to_ascii_lowercase)?,
        ..Default::default()
    })
}

fn unknown(kind: &str, what: &str) -> Problem {
    Problem::new("UnsupportedValue", format!("unknown type: \"{kind}\" is not supported {what} match type"))
}

fn path(wanted: &api::PathMatch) -> Result<StringMatch, Problem> {
    let value = wanted.value.as_deref().unwrap_or("/");
    match wanted.kind.as_deref().unwrap_or("PathPrefix") {
        // A trailing slash counts for nothing.
        "PathPrefix" if value != "/" => Ok(prefix(value.strip_suffix('/').unwrap_or(value))),
        "PathPrefix" => Ok(prefix(value)),
        "Exact" => Ok(exact(value)),
        "RegularExpression" => Ok(regex(value)),
        other => Err(unknown(other, "Path")),
    }
}

/// Conditions by name; of several for one name the first counts.
fn named(
    wanted: &[api::NameMatch],
    what: &str,
    key: impl Fn(&str) -> String,
) -> Result<BTreeMap<String, StringMatch>, Problem> {
    let mut all = BTreeMap::new();
    for one in wanted {
        let value = match one.kind.as_deref().unwrap_or("Exact") {
            "Exact" => exact(&one.value),
            "RegularExpression" => regex(&one.value),
            other => return Err(unknown(other, what)),
        };
        all.entry(key(&one.name)).or_insert(value);
    }
    Ok(all)
}

/// A call's path is `/service/method`.
fn method(wanted: &api::GrpcMethodMatch) -> Result<Option<StringMatch>, Problem> {
    let set = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    let parts = (set(&wanted.service), set(&wanted.method));
    Ok(match (wanted.kind.as_deref().unwrap_or("Exact"), parts) {
        ("Exact" | "RegularExpression", (None, None)) => None,
        ("Exact" | "RegularExpression", (None, Some(method))) => Some(regex(&format!("/[^/]+/{method}"))),
        ("Exact", (Some(service), None)) => Some(prefix(&format!("/{service}/"))),
        ("Exact", (Some(service), Some(method))) => Some(exact(&format!("/{service}/{method}"))),
        ("RegularExpression", (Some(service), None)) => Some(regex(&format!("/{service}/.+"))),
        ("RegularExpression", (Some(service), Some(method))) => Some(regex(&format!("/{service}/{method}"))),
        (other, _) => return Err(unknown(other, "Method")),
    })
}
