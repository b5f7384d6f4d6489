//! HTTP filters, and their settings on routes.

use std::collections::HashMap;
use std::sync::Arc;

use lateen_api::envoy::envoy::config::route::v3::FilterConfig;
use lateen_api::envoy::envoy::extensions::filters::common::fault::v3::fault_delay::FaultDelaySecifier;
use lateen_api::envoy::envoy::extensions::filters::http::cors::v3::CorsPolicy;
use lateen_api::envoy::envoy::extensions::filters::http::fault::v3::{HttpFault, fault_abort::ErrorType};
use lateen_api::envoy::envoy::extensions::filters::http::rbac::v3::RbacPerRoute;
use lateen_api::envoy::envoy::extensions::filters::http::router::v3::Router;
use lateen_api::envoy::envoy::extensions::filters::network::http_connection_manager::v3::{
    HttpFilter, http_filter::ConfigType,
};
use lateen_api::envoy::google::protobuf::{Any, Struct};
use lateen_api::typed_struct::XdsTypedStruct;

use super::convert::{duration, fraction, header_matches, is, string_match, truth, unpack};
use super::istio::{AlpnConfig, PeerMetadataConfig, alpn, peer_metadata};
use super::{Context, LoadError, rbac};
use crate::fault::{Abort, Cors, Fault};
use crate::fraction::Fraction;
use crate::http::Filters;

/// Filters that change nothing this proxy doesn't do anyway.
const HARMLESS: [&str; 7] = [
    "grpc_stats",
    "istio.stats",
    "istio_stats",
    "connect_authority",
    "connect_baggage",
    "waypoint_upstream_peer_metadata",
    "set_filter_state",
];

/// What routes say about filters.
#[derive(Default)]
pub struct PerRoute {
    pub cors: Option<Arc<Cors>>,
    pub fault: Option<Arc<Fault>>,
}

/// Reads the settings of known filters; others are left out.
pub fn per_route(configs: &HashMap<String, Any>) -> Result<PerRoute, LoadError> {
    let mut found = PerRoute::default();
    for any in configs.values() {
        let inner = if is::<FilterConfig>(any) { unpack::<FilterConfig>(any)?.config } else { Some(any.clone()) };
        let Some(any) = inner else { continue };
        if is::<CorsPolicy>(&any) {
            found.cors = Some(Arc::new(cors(&unpack(&any)?)?));
        } else if is::<HttpFault>(&any) {
            found.fault = Some(Arc::new(fault(&unpack(&any)?)?));
        } else if is::<RbacPerRoute>(&any) {
            return Err(LoadError::Unsupported("authorization rules of single routes".into()));
        }
    }
    Ok(found)
}

/// Sums up a connection manager's filters.
pub fn filters(context: &mut Context<'_>, list: &[HttpFilter]) -> Result<Filters, LoadError> {
    let mut filters = Filters::default();
    for filter in list.iter().filter(|filter| !filter.disabled) {
        let any = match &filter.config_type {
            Some(ConfigType::TypedConfig(any)) => any.clone(),
            Some(ConfigType::ConfigDiscovery(_)) => {
                refuse(&mut filters, filter);
                continue;
            }
            None => Any::default(),
        };
        match rbac::check(context, &any) {
            Some(check) => filters.checks.push(check),
            None => one(&mut filters, filter, &any)?,
        }
    }
    Ok(filters)
}

