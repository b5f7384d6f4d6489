//! Resources as a control plane would send them.

use std::net::SocketAddr;

use lateen_api::envoy::envoy::config::accesslog::v3::{AccessLog, access_log};
use lateen_api::envoy::envoy::config::cluster::v3::Cluster;
use lateen_api::envoy::envoy::config::cluster::v3::cluster::{ClusterDiscoveryType, DiscoveryType};
use lateen_api::envoy::envoy::config::core::v3::api_config_source::ApiType;
use lateen_api::envoy::envoy::config::core::v3::config_source::ConfigSourceSpecifier;
use lateen_api::envoy::envoy::config::core::v3::grpc_service::{EnvoyGrpc, TargetSpecifier};
use lateen_api::envoy::envoy::config::core::v3::socket_address::PortSpecifier;
use lateen_api::envoy::envoy::config::core::v3::transport_socket::ConfigType as SocketConfig;
use lateen_api::envoy::envoy::config::core::v3::{
    Address, ApiConfigSource, ApiVersion, ConfigSource, GrpcService, SocketAddress, TransportSocket, address,
};
use lateen_api::envoy::envoy::config::endpoint::v3::lb_endpoint::HostIdentifier;
use lateen_api::envoy::envoy::config::endpoint::v3::{
    ClusterLoadAssignment, Endpoint, LbEndpoint, LocalityLbEndpoints,
};
use lateen_api::envoy::envoy::config::listener::v3::filter::ConfigType;
use lateen_api::envoy::envoy::config::listener::v3::{Filter, FilterChain, Listener};
use lateen_api::envoy::envoy::config::route::v3::route::Action;
use lateen_api::envoy::envoy::config::route::v3::route_action::ClusterSpecifier;
use lateen_api::envoy::envoy::config::route::v3::route_match::PathSpecifier;
use lateen_api::envoy::envoy::config::route::v3::{Route, RouteAction, RouteConfiguration, RouteMatch, VirtualHost};
use lateen_api::envoy::envoy::extensions::access_loggers::file::v3::FileAccessLog;
use lateen_api::envoy::envoy::extensions::filters::http::router::v3::Router;
use lateen_api::envoy::envoy::extensions::filters::network::http_connection_manager::v3 as hcm;
use lateen_api::envoy::envoy::extensions::transport_sockets::tls::v3::common_tls_context::{
    CombinedCertificateValidationContext, ValidationContextType,
};
use lateen_api::envoy::envoy::extensions::transport_sockets::tls::v3::subject_alt_name_matcher::SanType;
use lateen_api::envoy::envoy::extensions::transport_sockets::tls::v3::{
    CertificateValidationContext, CommonTlsContext, DownstreamTlsContext, SdsSecretConfig, SubjectAltNameMatcher,
    UpstreamTlsContext,
};
use lateen_api::envoy::envoy::r#type::matcher::v3::{StringMatcher, string_matcher::MatchPattern};
use lateen_api::google::protobuf::{Any, BoolValue, Duration};
use prost::{Message, Name};

/// Packs a message.
pub fn pack<M: Message + Name>(message: &M) -> Any {
    Any { type_url: M::type_url(), value: message.encode_to_vec() }
}

/// An address.
pub fn address(to: SocketAddr) -> Address {
    let socket = SocketAddress {
        address: to.ip().to_string(),
        port_specifier: Some(PortSpecifier::PortValue(u32::from(to.port()))),
        ..Default::default()
    };
    Address { address: Some(address::Address::SocketAddress(socket)) }
}

/// A cluster with one endpoint.
pub fn cluster(name: &str, endpoint: SocketAddr) -> Cluster {
    let endpoint = Endpoint { address: Some(address(endpoint)), ..Default::default() };
    let endpoint = LbEndpoint { host_identifier: Some(HostIdentifier::Endpoint(endpoint)), ..Default::default() };
    let endpoints = vec![LocalityLbEndpoints { lb_endpoints: vec![endpoint], ..Default::default() }];
    Cluster {
        name: name.to_owned(),
        cluster_discovery_type: Some(ClusterDiscoveryType::Type(DiscoveryType::Static.into())),
        connect_timeout: Some(Duration { seconds: 1, nanos: 0 }),
        load_assignment: Some(ClusterLoadAssignment { cluster_name: name.to_owned(), endpoints, ..Default::default() }),
        ..Default::default()
    }
}

