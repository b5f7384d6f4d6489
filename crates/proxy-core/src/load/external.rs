//! The filters that ask external authorizers.

use std::sync::Arc;
use std::time::Duration;

use lateen_api::envoy::envoy::config::core::v3::{GrpcService, HeaderValueOption, grpc_service, http_uri};
use lateen_api::envoy::envoy::extensions::filters::http::ext_authz::v3::{
    ExtAuthz, HttpService as ProtoHttp, ext_authz::Services,
};
use lateen_api::envoy::envoy::extensions::filters::network::ext_authz::v3::ExtAuthz as NetworkExtAuthz;
use lateen_api::envoy::envoy::r#type::matcher::v3::{ListStringMatcher, MetadataMatcher, value_matcher::MatchPattern};
use lateen_api::envoy::google::protobuf::{BoolValue, Duration as ProtoDuration};

use super::convert::{header_ops, some_duration, string_match};
use super::{Context, LoadError, rbac};
use crate::external::{BodyLimit, External, HttpService, Service, Shown};
use crate::http::Hcm;
use crate::pattern::StringMatch;
use crate::rbac::EFFECTIVE_POLICY;
use crate::route::{Forward, Target};

/// How long an answer may take when the configuration doesn't say, as in Envoy.
const TIMEOUT: Duration = Duration::from_millis(200);
/// Most bytes of a body that are kept for a question.
const MAX_BODY: usize = 4 << 20;

/// Loads the filter for requests.
pub fn http(context: &mut Context<'_>, filter: &ExtAuthz) -> Result<External, LoadError> {
    for (given, what) in [
        (filter.filter_enabled.is_some(), "filter_enabled"),
        (filter.deny_at_disable.is_some(), "deny_at_disable"),
        (filter.filter_metadata.is_some(), "filter_metadata"),
        (filter.decoder_header_mutation_rules.is_some(), "decoder_header_mutation_rules"),
        (filter.encode_raw_headers, "encode_raw_headers"),
        (filter.shadow_mode, "shadow_mode"),
    ] {
        if given {
            return Err(unsupported(what));
        }
    }
    let (service, forward) = match &filter.services {
        Some(Services::GrpcService(service)) => grpc(context, service)?,
        Some(Services::HttpService(service)) => over_http(context, service)?,
        None => return Err(LoadError::invalid("an ext_authz filter has no service to ask")),
    };
    let status = filter.status_on_error.and_then(|status| u16::try_from(status.code).ok());
    Ok(External {
        mark: filter.filter_enabled_metadata.as_ref().map(mark).transpose()?,
        service,
        forward: Arc::new(forward),
        manager: Arc::new(Hcm::of_own_requests()),
        fail_open: filter.failure_mode_allow,
        tell_fail_open: filter.failure_mode_allow_header_add,
        status: status.filter(|status| (100..600).contains(status)).unwrap_or(403),
        clear_route: filter.clear_route_cache,
        body: filter.with_request_body.as_ref().map(|body| BodyLimit {
            max: (body.max_request_bytes as usize).min(MAX_BODY),
            partial: body.allow_partial_message,
            bytes: body.pack_as_bytes,
        }),
        shown: Shown {
            only: shown(filter, filter.allowed_headers.as_ref())?,
            never: matchers(filter.disallowed_headers.as_ref())?.unwrap_or_default(),
        },
    })
}

/// Loads the filter for byte streams.
pub fn network(context: &mut Context<'_>, filter: &NetworkExtAuthz) -> Result<External, LoadError> {
    let service = filter.grpc_service.as_ref();
    let (service, forward) =
        grpc(context, service.ok_or_else(|| LoadError::invalid("an ext_authz filter has no service to ask"))?)?;
    Ok(External {
        mark: filter.filter_enabled_metadata.as_ref().map(mark).transpose()?,
        service,
        forward: Arc::new(forward),
        manager: Arc::new(Hcm::of_own_requests()),
        fail_open: filter.failure_mode_allow,
        tell_fail_open: false,
        status: 403,
        clear_route: false,
        body: None,
        shown: Shown::default(),
    })
}

fn unsupported(what: &str) -> LoadError {
    LoadError::Unsupported(format!("{what} of an ext_authz filter"))
}

