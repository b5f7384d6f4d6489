//! Clusters (CDS).

mod inbound;
mod outbound;
mod policy;
mod transport;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use lateen_api::envoy::envoy::config::cluster::v3 as proto;

use super::locality::{self, Effective};
use super::name::{self, ClusterName};
use super::scope::Scope;
use super::wire::duration;
use crate::reads::{Fact, ReadSet};
use crate::resource::{Resolution, Service};
use crate::snapshot::{Snapshot, TrafficRule};
use crate::view::ProxyView;

/// Names of all clusters of a proxy.
pub fn names(view: &ProxyView, snapshot: &Snapshot) -> (Vec<String>, ReadSet) {
    let (mut all, mut reads) = common_names(view, snapshot);
    let (own, own_reads) = own_names(view, snapshot);
    all.extend(own);
    reads.extend(own_reads);
    (all, reads)
}

/// Names of the clusters of the workload's own ports.
pub fn own_names(view: &ProxyView, snapshot: &Snapshot) -> (Vec<String>, ReadSet) {
    let mut reads = ReadSet::new();
    let names = if view.is_sidecar() { inbound::names(view, snapshot, &mut reads) } else { Vec::new() };
    (names, reads)
}

/// Names of all other clusters.
pub fn common_names(view: &ProxyView, snapshot: &Snapshot) -> (Vec<String>, ReadSet) {
    let mut reads = ReadSet::new();
    let scope = Scope::new(view, snapshot, &mut reads);
    let mut all: Vec<String> =
        outbound_names(&scope, &mut reads).into_iter().map(|(name, _)| name.to_string()).collect();
    all.push(name::BLACK_HOLE.into());
    if view.is_sidecar() {
        all.push(name::PASSTHROUGH.into());
        all.push(name::INBOUND_PASSTHROUGH.into());
    }
    (all, reads)
}

/// Names of the clusters for services in reach, with their services.
pub fn outbound_names(scope: &Scope<'_>, reads: &mut ReadSet) -> Vec<(ClusterName, Arc<Service>)> {
    reads.read(Fact::Services);
    let mut all = Vec::new();
    for service in scope.services() {
        reads.read(Fact::DestinationRules(service.hostname.clone()));
        let rule = rule_for(&service, scope);
        for port in &service.ports {
            all.push((ClusterName::outbound(port.number, "", &service.hostname), service.clone()));
            for subset in rule.iter().flat_map(|r| &r.spec.subsets) {
                all.push((ClusterName::outbound(port.number, &subset.name, &service.hostname), service.clone()));
            }
        }
    }
    all
}

/// Makes one cluster.
pub fn cluster(name: &str, view: &ProxyView, snapshot: &Snapshot, reads: &mut ReadSet) -> Option<proto::Cluster> {
    match name {
        name::BLACK_HOLE => Some(black_hole(snapshot)),
        name::PASSTHROUGH => Some(outbound::passthrough(snapshot, reads)),
        name::INBOUND_PASSTHROUGH => Some(inbound::passthrough(view, snapshot, reads)),
        _ if name.starts_with("inbound|") => inbound::cluster(name, view, snapshot, reads),
        _ => outbound::cluster(&ClusterName::parse(name)?, view, snapshot, reads),
    }
}

fn black_hole(snapshot: &Snapshot) -> proto::Cluster {
    proto::Cluster { cluster_discovery_type: Some(kind(Discovery::Static)), ..base(name::BLACK_HOLE, snapshot) }
}

/// What all clusters have in common.
fn base(name: &str, snapshot: &Snapshot) -> proto::Cluster {
    proto::Cluster {
        name: name.to_owned(),
        connect_timeout: Some(duration(snapshot.mesh.connect_timeout())),
        ..Default::default()
    }
}

/// How a cluster finds its endpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Discovery {
    /// Sent by the control plane.
    Eds,
    /// The address that the client asked for.
    OriginalDst,
    /// Names resolved, all answers.
    StrictDns,
    /// Names resolved, first answer.
    LogicalDns,
    /// Fixed.
    Static,
}

/// How the cluster of a service finds its endpoints.
pub fn discovery(service: &Service) -> Discovery {
    match service.resolution {
        Resolution::Endpoints => Discovery::Eds,
        Resolution::Passthrough | Resolution::DynamicDns => Discovery::OriginalDst,
        Resolution::Dns => Discovery::StrictDns,
        Resolution::DnsRoundRobin => Discovery::LogicalDns,
    }
}

fn kind(discovery: Discovery) -> proto::cluster::ClusterDiscoveryType {
    use proto::cluster::DiscoveryType;
    let of = match discovery {
        Discovery::Eds => DiscoveryType::Eds,
        Discovery::OriginalDst => DiscoveryType::OriginalDst,
        Discovery::StrictDns => DiscoveryType::StrictDns,
        Discovery::LogicalDns => DiscoveryType::LogicalDns,
        Discovery::Static => DiscoveryType::Static,
    };
    proto::cluster::ClusterDiscoveryType::Type(of.into())
}

/// The DestinationRule for calls to a service.
pub fn rule_for<'a>(service: &Service, scope: &Scope<'a>) -> Option<&'a TrafficRule> {
    let view = scope.view;
    scope.snapshot.destination_rule(&view.namespace, &view.labels, &service.hostname, service.namespace())
}

/// Labels of the endpoints of a cluster; `None` if its subset is not defined.
pub fn subset_labels(
    cluster: &ClusterName,
    service: &Service,
    scope: &Scope<'_>,
    reads: &mut ReadSet,
) -> Option<BTreeMap<String, String>> {
    if cluster.subset.is_empty() {
        return Some(BTreeMap::new());
    }
    reads.read(Fact::DestinationRules(cluster.host.clone()));
    let subsets = &rule_for(service, scope)?.spec.subsets;
    subsets.iter().find(|s| s.name == cluster.subset).map(|s| s.labels.clone())
}

/// How long a connection without requests is kept.
const IDLE: Duration = Duration::from_secs(3600);

/// What the policy for a cluster hashes to choose an endpoint.
pub fn consistent_hash(
    cluster: &ClusterName,
    service: &Service,
    scope: &Scope<'_>,
) -> Option<lateen_api::istio::ConsistentHash> {
    policy_for(cluster, service, scope).load_balancer?.consistent_hash
}

/// The traffic policy in force for a cluster.
fn policy_for(cluster: &ClusterName, service: &Service, scope: &Scope<'_>) -> policy::Policy {
    let rule = rule_for(service, scope);
    let subset = rule.and_then(|r| r.spec.subsets.iter().find(|s| s.name == cluster.subset));
    policy::Policy::effective(rule, subset, cluster.port)
}

/// The preference by locality for a cluster, and whether its endpoints are ordered by it: without outlier detection
/// only where the service itself asks for it.
pub fn locality_preference(
    cluster: &ClusterName,
    service: &Service,
    scope: &Scope<'_>,
    reads: &mut ReadSet,
) -> Option<(Effective, bool)> {
    reads.read(Fact::DestinationRules(cluster.host.clone()));
    let policy = policy_for(cluster, service, scope);
    let rule = policy.load_balancer.as_ref().and_then(|lb| lb.locality_lb_setting.as_ref());
    let found = locality::effective(scope.snapshot.mesh.locality_lb_setting(), rule, service.traffic)?;
    let failover = found.forced || policy.outliers.is_some();
    Some((found, failover))
}
