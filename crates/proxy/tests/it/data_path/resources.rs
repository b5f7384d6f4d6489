//! Discovery resources in the shape that the control plane gives them.

use std::net::SocketAddr;

use bytes::Bytes;
use lateen_api::envoy::envoy::config::cluster::v3::Cluster;
use lateen_api::envoy::envoy::config::cluster::v3::cluster::{
    ClusterDiscoveryType, DiscoveryType, EdsClusterConfig, LbPolicy,
};
use lateen_api::envoy::envoy::config::core::v3::{
    Address, Http1ProtocolOptions, Metadata, SocketAddress, TransportSocket, address, socket_address, transport_socket,
};
use lateen_api::envoy::envoy::config::endpoint::v3::endpoint::AdditionalAddress;
use lateen_api::envoy::envoy::config::endpoint::v3::{
    ClusterLoadAssignment, Endpoint, LbEndpoint, LocalityLbEndpoints, lb_endpoint::HostIdentifier,
};
use lateen_api::envoy::envoy::config::listener::v3::{
    Filter, FilterChain, FilterChainMatch, Listener, ListenerFilter, filter,
};
use lateen_api::envoy::envoy::config::route::v3::{
    RetryPolicy, Route, RouteAction, RouteConfiguration, RouteMatch, VirtualHost, route, route_action, route_match,
};
use lateen_api::envoy::envoy::extensions::filters::http::router::v3::Router;
use lateen_api::envoy::envoy::extensions::filters::network::http_connection_manager::v3::{
    HttpConnectionManager, HttpFilter, Rds, http_connection_manager as hcm, http_filter,
};
use lateen_api::envoy::envoy::extensions::filters::network::tcp_proxy::v3::{TcpProxy, tcp_proxy};
use lateen_api::envoy::envoy::extensions::transport_sockets::tls::v3::{
    self as tls, CertificateValidationContext, CommonTlsContext, SdsSecretConfig, SubjectAltNameMatcher,
    common_tls_context::{CombinedCertificateValidationContext, ValidationContextType},
};
use lateen_api::envoy::envoy::r#type::matcher::v3::{StringMatcher, string_matcher::MatchPattern};
use lateen_api::google::protobuf::{Any, BoolValue, Duration, ListValue, Struct, UInt32Value, Value, value::Kind};
use prost::{Message, Name};

/// A resource by name, encoded.
pub type Resource = (String, Bytes);

pub fn flag(value: bool) -> Option<BoolValue> {
    Some(BoolValue { value })
}

pub fn any<M: Message + Name>(message: &M) -> Any {
    Any { type_url: format!("type.googleapis.com/{}", M::full_name()), value: message.encode_to_vec() }
}

pub fn named<M: Message>(name: &str, message: &M) -> Resource {
    (name.to_owned(), message.encode_to_vec().into())
}

pub fn address(address: SocketAddr) -> Option<Address> {
    Some(Address {
        address: Some(address::Address::SocketAddress(SocketAddress {
            address: address.ip().to_string(),
            port_specifier: Some(socket_address::PortSpecifier::PortValue(address.port().into())),
            ..SocketAddress::default()
        })),
    })
}

fn sds(name: &str) -> SdsSecretConfig {
    SdsSecretConfig { name: name.into(), ..SdsSecretConfig::default() }
}

fn common(alpn: &[&str], san: MatchPattern) -> Option<CommonTlsContext> {
    let context = CertificateValidationContext {
        match_typed_subject_alt_names: vec![SubjectAltNameMatcher {
            san_type: 3,
            matcher: Some(StringMatcher { match_pattern: Some(san), ..StringMatcher::default() }),
            ..SubjectAltNameMatcher::default()
        }],
        ..CertificateValidationContext::default()
    };
    Some(CommonTlsContext {
        tls_certificate_sds_secret_configs: vec![sds("default")],
        alpn_protocols: alpn.iter().map(|name| (*name).to_owned()).collect(),
        validation_context_type: Some(ValidationContextType::CombinedValidationContext(
            CombinedCertificateValidationContext {
                default_validation_context: Some(context),
                validation_context_sds_secret_config: Some(sds("ROOTCA")),
                ..CombinedCertificateValidationContext::default()
            },
        )),
        ..CommonTlsContext::default()
    })
}

