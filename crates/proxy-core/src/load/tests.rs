use lateen_api::envoy::envoy::config::cluster::v3::cluster::{ClusterDiscoveryType, EdsClusterConfig};
use lateen_api::envoy::envoy::config::core::v3::{Address, SocketAddress, address, socket_address};
use lateen_api::envoy::envoy::config::endpoint::v3::{
    Endpoint, LbEndpoint, LocalityLbEndpoints, lb_endpoint::HostIdentifier,
};
use lateen_api::envoy::envoy::config::route::v3::{
    Route as ProtoRoute, RouteAction, RouteMatch, VirtualHost as ProtoHost, WeightedCluster, route, route_action,
    route_match, weighted_cluster::ClusterWeight,
};
use lateen_api::google::protobuf::UInt32Value;
use prost::Message;

use super::*;
use crate::head::SimpleHead;
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
