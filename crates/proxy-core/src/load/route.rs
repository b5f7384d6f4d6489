//! Routes of a virtual host.

use std::sync::Arc;
use std::time::Duration;

use lateen_api::envoy::envoy::config::core::v3::{DataSource, data_source::Specifier};
use lateen_api::envoy::envoy::config::route::v3::{
    RedirectAction, RetryPolicy as ProtoRetry, Route as ProtoRoute, RouteAction, RouteMatch as ProtoMatch,
    WeightedCluster as ProtoWeighted, redirect_action::PathRewriteSpecifier, redirect_action::SchemeRewriteSpecifier,
    route::Action as ProtoAction, route_action::ClusterSpecifier, route_action::HashPolicy as ProtoHash,
    route_action::HostRewriteSpecifier, route_action::RequestMirrorPolicy, route_action::hash_policy::PolicySpecifier,
    route_match::PathSpecifier, weighted_cluster::cluster_weight::HostRewriteSpecifier as WeightHostRewrite,
};
use lateen_api::envoy::envoy::r#type::matcher::v3::{MetadataMatcher, RegexMatchAndSubstitute};

use super::cluster::lateen_fields;
use super::convert::{header_matches, header_ops, number, port, query_match, runtime_fraction, some_duration, truth};
use super::{Context, LoadError, filter, rbac};
use crate::balance::{HashKind, HashPolicy};
use crate::fraction::Fraction;
use crate::header_ops::BothOps;
use crate::pattern::{Pattern, Substitution};
use crate::provenance::{provenance, text};
use crate::retry::{RetryPolicy, parse_retry_on};
use crate::route::{
    Action, Forward, HostRewrite, Mirror, PathMatch, PathRewrite, Redirect, Route, RouteMatch, Target, WeightedCluster,
};

/// What a virtual host gives its routes when they have none of their own.
pub struct Inherited<'v> {
    pub retry: Option<&'v ProtoRetry>,
    pub mirrors: &'v [RequestMirrorPolicy],
    pub cors: Option<Arc<crate::fault::Cors>>,
    pub fault: Option<Arc<crate::fault::Fault>>,
}

pub fn route(context: &mut Context<'_>, proto: &ProtoRoute, inherited: &Inherited<'_>) -> Result<Route, LoadError> {
    let matcher = proto.r#match.as_ref().ok_or_else(|| LoadError::invalid("a route has no match"))?;
    let action = match &proto.action {
        Some(ProtoAction::Route(action)) => {
            Action::Forward(Box::new(forward(context, action, inherited, safe_retries(proto))?))
        }
        Some(ProtoAction::Redirect(redirect)) => Action::Redirect(Box::new(self::redirect(redirect)?)),
        Some(ProtoAction::DirectResponse(response)) => Action::Respond {
            status: status(response.status)?,
            body: response.body.as_ref().map(body).unwrap_or_default(),
        },
        Some(ProtoAction::NonForwardingAction(_)) => Action::Refuse,
        Some(ProtoAction::FilterAction(_)) => {
            return Err(LoadError::Unsupported("a filter action".into()));
        }
        None => {
            return Err(LoadError::invalid(format!("route {:?} has no action", proto.name)));
        }
    };
    let own = filter::per_route(&proto.typed_per_filter_config)?;
    Ok(Route {
        name: proto.name.as_str().into(),
        matcher: route_match(matcher)?,
        action,
        ops: BothOps {
            request: header_ops(&proto.request_headers_to_add, &proto.request_headers_to_remove)?,
            response: header_ops(&proto.response_headers_to_add, &proto.response_headers_to_remove)?,
        },
        cors: own.cors.or_else(|| inherited.cors.clone()),
        fault: own.fault.or_else(|| inherited.fault.clone()),
        operation: proto.decorator.as_ref().map(|decorator| decorator.operation.as_str().into()),
        provenance: provenance(proto.metadata.as_ref()),
    })
}

fn status(number: u32) -> Result<u16, LoadError> {
    u16::try_from(number)
        .ok()
        .filter(|status| (100..600).contains(status))
        .ok_or_else(|| LoadError::invalid(format!("{number} is not an HTTP status")))
}

