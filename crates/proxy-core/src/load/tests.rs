use lateen_api::envoy::envoy::config::cluster::v3::cluster::{ClusterDiscoveryType, EdsClusterConfig};
use lateen_api::envoy::envoy::config::core::v3::TypedExtensionConfig;
use lateen_api::envoy::envoy::config::core::v3::{Address, SocketAddress, address, socket_address};
use lateen_api::envoy::envoy::config::endpoint::v3::{
    Endpoint, LbEndpoint, LocalityLbEndpoints, lb_endpoint::HostIdentifier,
};
use lateen_api::envoy::envoy::config::listener::v3::{Filter, FilterChain as ProtoChain, filter};
use lateen_api::envoy::envoy::config::rbac::v3::{Permission, Policy, Principal, Rbac, permission, principal};
use lateen_api::envoy::envoy::config::route::v3::{
    Route as ProtoRoute, RouteAction, RouteMatch, VirtualHost as ProtoHost, WeightedCluster, route, route_action,
    route_match, weighted_cluster::ClusterWeight,
};
use lateen_api::envoy::envoy::extensions::filters::network::rbac::v3::Rbac as NetworkRbac;
use lateen_api::envoy::envoy::extensions::filters::network::tcp_proxy::v3::{TcpProxy, tcp_proxy::ClusterSpecifier};
use lateen_api::google::protobuf::{Any, UInt32Value};
use prost::{Message, Name};

use super::*;
use crate::chain::Terminal;
use crate::head::SimpleHead;
use crate::rbac::{Request, Unasked, decide};
use crate::route::Action;
use crate::virtual_host::RouteResult;

fn eds(name: &str) -> (String, Bytes) {
    let cluster = ProtoCluster {
        name: name.into(),
        cluster_discovery_type: Some(ClusterDiscoveryType::Type(3)),
        eds_cluster_config: Some(EdsClusterConfig::default()),
        ..ProtoCluster::default()
    };
    (name.into(), cluster.encode_to_vec().into())
}

fn assignment(name: &str, ips: &[&str]) -> (String, Bytes) {
    let endpoint = |ip: &&str| LbEndpoint {
        host_identifier: Some(HostIdentifier::Endpoint(Endpoint {
            address: Some(Address {
                address: Some(address::Address::SocketAddress(SocketAddress {
                    address: (*ip).into(),
                    port_specifier: Some(socket_address::PortSpecifier::PortValue(80)),
                    ..SocketAddress::default()
                })),
            }),
            ..Endpoint::default()
        })),
        ..LbEndpoint::default()
    };
    let assignment = ClusterLoadAssignment {
        cluster_name: name.into(),
        endpoints: vec![LocalityLbEndpoints {
            lb_endpoints: ips.iter().map(endpoint).collect(),
            ..LocalityLbEndpoints::default()
        }],
        ..ClusterLoadAssignment::default()
    };
    (name.into(), assignment.encode_to_vec().into())
}

fn routes(clusters: &[(&str, u32)], prefix: &str) -> (String, Bytes) {
    let weighted = WeightedCluster {
        clusters: clusters
            .iter()
            .map(|(name, weight)| ClusterWeight {
                name: (*name).into(),
                weight: Some(UInt32Value { value: *weight }),
                ..ClusterWeight::default()
            })
            .collect(),
        ..WeightedCluster::default()
    };
    let route = ProtoRoute {
        r#match: Some(RouteMatch {
            path_specifier: Some(route_match::PathSpecifier::Prefix(prefix.into())),
            ..RouteMatch::default()
        }),
        action: Some(route::Action::Route(RouteAction {
            cluster_specifier: Some(route_action::ClusterSpecifier::WeightedClusters(weighted)),
            ..RouteAction::default()
        })),
        ..ProtoRoute::default()
    };
    let host = ProtoHost { name: "h".into(), domains: vec!["*".into()], routes: vec![route], ..ProtoHost::default() };
    let table = RouteConfiguration { name: "80".into(), virtual_hosts: vec![host], ..RouteConfiguration::default() };
    ("80".into(), table.encode_to_vec().into())
}