fn socket(name: &str, config: Any) -> Option<TransportSocket> {
    Some(TransportSocket { name: name.into(), config_type: Some(transport_socket::ConfigType::TypedConfig(config)) })
}

pub fn upstream_tls(identity: &str, alpn: &[&str]) -> Option<TransportSocket> {
    let context = tls::UpstreamTlsContext {
        common_tls_context: common(alpn, MatchPattern::Exact(identity.into())),
        sni: "outbound_.80_._.backend.default.svc.cluster.local".into(),
        ..tls::UpstreamTlsContext::default()
    };
    socket("envoy.transport_sockets.tls", any(&context))
}

fn downstream_tls() -> Option<TransportSocket> {
    let context = tls::DownstreamTlsContext {
        common_tls_context: common(&["h2", "http/1.1"], MatchPattern::Prefix("spiffe://cluster.local/".into())),
        require_client_certificate: flag(true),
        ..tls::DownstreamTlsContext::default()
    };
    socket("envoy.transport_sockets.tls", any(&context))
}

pub fn cluster(name: &str, kind: DiscoveryType, socket: Option<TransportSocket>) -> Cluster {
    Cluster {
        name: name.into(),
        cluster_discovery_type: Some(ClusterDiscoveryType::Type(kind.into())),
        lb_policy: if kind == DiscoveryType::OriginalDst {
            LbPolicy::ClusterProvided.into()
        } else {
            LbPolicy::LeastRequest.into()
        },
        eds_cluster_config: (kind == DiscoveryType::Eds).then(EdsClusterConfig::default),
        connect_timeout: Some(Duration { seconds: 2, nanos: 0 }),
        transport_socket: socket,
        metadata: Some(service("backend")),
        ..Cluster::default()
    }
}

/// HTTP/2 to the endpoints.
pub fn http2(mut cluster: Cluster) -> Cluster {
    #[allow(deprecated)]
    {
        cluster.http2_protocol_options = Some(Default::default());
    }
    cluster
}

fn service(name: &str) -> Metadata {
    let text = |text: &str| Value { kind: Some(Kind::StringValue(text.into())) };
    let entry = Struct {
        fields: [
            ("host".to_owned(), text(&format!("{name}.default.svc.cluster.local"))),
            ("name".to_owned(), text(name)),
            ("namespace".to_owned(), text("default")),
        ]
        .into(),
    };
    let list = ListValue { values: vec![Value { kind: Some(Kind::StructValue(entry)) }] };
    let istio = Struct { fields: [("services".to_owned(), Value { kind: Some(Kind::ListValue(list)) })].into() };
    Metadata { filter_metadata: [("istio".to_owned(), istio)].into(), ..Metadata::default() }
}

pub fn endpoints(cluster: &str, addresses: &[SocketAddr]) -> ClusterLoadAssignment {
    let each: Vec<_> = addresses.iter().map(std::slice::from_ref).collect();
    endpoints_with(cluster, &each)
}

/// Endpoints with all their addresses, the preferred one first.
pub fn endpoints_with(cluster: &str, each: &[&[SocketAddr]]) -> ClusterLoadAssignment {
    let further = |a: &SocketAddr| AdditionalAddress { address: address(*a) };
    let endpoint = |all: &&[SocketAddr]| LbEndpoint {
        host_identifier: Some(HostIdentifier::Endpoint(Endpoint {
            address: address(all[0]),
            additional_addresses: all[1..].iter().map(further).collect(),
            ..Endpoint::default()
        })),
        ..LbEndpoint::default()
    };
    ClusterLoadAssignment {
        cluster_name: cluster.into(),
        endpoints: vec![LocalityLbEndpoints {
            lb_endpoints: each.iter().map(endpoint).collect(),
            ..LocalityLbEndpoints::default()
        }],
        ..ClusterLoadAssignment::default()
    }
}

pub fn route_to(cluster: &str) -> RouteAction {
    RouteAction {
        cluster_specifier: Some(route_action::ClusterSpecifier::Cluster(cluster.into())),
        timeout: Some(Duration::default()),
        ..RouteAction::default()
    }
}

pub fn retry(on: &str, retries: u32) -> Option<RetryPolicy> {
    Some(RetryPolicy {
        retry_on: on.into(),
        num_retries: Some(UInt32Value { value: retries }),
        ..RetryPolicy::default()
    })
}