fn body(source: &DataSource) -> Arc<[u8]> {
    match &source.specifier {
        Some(Specifier::InlineBytes(bytes)) => bytes.as_slice().into(),
        Some(Specifier::InlineString(text)) => text.as_bytes().into(),
        _ => Arc::default(),
    }
}

pub fn route_match(proto: &ProtoMatch) -> Result<RouteMatch, LoadError> {
    let path = match &proto.path_specifier {
        Some(PathSpecifier::Prefix(prefix)) => PathMatch::Prefix(prefix.as_str().into()),
        Some(PathSpecifier::Path(path)) => PathMatch::Exact(path.as_str().into()),
        Some(PathSpecifier::SafeRegex(regex)) => PathMatch::Regex(Pattern::new(&regex.regex)?),
        Some(PathSpecifier::PathSeparatedPrefix(prefix)) => PathMatch::SegmentPrefix(prefix.as_str().into()),
        Some(PathSpecifier::ConnectMatcher(_)) => PathMatch::Connect,
        Some(PathSpecifier::PathMatchPolicy(policy)) => {
            return Err(LoadError::Unsupported(format!("path match policy {:?}", policy.name)));
        }
        None => return Err(LoadError::invalid("a route match has no path")),
    };
    let of_tokens = |matcher: &MetadataMatcher| matcher.filter == rbac::TOKENS;
    if !proto.cookies.is_empty() || !proto.dynamic_metadata.iter().all(of_tokens) || !proto.filter_state.is_empty() {
        return Err(LoadError::Unsupported("a route match on cookies, filter state or metadata not of tokens".into()));
    }
    Ok(RouteMatch {
        path,
        case_sensitive: truth(proto.case_sensitive.as_ref(), true),
        headers: header_matches(&proto.headers)?,
        query: proto.query_parameters.iter().map(query_match).collect::<Result<_, _>>()?,
        fraction: proto.runtime_fraction.as_ref().map(runtime_fraction),
        grpc: proto.grpc.is_some(),
        claims: proto.dynamic_metadata.iter().map(rbac::claim).collect::<Result<_, _>>()?,
    })
}

/// Whether the control plane asks for retries that are safe.
fn safe_retries(proto: &ProtoRoute) -> bool {
    lateen_fields(proto.metadata.as_ref()).and_then(|fields| text(fields, "retries")) == Some("safe")
}

fn forward(
    context: &mut Context<'_>,
    action: &RouteAction,
    inherited: &Inherited<'_>,
    safe_retries: bool,
) -> Result<Forward, LoadError> {
    let retry = action.retry_policy.as_ref().or(inherited.retry);
    let mirrors =
        if action.request_mirror_policies.is_empty() { inherited.mirrors } else { &action.request_mirror_policies };
    Ok(Forward {
        target: target(context, action)?,
        cluster_not_found: match action.cluster_not_found_response_code {
            1 => 404,
            2 => 500,
            _ => 503,
        },
        path_rewrite: path_rewrite(action)?,
        host_rewrite: host_rewrite(action)?,
        append_forwarded_host: action.append_x_forwarded_host,
        timeout: timeout(action),
        idle_timeout: action.idle_timeout.as_ref().map(|timeout| some_duration(Some(timeout))),
        max_grpc_timeout: max_grpc_timeout(action),
        max_stream_duration: max_stream_duration(action),
        retry: retry.map(|retry| retry_policy(retry, safe_retries)).transpose()?.map(Arc::new),
        mirrors: mirrors.iter().map(|mirror| mirror_policy(context, mirror, action)).collect(),
        hash: action.hash_policy.iter().filter_map(hash_policy).collect(),
        upgrades: action
            .upgrade_configs
            .iter()
            .map(|upgrade| (upgrade.upgrade_type.as_str().into(), truth(upgrade.enabled.as_ref(), true)))
            .collect(),
        high_priority: action.priority == 1,
    })
}

