//! Endpoints of clusters (EDS).

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use lateen_api::envoy::envoy::config::core::v3 as core;
use lateen_api::envoy::envoy::config::endpoint::v3 as proto;
use lateen_api::google::protobuf::{ListValue, Struct, Value, value::Kind};
use lateen_api::istio as api;
use lateen_mesh::{Locality, labels};

use super::cluster::{Discovery, discovery, locality_preference, outbound_names, subset_labels};
use super::locality::{self, Caller, Group};
use super::name::ClusterName;
use super::provenance::text;
use super::scope::Scope;
use super::wire::{endpoint_address, number};
use crate::reads::{Fact, ReadSet};
use crate::resource::Service;
use crate::snapshot::{Endpoint, MtlsMode, Snapshot};
use crate::view::ProxyView;

/// The cluster that all workloads are in.
pub const CLUSTER: &str = "Kubernetes";

/// Names of all load assignments of a proxy.
pub fn names(view: &ProxyView, snapshot: &Snapshot) -> (Vec<String>, ReadSet) {
    let mut reads = ReadSet::new();
    let scope = Scope::new(view, snapshot, &mut reads);
    let all = outbound_names(&scope, &mut reads);
    let eds = all.into_iter().filter(|(_, service)| discovery(service) == Discovery::Eds);
    (eds.map(|(name, _)| name.to_string()).collect(), reads)
}

/// The load assignment of a cluster; empty when there are no endpoints.
pub fn load_assignment(
    name: &str,
    view: &ProxyView,
    snapshot: &Snapshot,
    reads: &mut ReadSet,
) -> proto::ClusterLoadAssignment {
    let mut assignment = proto::ClusterLoadAssignment { cluster_name: name.to_owned(), ..Default::default() };
    let Some(cluster) = ClusterName::parse(name) else { return assignment };
    reads.read(Fact::Service(cluster.host.clone()));
    reads.read(Fact::Endpoints(cluster.host.clone()));
    let scope = Scope::new(view, snapshot, reads);
    if let Some(service) = scope.service(&cluster.host) {
        assignment.endpoints = localities(&cluster, &service, &scope, reads);
    }
    assignment
}

/// The endpoints of a cluster by locality, in the form of a load assignment.
pub fn localities(
    cluster: &ClusterName,
    service: &Service,
    scope: &Scope<'_>,
    reads: &mut ReadSet,
) -> Vec<proto::LocalityLbEndpoints> {
    let Some(wanted) = subset_labels(cluster, service, scope, reads) else { return Vec::new() };
    reads.read(Fact::Endpoints(cluster.host.clone()));
    reads.read(Fact::PeerAuthentications);
    let known = scope.snapshot.endpoints.of_service(&service.hostname, service.namespace());
    let mut by_locality: BTreeMap<&Locality, Vec<&Arc<Endpoint>>> = BTreeMap::new();
    for endpoint in known.map_or(&[][..], |e| e.of_port(cluster.port)) {
        if labels::contains_all(&endpoint.labels, &wanted) {
            by_locality.entry(&endpoint.locality).or_default().push(endpoint);
        }
    }
    let groups = by_locality.into_iter().map(|(locality, endpoints)| Group::new(locality, endpoints)).collect();
    let groups = match locality_preference(cluster, service, scope, reads) {
        Some((found, failover)) => arrange(groups, &found.setting, failover, scope, reads),
        None => groups,
    };
    groups.iter().map(|group| of_group(group, scope)).collect()
}

/// Orders endpoints for the proxy that asks.
fn arrange<'a>(
    groups: Vec<Group<'a>>,
    setting: &api::LocalityLbSetting,
    failover: bool,
    scope: &Scope<'_>,
    reads: &mut ReadSet,
) -> Vec<Group<'a>> {
    let view = scope.view;
    // The node matters to few settings: where it doesn't, proxies on different nodes share what is made here.
    let mut node = "";
    if failover && setting.failover_priority.iter().any(|label| label == locality::HOSTNAME) {
        view.addresses.iter().for_each(|address| reads.read(Fact::Workload(*address)));
        node = scope.snapshot.node_of(&view.addresses);
    }
    let label = |key: &str| view.labels.get(key).cloned().or_else(|| locality::place_label(&view.locality, node, key));
    locality::arrange(groups, &Caller { locality: &view.locality, label: &label }, setting, failover)
}