/// An HTTP listener that sends everything to one cluster.
pub fn http_listener(name: &str, at: SocketAddr, cluster: &str, access_log: &str) -> Listener {
    let action =
        RouteAction { cluster_specifier: Some(ClusterSpecifier::Cluster(cluster.to_owned())), ..Default::default() };
    let route = Route {
        name: "default".to_owned(),
        r#match: Some(RouteMatch { path_specifier: Some(PathSpecifier::Prefix("/".to_owned())), ..Default::default() }),
        action: Some(Action::Route(action)),
        ..Default::default()
    };
    let host = VirtualHost { name: "all".into(), domains: vec!["*".into()], routes: vec![route], ..Default::default() };
    let routes = RouteConfiguration { name: "routes".into(), virtual_hosts: vec![host], ..Default::default() };
    let log = FileAccessLog { path: access_log.to_owned(), ..Default::default() };
    let log = AccessLog {
        name: "log".into(),
        config_type: Some(access_log::ConfigType::TypedConfig(pack(&log))),
        ..Default::default()
    };
    let router = hcm::HttpFilter {
        name: "envoy.filters.http.router".into(),
        config_type: Some(hcm::http_filter::ConfigType::TypedConfig(pack(&Router::default()))),
        ..Default::default()
    };
    let manager = hcm::HttpConnectionManager {
        stat_prefix: "test".into(),
        route_specifier: Some(hcm::http_connection_manager::RouteSpecifier::RouteConfig(routes)),
        http_filters: vec![router],
        access_log: vec![log],
        ..Default::default()
    };
    let filter = Filter {
        name: "envoy.filters.network.http_connection_manager".into(),
        config_type: Some(ConfigType::TypedConfig(pack(&manager))),
    };
    Listener {
        name: name.to_owned(),
        address: Some(address(at)),
        filter_chains: vec![FilterChain { filters: vec![filter], ..Default::default() }],
        ..Default::default()
    }
}

/// The same listener behind mutual TLS, with certificate and roots from secret discovery.
pub fn with_workload_certificate(mut listener: Listener) -> Listener {
    let tls = DownstreamTlsContext {
        common_tls_context: Some(workload_tls(Vec::new())),
        require_client_certificate: Some(BoolValue { value: true }),
        ..Default::default()
    };
    for chain in &mut listener.filter_chains {
        chain.transport_socket = Some(tls_socket(&tls));
    }
    listener
}

/// The same cluster over mutual TLS, to a peer with one of these identities.
pub fn to_identity(mut cluster: Cluster, identity: &str) -> Cluster {
    let tls = UpstreamTlsContext {
        common_tls_context: Some(workload_tls(vec![identity.to_owned()])),
        sni: "outbound_.80_._.peer".to_owned(),
        ..Default::default()
    };
    cluster.transport_socket = Some(tls_socket(&tls));
    cluster
}

fn tls_socket<M: Message + Name>(tls: &M) -> TransportSocket {
    TransportSocket {
        name: "envoy.transport_sockets.tls".into(),
        config_type: Some(SocketConfig::TypedConfig(pack(tls))),
    }
}

fn workload_tls(identities: Vec<String>) -> CommonTlsContext {
    let matchers = identities.into_iter().map(|identity| SubjectAltNameMatcher {
        san_type: SanType::Uri.into(),
        matcher: Some(StringMatcher { match_pattern: Some(MatchPattern::Exact(identity)), ..Default::default() }),
        ..Default::default()
    });
    let validation = CombinedCertificateValidationContext {
        default_validation_context: Some(CertificateValidationContext {
            match_typed_subject_alt_names: matchers.collect(),
            ..Default::default()
        }),
        validation_context_sds_secret_config: Some(secret("ROOTCA")),
        ..Default::default()
    };
    CommonTlsContext {
        alpn_protocols: vec!["istio".into(), "http/1.1".into()],
        tls_certificate_sds_secret_configs: vec![secret("default")],
        validation_context_type: Some(ValidationContextType::CombinedValidationContext(validation)),
        ..Default::default()
    }
}

/// A secret that the agent (or the proxy itself) has.
fn secret(name: &str) -> SdsSecretConfig {
    let service = GrpcService {
        target_specifier: Some(TargetSpecifier::EnvoyGrpc(EnvoyGrpc {
            cluster_name: "sds-grpc".into(),
            ..Default::default()
        })),
        ..Default::default()
    };
    let source = ApiConfigSource {
        api_type: ApiType::Grpc.into(),
        transport_api_version: ApiVersion::V3.into(),
        set_node_on_first_message_only: true,
        grpc_services: vec![service],
        ..Default::default()
    };
    let source = ConfigSource {
        config_source_specifier: Some(ConfigSourceSpecifier::ApiConfigSource(source)),
        resource_api_version: ApiVersion::V3.into(),
        ..Default::default()
    };
    SdsSecretConfig { name: name.into(), sds_config: Some(source) }
}
