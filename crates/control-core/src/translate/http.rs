//! The HTTP connection manager and its filters.

use lateen_api::envoy::envoy::config::core::v3 as core;
use lateen_api::envoy::envoy::config::listener::v3 as listener;
use lateen_api::envoy::envoy::config::route::v3::RouteConfiguration;
use lateen_api::envoy::envoy::extensions::filters::http as filters;
use lateen_api::envoy::envoy::extensions::filters::network::http_connection_manager::v3 as proto;
use lateen_api::google::protobuf::{Any, Duration};
use prost_types::value::Kind;

use super::access_log;
use super::wire::{ads, any, flag, number, typed_struct};
use crate::snapshot::Snapshot;
use crate::topology::{ClientCert, Topology};
use crate::view::ProxyView;

/// Direction of traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// To the workload.
    Inbound,
    /// From the workload.
    Outbound,
    /// Through a gateway.
    Gateway,
}

/// Where the routes of a connection manager come from.
pub enum Routes {
    /// By name, over the aggregated stream.
    Named(String),
    /// These.
    Inline(Box<RouteConfiguration>),
}

/// The network filter that serves HTTP; `authorization` decides about requests first.
pub fn connection_manager(
    direction: Direction,
    stat_prefix: &str,
    routes: Routes,
    authorization: Vec<proto::HttpFilter>,
    view: &ProxyView,
    snapshot: &Snapshot,
) -> listener::Filter {
    use proto::http_connection_manager as hcm;
    let specifier = match routes {
        Routes::Named(name) => {
            hcm::RouteSpecifier::Rds(proto::Rds { config_source: Some(ads()), route_config_name: name })
        }
        Routes::Inline(config) => hcm::RouteSpecifier::RouteConfig(*config),
    };
    let mut manager = proto::HttpConnectionManager {
        codec_type: hcm::CodecType::Auto.into(),
        stat_prefix: stat_prefix.to_owned(),
        http_filters: http_filters(direction, authorization, view),
        access_log: access_log::requests(&snapshot.mesh),
        use_remote_address: flag(false),
        stream_idle_timeout: Some(Duration::default()),
        upgrade_configs: vec![hcm::UpgradeConfig { upgrade_type: "websocket".into(), ..Default::default() }],
        route_specifier: Some(specifier),
        ..Default::default()
    };
    if view.http10 {
        let options = core::Http1ProtocolOptions { accept_http_10: true, ..Default::default() };
        manager.http_protocol_options = Some(options);
    }
    normalize(&mut manager, snapshot.mesh.path_normalization());
    let details = hcm::SetCurrentClientCertDetails { subject: flag(true), dns: true, uri: true, ..Default::default() };
    match direction {
        Direction::Inbound => {
            manager.server_name = "istio-envoy".into();
            manager.forward_client_cert_details = hcm::ForwardClientCertDetails::AppendForward.into();
            manager.set_current_client_cert_details = Some(details);
        }
        Direction::Gateway => {
            let details = hcm::SetCurrentClientCertDetails { cert: true, ..details };
            at_the_edge(&mut manager, details, &view.topology(&snapshot.mesh));
        }
        Direction::Outbound => {}
    }
    network_filter("envoy.filters.network.http_connection_manager", any(&manager))
}

/// Requests of a client's head that is not complete by then are refused.
const HEAD_LIMIT: Duration = Duration { seconds: 15, nanos: 0 };
/// Requests at a time on one connection of HTTP/2.
const STREAMS: u32 = 100;

/// Clients of a gateway are strangers: what they say about themselves counts only as far as proxies in front are
/// trusted, and one of them may hold only so much.
fn at_the_edge(
    manager: &mut proto::HttpConnectionManager,
    details: proto::http_connection_manager::SetCurrentClientCertDetails,
    topology: &Topology,
) {
    use proto::http_connection_manager::ForwardClientCertDetails as Forward;
    manager.server_name = "istio-envoy".into();
    manager.use_remote_address = flag(true);
    manager.xff_num_trusted_hops = topology.trusted_proxies;
    let forward = match topology.client_cert {
        ClientCert::Sanitize => Forward::Sanitize,
        ClientCert::ForwardOnly => Forward::ForwardOnly,
        ClientCert::AppendForward => Forward::AppendForward,
        ClientCert::SanitizeSet => Forward::SanitizeSet,
        ClientCert::AlwaysForwardOnly => Forward::AlwaysForwardOnly,
    };
    manager.forward_client_cert_details = forward.into();
    if matches!(forward, Forward::AppendForward | Forward::SanitizeSet) {
        manager.set_current_client_cert_details = Some(details);
    }
    manager.request_headers_timeout = Some(HEAD_LIMIT);
    manager.http2_protocol_options =
        Some(core::Http2ProtocolOptions { max_concurrent_streams: number(STREAMS), ..Default::default() });
}