/// The older setting for HTTP counts where the newer is absent.
fn shown(filter: &ExtAuthz, newer: Option<&ListStringMatcher>) -> Result<Option<Vec<StringMatch>>, LoadError> {
    let older = match &filter.services {
        Some(Services::HttpService(service)) => service.authorization_request.as_ref(),
        _ => None,
    };
    #[allow(deprecated)] // Other servers still send it.
    matchers(newer.or(older.and_then(|request| request.allowed_headers.as_ref())))
}

fn matchers(list: Option<&ListStringMatcher>) -> Result<Option<Vec<StringMatch>>, LoadError> {
    list.map(|list| list.patterns.iter().map(string_match).collect()).transpose()
}

fn grpc(context: &mut Context<'_>, service: &GrpcService) -> Result<(Service, Forward), LoadError> {
    let Some(grpc_service::TargetSpecifier::EnvoyGrpc(target)) = &service.target_specifier else {
        return Err(unsupported("a gRPC service other than a cluster"));
    };
    if !service.initial_metadata.is_empty() {
        return Err(unsupported("initial_metadata"));
    }
    let authority = if target.authority.is_empty() { &target.cluster_name } else { &target.authority };
    let forward = forward(context, &target.cluster_name, service.timeout.as_ref());
    Ok((Service::Grpc { authority: authority.as_str().into() }, forward))
}

fn over_http(context: &mut Context<'_>, service: &ProtoHttp) -> Result<(Service, Forward), LoadError> {
    let uri = service.server_uri.as_ref().ok_or_else(|| LoadError::invalid("an ext_authz filter has no server_uri"))?;
    let Some(http_uri::HttpUpstreamType::Cluster(cluster)) = &uri.http_upstream_type else {
        return Err(LoadError::invalid("the server_uri of an ext_authz filter has no cluster"));
    };
    if !service.path_override.is_empty() || service.retry_policy.is_some() {
        return Err(unsupported("path_override and retry_policy"));
    }
    let overwriting = |header: &lateen_api::envoy::envoy::config::core::v3::HeaderValue| HeaderValueOption {
        header: Some(header.clone()),
        append: Some(BoolValue { value: false }),
        ..Default::default()
    };
    let request = service.authorization_request.clone().unwrap_or_default();
    let added: Vec<_> = request.headers_to_add.iter().map(overwriting).collect();
    let response = service.authorization_response.clone().unwrap_or_default();
    if response.dynamic_metadata_from_headers.is_some() {
        return Err(unsupported("dynamic_metadata_from_headers"));
    }
    let http = HttpService {
        path_prefix: service.path_prefix.as_str().into(),
        added: header_ops(&added, &[])?,
        upstream: matchers(response.allowed_upstream_headers.as_ref())?.unwrap_or_default(),
        upstream_added: matchers(response.allowed_upstream_headers_to_append.as_ref())?.unwrap_or_default(),
        denied: matchers(response.allowed_client_headers.as_ref())?,
        allowed: matchers(response.allowed_client_headers_on_success.as_ref())?.unwrap_or_default(),
    };
    Ok((Service::Http(http), forward(context, cluster, uri.timeout.as_ref())))
}

fn forward(context: &mut Context<'_>, cluster: &str, timeout: Option<&ProtoDuration>) -> Forward {
    let timeout = if timeout.is_none() { Some(TIMEOUT) } else { some_duration(timeout) };
    Forward::plain(Target::Single(context.cluster(cluster)), timeout)
}

/// Which results of tried rules the authorizer is asked about.
fn mark(enabled: &MetadataMatcher) -> Result<(Box<str>, StringMatch), LoadError> {
    let unsupported =
        || LoadError::Unsupported("filter_enabled_metadata other than the result of an RBAC filter".into());
    let path = rbac::keys(enabled)?;
    let prefix = match path.as_slice() {
        [key] => key.strip_suffix(EFFECTIVE_POLICY),
        _ => None,
    };
    let wanted = match enabled.value.as_ref().and_then(|value| value.match_pattern.as_ref()) {
        Some(MatchPattern::StringMatch(text)) => string_match(text)?,
        _ => return Err(unsupported()),
    };
    if !enabled.filter.ends_with(".rbac") || enabled.invert {
        return Err(unsupported());
    }
    prefix.map(|prefix| (prefix.into(), wanted)).ok_or_else(unsupported)
}