/// `max_stream_duration.grpc_timeout_header_max`, or the older `max_grpc_timeout`; a zero maximum is none.
fn max_grpc_timeout(action: &RouteAction) -> Option<Option<Duration>> {
    let newer = action.max_stream_duration.as_ref().and_then(|max| max.grpc_timeout_header_max.as_ref());
    newer.or(action.max_grpc_timeout.as_ref()).map(|max| some_duration(Some(max)))
}

/// A zero limit is none.
fn max_stream_duration(action: &RouteAction) -> Option<Option<Duration>> {
    let limit = action.max_stream_duration.as_ref()?.max_stream_duration.as_ref()?;
    Some(some_duration(Some(limit)))
}

fn target(context: &mut Context<'_>, action: &RouteAction) -> Result<Target, LoadError> {
    match &action.cluster_specifier {
        Some(ClusterSpecifier::Cluster(name)) => Ok(Target::Single(context.cluster(name))),
        Some(ClusterSpecifier::ClusterHeader(name)) => Ok(Target::Header(name.to_ascii_lowercase().into())),
        Some(ClusterSpecifier::WeightedClusters(weighted)) => self::weighted(context, weighted),
        Some(_) => Err(LoadError::Unsupported("a cluster specifier plugin".into())),
        None => Err(LoadError::invalid("a route action has no cluster")),
    }
}

fn weighted(context: &mut Context<'_>, proto: &ProtoWeighted) -> Result<Target, LoadError> {
    let mut clusters = Vec::with_capacity(proto.clusters.len());
    for entry in &proto.clusters {
        clusters.push(WeightedCluster {
            cluster: context.cluster(&entry.name),
            weight: number(entry.weight).unwrap_or(0),
            ops: BothOps {
                request: header_ops(&entry.request_headers_to_add, &entry.request_headers_to_remove)?,
                response: header_ops(&entry.response_headers_to_add, &entry.response_headers_to_remove)?,
            },
            host_rewrite: entry.host_rewrite_specifier.as_ref().map(|rewrite| {
                let WeightHostRewrite::HostRewriteLiteral(host) = rewrite;
                HostRewrite::Literal(host.as_str().into())
            }),
        });
    }
    let total: u64 = clusters.iter().map(|entry| u64::from(entry.weight)).sum();
    if total == 0 {
        return Err(LoadError::invalid("the weights of a route's clusters are all zero: give one at least 1"));
    }
    Ok(Target::Weighted { clusters, total })
}

fn substitution(regex: &RegexMatchAndSubstitute) -> Result<Substitution, LoadError> {
    let pattern = regex.pattern.as_ref().map_or("", |pattern| pattern.regex.as_str());
    Ok(Substitution::new(pattern, &regex.substitution)?)
}

fn path_rewrite(action: &RouteAction) -> Result<Option<PathRewrite>, LoadError> {
    Ok(if let Some(regex) = &action.regex_rewrite {
        Some(PathRewrite::Regex(substitution(regex)?))
    } else if !action.prefix_rewrite.is_empty() {
        Some(PathRewrite::Prefix(action.prefix_rewrite.as_str().into()))
    } else if !action.path_rewrite.is_empty() {
        Some(PathRewrite::Full(action.path_rewrite.as_str().into()))
    } else {
        None
    })
}

fn host_rewrite(action: &RouteAction) -> Result<Option<HostRewrite>, LoadError> {
    Ok(match &action.host_rewrite_specifier {
        Some(HostRewriteSpecifier::HostRewriteLiteral(host)) => Some(HostRewrite::Literal(host.as_str().into())),
        Some(HostRewriteSpecifier::AutoHostRewrite(auto)) => auto.value.then_some(HostRewrite::Auto),
        Some(HostRewriteSpecifier::HostRewriteHeader(name)) => {
            Some(HostRewrite::Header(name.to_ascii_lowercase().into()))
        }
        Some(_) => return Err(LoadError::Unsupported("this form of host rewrite".into())),
        None => None,
    })
}