fn of_group(group: &Group<'_>, scope: &Scope<'_>) -> proto::LocalityLbEndpoints {
    proto::LocalityLbEndpoints {
        locality: Some(core::Locality {
            region: group.locality.region.clone(),
            zone: group.locality.zone.clone(),
            sub_zone: group.locality.subzone.clone(),
        }),
        lb_endpoints: group.endpoints.iter().map(|e| lb_endpoint(e, scope)).collect(),
        load_balancing_weight: number(group.weight),
        priority: group.priority,
        ..Default::default()
    }
}

fn lb_endpoint(endpoint: &Endpoint, scope: &Scope<'_>) -> proto::LbEndpoint {
    let further = |address: &String| proto::endpoint::AdditionalAddress {
        address: Some(endpoint_address(address, endpoint.port.into())),
    };
    let at = proto::Endpoint {
        address: Some(endpoint_address(&endpoint.address, endpoint.port.into())),
        additional_addresses: endpoint.further.iter().map(further).collect(),
        ..Default::default()
    };
    proto::LbEndpoint {
        host_identifier: Some(proto::lb_endpoint::HostIdentifier::Endpoint(at)),
        load_balancing_weight: number(endpoint.weight.max(1)),
        health_status: core::HealthStatus::Healthy.into(),
        metadata: Some(metadata(endpoint, scope)),
    }
}

/// What the proxy and its metrics need to know of an endpoint.
fn metadata(endpoint: &Endpoint, scope: &Scope<'_>) -> core::Metadata {
    let mut all = HashMap::new();
    if !endpoint.workload.is_empty() {
        let (service, revision) = canonical(endpoint);
        let workload = format!("{};{};{service};{revision};{CLUSTER}", endpoint.workload, endpoint.namespace);
        all.insert("istio".to_owned(), one("workload", &workload));
    }
    if accepts_mesh_tls(endpoint, scope.snapshot) {
        all.insert("envoy.transport_socket_match".to_owned(), one("tlsMode", "istio"));
    }
    // Lateen's proxy names them in its answer when nothing listens on the port of a service.
    if scope.view.lateen && !endpoint.container_ports.is_empty() {
        let number = |port: &u16| Value { kind: Some(Kind::NumberValue(f64::from(*port))) };
        let values = endpoint.container_ports.iter().map(number).collect();
        let list = Value { kind: Some(Kind::ListValue(ListValue { values })) };
        all.insert("lateen".to_owned(), Struct { fields: HashMap::from([("container_ports".to_owned(), list)]) });
    }
    core::Metadata { filter_metadata: all, ..Default::default() }
}

/// Whether mutual TLS can be spoken: the workload has a proxy, and no policy turns it off on this port.
fn accepts_mesh_tls(endpoint: &Endpoint, snapshot: &Snapshot) -> bool {
    let mode = || snapshot.workload_mtls(&endpoint.namespace, &endpoint.labels).of_port(endpoint.port);
    endpoint.mesh_tls && mode() != MtlsMode::Disable
}

fn one(key: &str, value: &str) -> Struct {
    Struct { fields: HashMap::from([(key.to_owned(), text(value))]) }
}

/// Canonical service and revision of a workload.
fn canonical(endpoint: &Endpoint) -> (&str, &str) {
    let first = |keys: &[&str]| keys.iter().find_map(|k| endpoint.labels.get(*k)).map(String::as_str);
    let service = first(&["service.istio.io/canonical-name", "app.kubernetes.io/name", "app"]);
    let revision = first(&["service.istio.io/canonical-revision", "app.kubernetes.io/version", "version"]);
    (service.unwrap_or(&endpoint.workload), revision.unwrap_or("latest"))
}