/// A listener of byte streams behind an RBAC filter with one policy.
fn guarded(permission: Permission) -> (String, Bytes) {
    let anyone = Principal { identifier: Some(principal::Identifier::Any(true)) };
    let policy = Policy { permissions: vec![permission], principals: vec![anyone], ..Policy::default() };
    let rules = Rbac { policies: [("ns[a]-policy[b]-rule[0]".to_owned(), policy)].into(), ..Rbac::default() };
    let filter = NetworkRbac { rules: Some(rules), stat_prefix: "tcp.".into(), ..NetworkRbac::default() };
    let proxy = TcpProxy { cluster_specifier: Some(ClusterSpecifier::Cluster("a".into())), ..TcpProxy::default() };
    let filters = vec![packed(&filter), packed(&proxy)];
    let address = SocketAddress {
        address: "127.0.0.1".into(),
        port_specifier: Some(socket_address::PortSpecifier::PortValue(80)),
        ..SocketAddress::default()
    };
    let listener = ProtoListener {
        name: "guarded".into(),
        address: Some(Address { address: Some(address::Address::SocketAddress(address)) }),
        filter_chains: vec![ProtoChain { filters, ..ProtoChain::default() }],
        ..ProtoListener::default()
    };
    ("guarded".into(), listener.encode_to_vec().into())
}

fn packed<M: Message + Name>(message: &M) -> Filter {
    let any = Any { type_url: M::type_url(), value: message.encode_to_vec() };
    Filter { name: M::full_name(), config_type: Some(filter::ConfigType::TypedConfig(any)) }
}

/// What the listener decides about a connection.
fn verdict(loader: &mut Loader) -> Result<(), String> {
    let tables = loader.tables(true);
    let listener = tables.listener("guarded").expect("a listener");
    let Terminal::Tcp(proxy) = &listener.chains[0].terminal else { panic!("no byte stream") };
    let request = Request {
        head: None,
        destination: ([10, 0, 0, 1], 80).into(),
        direct: [10, 0, 0, 2].into(),
        remote: [10, 0, 0, 2].into(),
        server_name: "",
        peer: None,
    };
    decide(&proxy.checks, &request, Unasked::Denied, |_| {}).map_err(|denial| denial.cause)
}

#[test]
fn rules_that_cannot_be_read_close_the_listener_and_are_named() {
    let mut loader = Loader::default();
    let good = Permission { rule: Some(permission::Rule::DestinationPort(80)) };
    assert!(loader.apply(type_url::LISTENER, &[guarded(good)], &[]).is_empty());
    assert_eq!(verdict(&mut loader), Ok(()));
    let unknown = TypedExtensionConfig { name: "extension".into(), ..TypedExtensionConfig::default() };
    let bad = Permission { rule: Some(permission::Rule::Matcher(unknown)) };
    let rejected = loader.apply(type_url::LISTENER, &[guarded(bad)], &[]);
    let [(name, reason)] = rejected.as_slice() else { panic!("{rejected:?}") };
    assert!(
        name == "guarded" && reason.contains("ns[a]-policy[b]-rule[0]") && reason.contains("extension"),
        "{reason}"
    );
    let cause = verdict(&mut loader).expect_err("what passed under the old rules no longer does");
    assert!(cause.starts_with("authorization rules can't be read"), "{cause}");
}

fn apply(loader: &mut Loader, kind: &str, resource: (String, Bytes)) {
    assert_eq!(loader.apply(kind, &[resource], &[]), []);
}

/// The cluster that a request for `path` goes to.
fn target(tables: &Tables, path: &str, random: u64) -> Option<String> {
    let table = tables.route_table_by_name("80")?;
    let head = SimpleHead::get("h", path);
    let RouteResult::Found { route, .. } = table.route(&head, random) else { return None };
    let Action::Forward(forward) = &route.action else { return None };
    let chosen = forward.target.choose(&head, random, |_| None);
    Some(tables.cluster_name(chosen.cluster?).to_owned())
}

#[test]
fn a_route_waits_for_the_endpoints_of_its_clusters_but_not_for_ever() {
    let mut loader = Loader::default();
    apply(&mut loader, type_url::CLUSTER, eds("v1"));
    apply(&mut loader, type_url::ENDPOINT, assignment("v1", &["10.0.0.1"]));
    apply(&mut loader, type_url::ROUTE, routes(&[("v1", 1)], "/"));
    assert_eq!(target(&loader.tables(false), "/", 0).as_deref(), Some("v1"));
    apply(&mut loader, type_url::CLUSTER, eds("v2"));
    apply(&mut loader, type_url::ROUTE, routes(&[("v2", 1)], "/"));
    let tables = loader.tables(false);
    assert_eq!(target(&tables, "/", 0).as_deref(), Some("v1"), "v2 has no endpoints yet");
    assert!(loader.waiting());
    assert_eq!(target(&loader.tables(true), "/", 0).as_deref(), Some("v2"), "patience is over");
    assert!(!loader.waiting());
}

