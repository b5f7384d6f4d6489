//! Route configurations (RDS).

mod action;
mod domains;
mod fault;
mod header;
mod inbound;
mod matching;
mod retry;
mod select;
mod virtual_host;

pub use action::Rule;
pub use inbound::inbound_routes;
pub use matching::Via;
pub use select::{applies_to_mesh, destination_cluster, virtual_services, virtual_services_for};

use lateen_api::envoy::envoy::config::route::v3 as proto;
use lateen_mesh::Hostname;

use super::gateway;
use super::listener::route_names;
use super::scope::Scope;
use super::wire::flag;
use crate::reads::{Fact, ReadSet};
use crate::snapshot::Snapshot;
use crate::view::ProxyView;

/// Names of all route configurations of a proxy.
pub fn names(view: &ProxyView, snapshot: &Snapshot) -> (Vec<String>, ReadSet) {
    let mut reads = ReadSet::new();
    let scope = Scope::new(view, snapshot, &mut reads);
    (route_names(&scope, &mut reads), reads)
}

/// The route configuration of a port (`80`), or of one service on a port (`web.default.svc.cluster.local:80`).
pub fn route_configuration(
    name: &str,
    view: &ProxyView,
    snapshot: &Snapshot,
    reads: &mut ReadSet,
) -> proto::RouteConfiguration {
    if !view.is_sidecar() {
        return gateway::route_configuration(name, view, snapshot, reads);
    }
    reads.read(Fact::Services);
    reads.read(Fact::VirtualServices);
    let scope = Scope::new(view, snapshot, reads);
    let (host, port) = match name.rsplit_once(':') {
        Some((host, port)) => (Some(Hostname::new(host)), port),
        None => (None, name),
    };
    let port: u16 = port.parse().unwrap_or(0);
    let mut hosts = virtual_host::virtual_hosts(&scope, port, host.as_ref(), reads);
    hosts.push(virtual_host::catch_all(&scope));
    proto::RouteConfiguration {
        name: name.to_owned(),
        virtual_hosts: hosts,
        validate_clusters: flag(false),
        ignore_port_in_host_matching: true,
        ..Default::default()
    }
}