pub fn routes(name: &str, action: RouteAction) -> RouteConfiguration {
    RouteConfiguration {
        name: name.into(),
        virtual_hosts: vec![VirtualHost {
            name: "any".into(),
            domains: vec!["*".into()],
            routes: vec![Route {
                name: "default".into(),
                r#match: Some(RouteMatch {
                    path_specifier: Some(route_match::PathSpecifier::Prefix("/".into())),
                    ..RouteMatch::default()
                }),
                action: Some(route::Action::Route(action)),
                ..Route::default()
            }],
            include_request_attempt_count: true,
            ..VirtualHost::default()
        }],
        ..RouteConfiguration::default()
    }
}

fn manager(specifier: hcm::RouteSpecifier, inbound: bool) -> HttpConnectionManager {
    HttpConnectionManager {
        stat_prefix: "test".into(),
        http_filters: vec![HttpFilter {
            name: "envoy.filters.http.router".into(),
            config_type: Some(http_filter::ConfigType::TypedConfig(any(&Router::default()))),
            ..HttpFilter::default()
        }],
        server_name: "istio-envoy".into(),
        use_remote_address: flag(false),
        forward_client_cert_details: if inbound { 2 } else { 0 },
        set_current_client_cert_details: Some(hcm::SetCurrentClientCertDetails {
            subject: flag(true),
            uri: true,
            dns: true,
            ..Default::default()
        }),
        upgrade_configs: vec![hcm::UpgradeConfig { upgrade_type: "websocket".into(), ..Default::default() }],
        route_specifier: Some(specifier),
        ..HttpConnectionManager::default()
    }
}

pub fn http_filter_chain(rds: &str) -> FilterChain {
    let rds = Rds { route_config_name: rds.into(), ..Rds::default() };
    chain(any(&manager(hcm::RouteSpecifier::Rds(rds), false)))
}

/// The same, for clients of HTTP/1.0 too.
pub fn http10_filter_chain(rds: &str) -> FilterChain {
    let rds = Rds { route_config_name: rds.into(), ..Rds::default() };
    let options = Http1ProtocolOptions { accept_http_10: true, ..Default::default() };
    let manager = manager(hcm::RouteSpecifier::Rds(rds), false);
    chain(any(&HttpConnectionManager { http_protocol_options: Some(options), ..manager }))
}

pub fn inline_http_chain(routes: RouteConfiguration) -> FilterChain {
    chain(any(&manager(hcm::RouteSpecifier::RouteConfig(routes), true)))
}

pub fn tcp_chain(cluster: &str) -> FilterChain {
    chain(any(&TcpProxy {
        stat_prefix: cluster.into(),
        cluster_specifier: Some(tcp_proxy::ClusterSpecifier::Cluster(cluster.into())),
        ..TcpProxy::default()
    }))
}

fn chain(config: Any) -> FilterChain {
    FilterChain {
        filters: vec![Filter { name: "test".into(), config_type: Some(filter::ConfigType::TypedConfig(config)) }],
        ..FilterChain::default()
    }
}

/// Only for mutual TLS with one of these protocols.
pub fn mutual(mut chain: FilterChain, protocols: &[&str]) -> FilterChain {
    chain.filter_chain_match = Some(FilterChainMatch {
        transport_protocol: "tls".into(),
        application_protocols: protocols.iter().map(|name| (*name).to_owned()).collect(),
        ..FilterChainMatch::default()
    });
    chain.transport_socket = downstream_tls();
    chain
}

/// Only for connections that speak HTTP in the clear.
pub fn plain_http(mut chain: FilterChain) -> FilterChain {
    chain.filter_chain_match = Some(FilterChainMatch {
        transport_protocol: "raw_buffer".into(),
        application_protocols: vec!["http/1.1".into(), "h2c".into()],
        ..FilterChainMatch::default()
    });
    chain
}

pub fn listener(name: &str, at: SocketAddr, direction: i32, chains: Vec<FilterChain>) -> Listener {
    let filter = |name: &str| ListenerFilter { name: format!("envoy.filters.listener.{name}"), ..Default::default() };
    Listener {
        name: name.into(),
        address: address(at),
        filter_chains: chains,
        listener_filters: vec![filter("original_dst"), filter("tls_inspector"), filter("http_inspector")],
        listener_filters_timeout: Some(Duration::default()),
        traffic_direction: direction,
        ..Listener::default()
    }
}
