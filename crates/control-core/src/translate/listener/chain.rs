//! Parts of listeners: filter chains, TCP proxies, inspectors.

use lateen_api::envoy::envoy::config::core::v3 as core;
use lateen_api::envoy::envoy::config::listener::v3 as proto;
use lateen_api::envoy::envoy::extensions::filters::listener as inspectors;
use lateen_api::envoy::envoy::extensions::filters::network::tcp_proxy::v3 as tcp;
use lateen_api::envoy::envoy::r#type::v3::{HashPolicy, Int32Range, hash_policy};
use lateen_mesh::Cidr;

use super::tcp_routes::Target;
use crate::reads::{Fact, ReadSet};
use crate::snapshot::Snapshot;
use crate::translate::access_log;
use crate::translate::cluster::consistent_hash;
use crate::translate::http::{Direction, network_filter, stats_plugin};
use crate::translate::scope::Scope;
use crate::translate::wire::{any, number, typed_struct};
use crate::view::ProxyView;

/// What HTTP without TLS is recognized as: HTTP/1.0 only where it is served, else it passes as bytes.
pub fn plain_http(view: &ProxyView) -> &'static [&'static str] {
    if view.http10 { &["http/1.1", "h2c", "http/1.0"] } else { &["http/1.1", "h2c"] }
}

/// The filters that pass connections on to services; `authorization` decides about them first.
pub fn tcp_filters(
    targets: &[Target],
    authorization: Vec<proto::Filter>,
    scope: &Scope<'_>,
    reads: &mut ReadSet,
) -> Vec<proto::Filter> {
    use tcp::tcp_proxy::{ClusterSpecifier, WeightedCluster, weighted_cluster::ClusterWeight};
    let name = |target: &Target| target.cluster.to_string();
    let specifier = match targets {
        [one] => ClusterSpecifier::Cluster(name(one)),
        many => ClusterSpecifier::WeightedClusters(WeightedCluster {
            clusters: many
                .iter()
                .map(|t| ClusterWeight { name: name(t), weight: t.weight, ..Default::default() })
                .collect(),
        }),
    };
    let proxy = tcp::TcpProxy {
        stat_prefix: targets.first().map(name).unwrap_or_default(),
        cluster_specifier: Some(specifier),
        hash_policy: targets.first().map(|target| hash_policy(target, scope, reads)).unwrap_or_default(),
        ..Default::default()
    };
    let direction = if scope.view.is_sidecar() { Direction::Outbound } else { Direction::Gateway };
    filters(direction, proxy, authorization, scope.view, scope.snapshot)
}

/// The client's address, if the destination's policy chooses endpoints by it: connections have nothing else.
fn hash_policy(target: &Target, scope: &Scope<'_>, reads: &mut ReadSet) -> Vec<HashPolicy> {
    reads.read(Fact::DestinationRules(target.cluster.host.clone()));
    let hash =
        scope.service(&target.cluster.host).and_then(|service| consistent_hash(&target.cluster, &service, scope));
    let wanted = hash.is_some_and(|hash| hash.use_source_ip == Some(true));
    let source = hash_policy::PolicySpecifier::SourceIp(hash_policy::SourceIp {});
    wanted.then_some(HashPolicy { policy_specifier: Some(source) }).into_iter().collect()
}

/// The filters that pass connections on to one cluster; `authorization` decides about them first.
pub fn tcp_to(
    direction: Direction,
    cluster: &str,
    authorization: Vec<proto::Filter>,
    view: &ProxyView,
    snapshot: &Snapshot,
) -> Vec<proto::Filter> {
    let proxy = tcp::TcpProxy {
        stat_prefix: cluster.to_owned(),
        cluster_specifier: Some(tcp::tcp_proxy::ClusterSpecifier::Cluster(cluster.to_owned())),
        ..Default::default()
    };
    filters(direction, proxy, authorization, view, snapshot)
}

fn filters(
    direction: Direction,
    proxy: tcp::TcpProxy,
    authorization: Vec<proto::Filter>,
    view: &ProxyView,
    snapshot: &Snapshot,
) -> Vec<proto::Filter> {
    let proxy = tcp::TcpProxy { access_log: access_log::requests(&snapshot.mesh), ..proxy };
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

/// Reads who the client is from the first bytes, where a load balancer in front writes that.
pub fn proxy_protocol() -> proto::ListenerFilter {
    inspector("proxy_protocol", any(&inspectors::proxy_protocol::v3::ProxyProtocol::default()))
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
