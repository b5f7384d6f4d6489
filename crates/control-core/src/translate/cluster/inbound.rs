//! Clusters of the workload's own ports.

use std::collections::BTreeMap;

use lateen_api::envoy::envoy::config::cluster::v3 as proto;
use lateen_api::envoy::envoy::config::core::v3 as core;
use lateen_api::envoy::envoy::config::endpoint::v3 as endpoint;
use lateen_api::istio as api;
use lateen_mesh::Protocol;

use super::policy::{Policy, circuit_breakers};
use super::{Discovery, base, kind};
use crate::reads::{Fact, ReadSet};
use crate::snapshot::Snapshot;
use crate::translate::listener::{InboundPort, inbound_ports};
use crate::translate::name;
use crate::translate::provenance::IstioMetadata;
use crate::translate::wire::{duration, endpoint_address, socket_address};
use crate::view::ProxyView;

/// The address that the proxy calls the application from, so that its calls are told from those of clients.
const FROM: &str = "127.0.0.6";
/// The same in the second family.
const SECOND_FROM: &str = "::6";

/// Names of the clusters of the workload's ports.
pub fn names(view: &ProxyView, snapshot: &Snapshot, reads: &mut ReadSet) -> Vec<String> {
    inbound_ports(view, snapshot, reads).keys().map(|port| name::inbound(*port)).collect()
}

/// Makes the cluster of one port.
pub fn cluster(name: &str, view: &ProxyView, snapshot: &Snapshot, reads: &mut ReadSet) -> Option<proto::Cluster> {
    let port: u16 = name.strip_prefix("inbound|")?.strip_suffix("||")?.parse().ok()?;
    let ports: BTreeMap<u16, InboundPort> = inbound_ports(view, snapshot, reads);
    let inbound = ports.get(&port)?;
    let mut cluster = base(name, snapshot);
    match &inbound.endpoint {
        Some((to, at)) => {
            local(&mut cluster, name, to, *at);
            // The capture takes what is sent to the workload's own address for a client's, unless it comes from here.
            if to.parse().is_ok_and(|to| view.addresses.contains(&to)) {
                cluster.upstream_bind_config = Some(from_proxy(view));
            }
        }
        None if snapshot.mesh.inbound_to_localhost() => local(&mut cluster, name, "127.0.0.1", port),
        None => original(&mut cluster, view),
    }
    let pool = inbound.pool.clone().or_else(|| rule_pool(inbound, view, snapshot, reads));
    Policy { pool, ..Policy::default() }.apply(&mut cluster, inbound.protocol, snapshot);
    cluster.common_lb_config = None;
    cluster.metadata = IstioMetadata::default().services(inbound.services.iter().map(|s| &**s)).build();
    Some(cluster)
}

/// What the DestinationRule of the port's Service says of connections: it holds at the server's end too, which has to
/// take as much as clients may send, and in the protocol that they speak.
fn rule_pool(
    inbound: &InboundPort,
    view: &ProxyView,
    snapshot: &Snapshot,
    reads: &mut ReadSet,
) -> Option<api::ConnectionPoolSettings> {
    let service = inbound.services.first()?;
    reads.read(Fact::DestinationRules(service.hostname.clone()));
    let rule = snapshot.destination_rule(&view.namespace, &view.labels, &service.hostname, service.namespace());
    Policy::effective(rule, None, inbound.service_port).pool
}

fn original(cluster: &mut proto::Cluster, view: &ProxyView) {
    cluster.cluster_discovery_type = Some(kind(Discovery::OriginalDst));
    cluster.lb_policy = proto::cluster::LbPolicy::ClusterProvided.into();
    cluster.upstream_bind_config = Some(from_proxy(view));
    cluster.cleanup_interval = Some(duration(std::time::Duration::from_secs(60)));
}

fn local(cluster: &mut proto::Cluster, name: &str, to: &str, port: u16) {
    cluster.cluster_discovery_type = Some(kind(Discovery::Static));
    let at = endpoint::Endpoint { address: Some(endpoint_address(to, port.into())), ..Default::default() };
    let host = endpoint::LbEndpoint {
        host_identifier: Some(endpoint::lb_endpoint::HostIdentifier::Endpoint(at)),
        ..Default::default()
    };
    cluster.load_assignment = Some(endpoint::ClusterLoadAssignment {
        cluster_name: name.to_owned(),
        endpoints: vec![endpoint::LocalityLbEndpoints { lb_endpoints: vec![host], ..Default::default() }],
        ..Default::default()
    });
}

fn from_proxy(view: &ProxyView) -> core::BindConfig {
    let further = core::ExtraSourceAddress { address: Some(socket_address(SECOND_FROM, 0)), ..Default::default() };
    core::BindConfig {
        source_address: Some(socket_address(FROM, 0)),
        extra_source_addresses: view.is_dual_stack().then_some(further).into_iter().collect(),
        ..Default::default()
    }
}

/// The cluster for ports that no service is known for.
pub fn passthrough(view: &ProxyView, snapshot: &Snapshot, reads: &mut ReadSet) -> proto::Cluster {
    reads.read(Fact::Mesh);
    let mut cluster = base(name::INBOUND_PASSTHROUGH, snapshot);
    original(&mut cluster, view);
    Policy::default().apply(&mut cluster, Protocol::Auto, snapshot);
    cluster.circuit_breakers = Some(circuit_breakers(None, None));
    cluster.common_lb_config = None;
    cluster
}
