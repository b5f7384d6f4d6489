//! Parts of listeners: filter chains, TCP proxies, inspectors.

use lateen_api::envoy::envoy::config::core::v3 as core;
use lateen_api::envoy::envoy::config::listener::v3 as proto;
use lateen_api::envoy::envoy::extensions::filters::listener as inspectors;
use lateen_api::envoy::envoy::extensions::filters::network::tcp_proxy::v3 as tcp;
use lateen_api::envoy::envoy::r#type::v3::Int32Range;
use lateen_mesh::Cidr;

use super::tcp_routes::Target;
use crate::snapshot::Snapshot;
use crate::translate::access_log;
use crate::translate::http::{Direction, network_filter, stats_plugin};
use crate::translate::wire::{any, number, typed_struct};
use crate::view::ProxyView;

/// What HTTP without TLS is recognized as.
pub const PLAIN_HTTP: [&str; 2] = ["http/1.1", "h2c"];

/// The filters that pass connections on.
pub fn tcp_filters(
    direction: Direction,
    targets: &[Target],
    view: &ProxyView,
    snapshot: &Snapshot,
) -> Vec<proto::Filter> {
    match targets {
        [one] => tcp_to(direction, &one.cluster.to_string(), vec![], view, snapshot),
        many => {
            let clusters = many
                .iter()
                .map(|t| tcp::tcp_proxy::weighted_cluster::ClusterWeight {
                    name: t.cluster.to_string(),
                    weight: t.weight,
                    ..Default::default()
                })
                .collect();
            let specifier =
                tcp::tcp_proxy::ClusterSpecifier::WeightedClusters(tcp::tcp_proxy::WeightedCluster { clusters });
            let prefix = many.first().map(|t| t.cluster.to_string()).unwrap_or_default();
            filters(direction, &prefix, specifier, vec![], view, snapshot)
        }
    }
}

/// The filters that pass connections on to one cluster; `authorization` decides about them first.
pub fn tcp_to(
    direction: Direction,
    cluster: &str,
    authorization: Vec<proto::Filter>,
    view: &ProxyView,
    snapshot: &Snapshot,
) -> Vec<proto::Filter> {
    let specifier = tcp::tcp_proxy::ClusterSpecifier::Cluster(cluster.to_owned());
    filters(direction, cluster, specifier, authorization, view, snapshot)
}

fn filters(
    direction: Direction,
    prefix: &str,
    specifier: tcp::tcp_proxy::ClusterSpecifier,
    authorization: Vec<proto::Filter>,
    view: &ProxyView,
    snapshot: &Snapshot,
) -> Vec<proto::Filter> {
    let proxy = tcp::TcpProxy {
        stat_prefix: prefix.to_owned(),
        access_log: access_log::requests(&snapshot.mesh),
        cluster_specifier: Some(specifier),
        ..Default::default()
    };
    let mut all = Vec::new();
    if view.lateen && direction == Direction::Inbound {
        all.push(network_filter("istio.metadata_exchange", metadata_exchange()));
    }
    all.extend(authorization);
    if view.lateen {
        all.push(network_filter("istio.stats", stats_plugin(direction)));
    }
    all.push(network_filter("envoy.filters.network.tcp_proxy", any(&proxy)));
    all
}

fn metadata_exchange() -> lateen_api::google::protobuf::Any {
    let protocol =
        prost_types::Value { kind: Some(prost_types::value::Kind::StringValue("istio-peer-exchange".into())) };
    let fields = std::iter::once(("protocol".to_owned(), protocol)).collect();
    typed_struct("envoy.tcp.metadataexchange.config.MetadataExchange", prost_types::Struct { fields })
}

/// A listener filter without settings.
fn inspector(name: &str, config: lateen_api::google::protobuf::Any) -> proto::ListenerFilter {
    proto::ListenerFilter {
        name: format!("envoy.filters.listener.{name}"),
        config_type: Some(proto::listener_filter::ConfigType::TypedConfig(config)),
        ..Default::default()
    }
}

/// Recovers the address that the client asked for.
pub fn original_dst() -> proto::ListenerFilter {
    inspector("original_dst", any(&inspectors::original_dst::v3::OriginalDst::default()))
}

/// Recognizes TLS and reads its server name and protocols, except on some ports.
pub fn tls_inspector(except: &[u16]) -> proto::ListenerFilter {
    let config = any(&inspectors::tls_inspector::v3::TlsInspector::default());
    proto::ListenerFilter { filter_disabled: on_ports(except), ..inspector("tls_inspector", config) }
}

/// Recognizes HTTP, except on some ports.
pub fn http_inspector(except: &[u16]) -> proto::ListenerFilter {
    let config = any(&inspectors::http_inspector::v3::HttpInspector::default());
    proto::ListenerFilter { filter_disabled: on_ports(except), ..inspector("http_inspector", config) }
}

fn on_ports(ports: &[u16]) -> Option<proto::ListenerFilterChainMatchPredicate> {
    use proto::listener_filter_chain_match_predicate::{MatchSet, Rule};
    let one = |port: &u16| proto::ListenerFilterChainMatchPredicate {
        rule: Some(Rule::DestinationPortRange(Int32Range { start: i32::from(*port), end: i32::from(*port) + 1 })),
    };
    match ports {
        [] => None,
        [port] => Some(one(port)),
        many => Some(proto::ListenerFilterChainMatchPredicate {
            rule: Some(Rule::OrMatch(MatchSet { rules: many.iter().map(one).collect() })),
        }),
    }
}

/// Destination ranges in Envoy's words.
pub fn prefix_ranges(ranges: &[Cidr]) -> Vec<core::CidrRange> {
    let range = |c: &Cidr| core::CidrRange {
        address_prefix: c.address().to_string(),
        prefix_len: number(c.prefix_len().into()),
    };
    ranges.iter().map(range).collect()
}

/// Texts as owned strings.
pub fn texts(all: &[&str]) -> Vec<String> {
    all.iter().map(|t| (*t).to_owned()).collect()
}