fn one(filters: &mut Filters, filter: &HttpFilter, any: &Any) -> Result<(), LoadError> {
    let kind = inner_type(any);
    let named = |part: &str| filter.name.contains(part) || kind.contains(part);
    if is::<Router>(any) {
        filters.suppress_envoy_headers = unpack::<Router>(any)?.suppress_envoy_headers;
    } else if named("peer_metadata.Config") || named("metadata_exchange") {
        filters.peer_metadata = Some(peer_metadata(&unpack_named::<PeerMetadataConfig>(any)?));
    } else if named("istio.alpn") || named("http.alpn") {
        filters.alpn = Some(alpn(&unpack_named::<AlpnConfig>(any)?));
    } else if named("filters.http.cors") {
        filters.cors = true;
    } else if named("filters.http.fault") {
        let own = if is::<HttpFault>(any) { Some(fault(&unpack(any)?)?) } else { None };
        filters.fault = Some(own.map(Arc::new));
    } else if named("istio.stats") || kind.ends_with("stats.PluginConfig") {
        filters.stats = true;
    } else if !HARMLESS.iter().any(|name| named(name)) {
        refuse(filters, filter);
    }
    Ok(())
}

fn refuse(filters: &mut Filters, filter: &HttpFilter) {
    if !filter.is_optional {
        filters.refuse = Some(format!("filter {} is not supported by this proxy", filter.name).into());
    }
}

/// The type that `any` stands for, also through a typed struct.
fn inner_type(any: &Any) -> String {
    let bare = |url: &str| url.rsplit('/').next().unwrap_or_default().to_owned();
    match typed_struct(any) {
        Some(inner) => bare(&inner.type_url),
        None => bare(&any.type_url),
    }
}

fn typed_struct(any: &Any) -> Option<XdsTypedStruct> {
    // Both spellings of the message have the same fields.
    any.type_url.ends_with(".TypedStruct").then(|| prost::Message::decode(any.value.as_slice()).ok())?
}

/// Decodes a message whose type has no other name here; a typed struct is taken for the default.
fn unpack_named<M: prost::Message + Default + FromStruct>(any: &Any) -> Result<M, LoadError> {
    if let Some(inner) = typed_struct(any) {
        return Ok(inner.value.map(|value| M::from_struct(&convert_struct(value))).unwrap_or_default());
    }
    M::decode(any.value.as_slice()).map_err(|source| LoadError::Decode { what: any.type_url.clone(), source })
}

/// Messages that may also come as a struct.
pub trait FromStruct {
    /// Reads the struct; what is missing keeps its default.
    fn from_struct(fields: &Struct) -> Self;
}

/// The same struct in the other crate's type: they differ in name only.
fn convert_struct(value: prost_types::Struct) -> Struct {
    prost::Message::decode(prost::Message::encode_to_vec(&value).as_slice()).unwrap_or_default()
}

fn cors(proto: &CorsPolicy) -> Result<Cors, LoadError> {
    Ok(Cors {
        origins: proto.allow_origin_string_match.iter().map(string_match).collect::<Result<_, _>>()?,
        methods: proto.allow_methods.as_str().into(),
        headers: proto.allow_headers.as_str().into(),
        expose: proto.expose_headers.as_str().into(),
        max_age: proto.max_age.as_str().into(),
        credentials: truth(proto.allow_credentials.as_ref(), false),
        forward_unmatched_preflights: truth(proto.forward_not_matching_preflights.as_ref(), true),
    })
}

fn fault(proto: &HttpFault) -> Result<Fault, LoadError> {
    let share = |percentage: &Option<_>| percentage.as_ref().map_or(Fraction::NONE, fraction);
    let delay = proto.delay.as_ref().and_then(|delay| match &delay.fault_delay_secifier {
        Some(FaultDelaySecifier::FixedDelay(fixed)) => Some((share(&delay.percentage), duration(fixed))),
        _ => None,
    });
    let abort = proto.abort.as_ref().and_then(|abort| {
        let how = match abort.error_type.as_ref()? {
            ErrorType::HttpStatus(status) => Abort::Http(u16::try_from(*status).ok()?),
            ErrorType::GrpcStatus(status) => Abort::Grpc(*status),
            ErrorType::HeaderAbort(_) => return None,
        };
        Some((share(&abort.percentage), how))
    });
    Ok(Fault { delay, abort, headers: header_matches(&proto.headers)? })
}