fn mirror_policy(context: &mut Context<'_>, mirror: &RequestMirrorPolicy, of: &RouteAction) -> Mirror {
    let target = Target::Single(context.cluster(&mirror.cluster));
    // Nobody waits for a copy: it must end by itself.
    let timeout = timeout(of).or(Some(DEFAULT_TIMEOUT));
    let forward = Forward { high_priority: of.priority == 1, ..Forward::plain(target, timeout) };
    Mirror {
        forward: Arc::new(forward),
        fraction: mirror.runtime_fraction.as_ref().map_or(Fraction::ALL, runtime_fraction),
        keep_host: mirror.disable_shadow_host_suffix_append,
    }
}

/// Limit for the whole response where a route gives none, as Envoy's.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(15);

fn timeout(action: &RouteAction) -> Option<Duration> {
    match &action.timeout {
        Some(timeout) => some_duration(Some(timeout)),
        None => Some(DEFAULT_TIMEOUT),
    }
}

fn hash_policy(proto: &ProtoHash) -> Option<HashPolicy> {
    let kind = match proto.policy_specifier.as_ref()? {
        PolicySpecifier::Header(header) => HashKind::Header(header.header_name.to_ascii_lowercase().into()),
        PolicySpecifier::Cookie(cookie) => HashKind::Cookie(cookie.name.as_str().into()),
        PolicySpecifier::ConnectionProperties(properties) if properties.source_ip => HashKind::SourceIp,
        PolicySpecifier::QueryParameter(query) => HashKind::Query(query.name.as_str().into()),
        _ => return None,
    };
    Some(HashPolicy { kind, terminal: proto.terminal })
}

fn retry_policy(proto: &ProtoRetry, safe: bool) -> Result<RetryPolicy, LoadError> {
    let base = proto.retry_back_off.as_ref().and_then(|back_off| some_duration(back_off.base_interval.as_ref()));
    let max = proto.retry_back_off.as_ref().and_then(|back_off| some_duration(back_off.max_interval.as_ref()));
    let base = base.unwrap_or(Duration::from_millis(25));
    let avoid = |name: &str| proto.retry_host_predicate.iter().any(|predicate| predicate.name.contains(name));
    Ok(RetryPolicy {
        on: parse_retry_on(&proto.retry_on),
        retries: number(proto.num_retries).unwrap_or(1),
        per_try_timeout: some_duration(proto.per_try_timeout.as_ref()),
        status_codes: proto.retriable_status_codes.iter().filter_map(|code| u16::try_from(*code).ok()).collect(),
        headers: header_matches(&proto.retriable_headers)?,
        avoid_previous_hosts: avoid("previous_hosts"),
        host_selection_attempts: u32::try_from(proto.host_selection_retry_max_attempts).unwrap_or(1).clamp(1, 32),
        base_interval: base,
        max_interval: max.unwrap_or(base * 10),
        safe,
    })
}

fn redirect(proto: &RedirectAction) -> Result<Redirect, LoadError> {
    let some = |text: &str| (!text.is_empty()).then(|| text.into());
    Ok(Redirect {
        status: match proto.response_code {
            1 => 302,
            2 => 303,
            3 => 307,
            4 => 308,
            _ => 301,
        },
        scheme: match &proto.scheme_rewrite_specifier {
            Some(SchemeRewriteSpecifier::HttpsRedirect(true)) => Some("https".into()),
            Some(SchemeRewriteSpecifier::SchemeRedirect(scheme)) => Some(scheme.to_ascii_lowercase().into()),
            _ => None,
        },
        host: some(&proto.host_redirect),
        port: Some(port(proto.port_redirect)?).filter(|port| *port != 0),
        path: match &proto.path_rewrite_specifier {
            Some(PathRewriteSpecifier::PathRedirect(path)) => Some(PathRewrite::Full(path.as_str().into())),
            Some(PathRewriteSpecifier::PrefixRewrite(prefix)) => Some(PathRewrite::Prefix(prefix.as_str().into())),
            Some(PathRewriteSpecifier::RegexRewrite(regex)) => Some(PathRewrite::Regex(substitution(regex)?)),
            Some(PathRewriteSpecifier::PathRewrite(_)) => {
                return Err(LoadError::Unsupported("a formatted path in a redirect".into()));
            }
            None => None,
        },
        strip_query: proto.strip_query,
    })
}