fn normalize(manager: &mut proto::HttpConnectionManager, normalization: &str) {
    use proto::http_connection_manager::PathWithEscapedSlashesAction as Slashes;
    manager.normalize_path = flag(normalization != "NONE");
    manager.merge_slashes = matches!(normalization, "MERGE_SLASHES" | "DECODE_AND_MERGE_SLASHES");
    let slashes =
        if normalization == "DECODE_AND_MERGE_SLASHES" { Slashes::UnescapeAndForward } else { Slashes::KeepUnchanged };
    manager.path_with_escaped_slashes_action = slashes.into();
}

/// A network filter.
pub fn network_filter(name: &str, config: Any) -> listener::Filter {
    listener::Filter { name: name.to_owned(), config_type: Some(listener::filter::ConfigType::TypedConfig(config)) }
}

/// An HTTP filter.
pub fn http_filter(name: &str, config: Any) -> proto::HttpFilter {
    proto::HttpFilter {
        name: name.to_owned(),
        config_type: Some(proto::http_filter::ConfigType::TypedConfig(config)),
        ..Default::default()
    }
}

/// The filters in Istio's order; those that a stock Envoy lacks only for proxies that have them.
fn http_filters(
    direction: Direction,
    authorization: Vec<proto::HttpFilter>,
    view: &ProxyView,
) -> Vec<proto::HttpFilter> {
    let stats = filters::grpc_stats::v3::FilterConfig { emit_filter_state: true, ..Default::default() };
    let mut all = Vec::new();
    if view.lateen {
        all.push(http_filter("envoy.filters.http.peer_metadata", peer_metadata(direction)));
    }
    all.extend(authorization);
    all.push(http_filter("envoy.filters.http.grpc_stats", any(&stats)));
    if view.lateen && direction != Direction::Inbound {
        all.push(http_filter("istio.alpn", alpn()));
    }
    all.push(http_filter("envoy.filters.http.fault", any(&filters::fault::v3::HttpFault::default())));
    all.push(http_filter("envoy.filters.http.cors", any(&filters::cors::v3::Cors {})));
    if view.lateen {
        all.push(http_filter("istio.stats", stats_plugin(direction)));
    }
    all.push(http_filter("envoy.filters.http.router", any(&filters::router::v3::Router::default())));
    all
}

/// How the proxies of both ends tell each other who they are.
fn peer_metadata(direction: Direction) -> Any {
    let methods = || list(vec![object(vec![("istio_headers", object(vec![]))])]);
    let fields = match direction {
        Direction::Inbound => vec![("downstream_discovery", methods()), ("downstream_propagation", methods())],
        Direction::Outbound | Direction::Gateway => {
            vec![("upstream_discovery", methods()), ("upstream_propagation", methods())]
        }
    };
    typed_struct("io.istio.http.peer_metadata.Config", struct_of(fields))
}

/// Istio's metrics. Outbound the host header names the service when nothing else does; inbound and at gateways it may
/// not, because the caller chooses it.
pub fn stats_plugin(direction: Direction) -> Any {
    let fields = match direction {
        Direction::Inbound | Direction::Gateway => vec![("disable_host_header_fallback", Kind::BoolValue(true))],
        Direction::Outbound => vec![],
    };
    typed_struct("stats.PluginConfig", struct_of(fields))
}

/// What is offered to sidecars for each version of HTTP, so that their listeners recognize HTTP.
fn alpn() -> Any {
    let entry = |version: &str, protocols: [&str; 3]| {
        let protocols = protocols.iter().map(|p| Kind::StringValue((*p).to_owned())).collect();
        object(vec![("upstream_protocol", Kind::StringValue(version.to_owned())), ("alpn_override", list(protocols))])
    };
    let overrides = list(vec![
        entry("HTTP10", ["istio-http/1.0", "istio", "http/1.0"]),
        entry("HTTP11", ["istio-http/1.1", "istio", "http/1.1"]),
        entry("HTTP2", ["istio-h2", "istio", "h2"]),
    ]);
    typed_struct(
        "istio.envoy.config.filter.http.alpn.v2alpha1.FilterConfig",
        struct_of(vec![("alpn_override", overrides)]),
    )
}

fn struct_of(fields: Vec<(&str, Kind)>) -> prost_types::Struct {
    let value = |kind| prost_types::Value { kind: Some(kind) };
    prost_types::Struct { fields: fields.into_iter().map(|(k, v)| (k.to_owned(), value(v))).collect() }
}

fn object(fields: Vec<(&str, Kind)>) -> Kind {
    Kind::StructValue(struct_of(fields))
}

fn list(values: Vec<Kind>) -> Kind {
    let values = values.into_iter().map(|kind| prost_types::Value { kind: Some(kind) }).collect();
    Kind::ListValue(prost_types::ListValue { values })
}

/// Traffic direction in Envoy's words.
pub fn traffic(direction: Direction) -> i32 {
    match direction {
        Direction::Inbound => core::TrafficDirection::Inbound.into(),
        Direction::Outbound | Direction::Gateway => core::TrafficDirection::Outbound.into(),
    }
}