#[test]
fn a_route_goes_on_as_soon_as_endpoints_arrive_even_none() {
    let mut loader = Loader::default();
    apply(&mut loader, type_url::CLUSTER, eds("v2"));
    apply(&mut loader, type_url::ROUTE, routes(&[("v2", 1)], "/"));
    assert_eq!(target(&loader.tables(false), "/", 0), None);
    apply(&mut loader, type_url::ENDPOINT, assignment("v2", &[]));
    assert_eq!(target(&loader.tables(false), "/", 0).as_deref(), Some("v2"));
}

#[test]
fn a_removed_cluster_stays_while_a_route_needs_it() {
    let mut loader = Loader::default();
    apply(&mut loader, type_url::CLUSTER, eds("v1"));
    apply(&mut loader, type_url::ENDPOINT, assignment("v1", &["10.0.0.1"]));
    apply(&mut loader, type_url::ROUTE, routes(&[("v1", 1)], "/"));
    loader.tables(false);
    loader.apply(type_url::CLUSTER, &[], &["v1".into()]);
    assert!(loader.tables(false).cluster_by_name("v1").is_some());
    loader.apply(type_url::ROUTE, &[], &["80".into()]);
    assert!(loader.tables(false).cluster_by_name("v1").is_none());
    assert!(loader.wanted().endpoints.is_empty());
}

#[test]
fn a_bad_resource_is_named_and_the_rest_counts() {
    let mut loader = Loader::default();
    let zero = routes(&[("a", 0), ("b", 0)], "/");
    let garbage = ("81".to_owned(), Bytes::from_static(b"\xff\xff"));
    let rejected = loader.apply(type_url::ROUTE, &[zero, garbage], &[]);
    assert_eq!(rejected.len(), 2);
    assert!(rejected[0].1.contains("route 0") && rejected[0].1.contains("all zero"), "{}", rejected[0].1);
    assert!(rejected[1].1.contains("can't be decoded"), "{}", rejected[1].1);
    apply(&mut loader, type_url::ROUTE, routes(&[("a", 1)], "/"));
    assert_eq!(loader.apply(type_url::ROUTE, &[routes(&[("a", 0)], "/")], &[]).len(), 1);
    assert_eq!(target(&loader.tables(true), "/", 0).as_deref(), Some("a"), "the last good one stays in force");
}

#[test]
fn weights_are_shares() {
    let mut loader = Loader::default();
    apply(&mut loader, type_url::ROUTE, routes(&[("v1", 90), ("v2", 10)], "/"));
    let tables = loader.tables(true);
    let count = (0..1000).filter(|i| target(&tables, "/", *i).as_deref() == Some("v2")).count();
    assert_eq!(count, 100);
}

#[test]
fn counts_about_an_endpoint_survive_changes_of_its_neighbours() {
    let mut loader = Loader::default();
    apply(&mut loader, type_url::CLUSTER, eds("v1"));
    apply(&mut loader, type_url::ENDPOINT, assignment("v1", &["10.0.0.1"]));
    let state = |tables: &Tables| {
        let cluster = tables.cluster_by_name("v1").expect("there").clone();
        let mut found = cluster.endpoints.iter().filter(|endpoint| endpoint.address.to_string() == "10.0.0.1:80");
        found.next().expect("there").state.clone()
    };
    let before = state(&loader.tables(false));
    apply(&mut loader, type_url::ENDPOINT, assignment("v1", &["10.0.0.2", "10.0.0.1"]));
    assert!(Arc::ptr_eq(&before, &state(&loader.tables(false))));
}

#[test]
fn endpoints_that_are_alike_share_what_they_have_in_common() {
    let mut loader = Loader::default();
    apply(&mut loader, type_url::CLUSTER, eds("a"));
    apply(&mut loader, type_url::ENDPOINT, assignment("a", &["10.0.0.1", "10.0.0.2"]));
    let cluster = loader.tables(false).cluster_by_name("a").expect("there").clone();
    let all: Vec<_> = cluster.endpoints.iter().collect();
    let [one, two] = &all[..] else { panic!("{all:?}") };
    assert!(Arc::ptr_eq(&one.labels, &two.labels));
    assert!(!Arc::ptr_eq(&one.state, &two.state), "what is counted is of one alone");
}
