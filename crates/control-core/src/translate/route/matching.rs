//! Conditions of a rule.

use lateen_api::envoy::envoy::config::route::v3 as proto;
use lateen_api::envoy::envoy::r#type::matcher::v3 as matcher;
use lateen_api::istio as api;
use lateen_mesh::labels;

use super::select::applies_to_mesh;
use crate::claims;
use crate::resource::{Config, ROUTE_SEMANTICS};
use crate::translate::authorization::{any_of_it, claim_matcher};
use crate::translate::gateway::names_gateway;
use crate::translate::scope::Scope;
use crate::translate::wire::flag;

/// The way that requests come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Via<'a> {
    /// From the workload beside a sidecar.
    Mesh,
    /// Through a Gateway, by `namespace/name`.
    Gateway(&'a str),
}

/// Can a condition of `vs` hold at this proxy for requests to this port at all.
pub fn holds_for_caller(
    m: &api::HttpMatchRequest,
    vs: &Config<api::VirtualService>,
    port: u16,
    via: Via<'_>,
    scope: &Scope<'_>,
) -> bool {
    let right_port = m.port.is_none_or(|p| p == u32::from(port));
    match via {
        Via::Gateway(gateway) if !m.gateways.is_empty() => {
            return right_port && names_gateway(&m.gateways, &vs.meta.namespace, gateway);
        }
        Via::Mesh if !applies_to_mesh(if m.gateways.is_empty() { &vs.spec.gateways } else { &m.gateways }) => {
            return false;
        }
        _ => {}
    }
    right_port
        && (m.source_namespace.is_empty() || m.source_namespace == scope.view.namespace)
        && labels::contains_all(&scope.view.labels, &m.source_labels)
}

/// Does a prefix of `vs` stand for whole segments of paths: those of Ingresses do.
pub fn by_segments(vs: &Config<api::VirtualService>) -> bool {
    vs.meta.annotations.contains_key(ROUTE_SEMANTICS)
}

/// The condition in Envoy's words. With `segments` a prefix ends where a segment of the path does.
pub fn route_match(m: &api::HttpMatchRequest, segments: bool) -> proto::RouteMatch {
    let mut headers: Vec<proto::HeaderMatcher> = Vec::new();
    for (name, condition) in [(":method", &m.method), (":authority", &m.authority), (":scheme", &m.scheme)] {
        headers.extend(condition.as_ref().map(|c| header(name, c)));
    }
    let mut claims = Vec::new();
    for (name, condition) in &m.headers {
        match claim(name, condition) {
            Some(claim) => claims.push(claim),
            None => headers.push(header(&name.to_ascii_lowercase(), condition)),
        }
    }
    for (name, condition) in &m.without_headers {
        match claim(name, condition) {
            Some(claim) => claims.push(matcher::MetadataMatcher { invert: true, ..claim }),
            None => headers.push(without(name, condition)),
        }
    }
    proto::RouteMatch {
        dynamic_metadata: claims,
        path_specifier: Some(path(m.uri.as_ref(), segments)),
        case_sensitive: m.ignore_uri_case.then(|| flag(false)).flatten(),
        headers,
        query_parameters: m.query_params.iter().map(|(name, condition)| query(name, condition)).collect(),
        ..Default::default()
    }
}

/// A condition on a claim of the request's token.
fn claim(name: &str, condition: &api::StringMatch) -> Option<matcher::MetadataMatcher> {
    let keys = claims::keys(name)?;
    let present = || matcher::StringMatcher {
        match_pattern: Some(matcher::string_matcher::MatchPattern::SafeRegex(regex(".+"))),
        ..Default::default()
    };
    let value = any_of_it(string_matcher(condition).unwrap_or_else(present));
    Some(claim_matcher(keys, value))
}

fn path(uri: Option<&api::StringMatch>, segments: bool) -> proto::route_match::PathSpecifier {
    use proto::route_match::PathSpecifier;
    match uri {
        Some(api::StringMatch { exact: Some(exact), .. }) => PathSpecifier::Path(exact.clone()),
        Some(api::StringMatch { regex: Some(pattern), .. }) => PathSpecifier::SafeRegex(regex(pattern)),
        Some(api::StringMatch { prefix: Some(prefix), .. }) if segments && prefix != "/" => {
            PathSpecifier::PathSeparatedPrefix(prefix.trim_end_matches('/').to_owned())
        }
        Some(api::StringMatch { prefix: Some(prefix), .. }) => PathSpecifier::Prefix(prefix.clone()),
        _ => PathSpecifier::Prefix("/".into()),
    }
}

/// A regular expression in Envoy's words.
pub fn regex(pattern: &str) -> matcher::RegexMatcher {
    matcher::RegexMatcher { regex: pattern.to_owned(), engine_type: None }
}

/// A condition on a text; `None` if it only asks for presence.
pub fn string_matcher(m: &api::StringMatch) -> Option<matcher::StringMatcher> {
    use matcher::string_matcher::MatchPattern;
    let pattern = match m {
        api::StringMatch { exact: Some(text), .. } => MatchPattern::Exact(text.clone()),
        api::StringMatch { prefix: Some(text), .. } if !text.is_empty() => MatchPattern::Prefix(text.clone()),
        api::StringMatch { regex: Some(text), .. } if text != "*" => MatchPattern::SafeRegex(regex(text)),
        _ => return None,
    };
    Some(matcher::StringMatcher { match_pattern: Some(pattern), ..Default::default() })
}

fn header(name: &str, condition: &api::StringMatch) -> proto::HeaderMatcher {
    use proto::header_matcher::HeaderMatchSpecifier;
    let specifier = match string_matcher(condition) {
        Some(matcher) => HeaderMatchSpecifier::StringMatch(matcher),
        None => HeaderMatchSpecifier::PresentMatch(true),
    };
    proto::HeaderMatcher { name: name.to_owned(), header_match_specifier: Some(specifier), ..Default::default() }
}

/// A header that must not match. A missing header counts as empty, unless only presence is asked for.
fn without(name: &str, condition: &api::StringMatch) -> proto::HeaderMatcher {
    let matcher = header(&name.to_ascii_lowercase(), condition);
    let present =
        matches!(matcher.header_match_specifier, Some(proto::header_matcher::HeaderMatchSpecifier::PresentMatch(_)));
    proto::HeaderMatcher { invert_match: true, treat_missing_header_as_empty: !present, ..matcher }
}

fn query(name: &str, condition: &api::StringMatch) -> proto::QueryParameterMatcher {
    use proto::query_parameter_matcher::QueryParameterMatchSpecifier;
    let specifier = match string_matcher(condition) {
        Some(matcher) => QueryParameterMatchSpecifier::StringMatch(matcher),
        None => QueryParameterMatchSpecifier::PresentMatch(true),
    };
    proto::QueryParameterMatcher { name: name.to_owned(), query_parameter_match_specifier: Some(specifier) }
}
