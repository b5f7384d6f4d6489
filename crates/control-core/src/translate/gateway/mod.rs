//! Gateways: listeners and routes from Istio's Gateways and the VirtualServices bound to them.

mod host;
mod listener;
mod merge;
mod route;
mod stream;
mod tls;

pub use host::{ServerHost, shared};
pub use listener::listener;
pub use merge::{Front, ports};
pub use route::route_configuration;

use std::collections::BTreeSet;

use lateen_api::istio as api;
use lateen_mesh::Hostname;

use super::scope::Scope;
use crate::reads::{Fact, ReadSet};
use crate::resource::Config;
use crate::snapshot::Snapshot;
use crate::snapshot::hosts;
use crate::view::ProxyView;
use merge::Server;

/// Names of all listeners of a gateway. A port on which nothing is served has none.
pub fn listener_names(view: &ProxyView, snapshot: &Snapshot) -> (Vec<String>, ReadSet) {
    let mut reads = ReadSet::new();
    let all: BTreeSet<String> = merge::ports(view, snapshot, &mut reads).iter().map(merge::Port::listener).collect();
    let served = all.into_iter().filter(|name| listener(name, view, snapshot, &mut reads).is_some());
    let served = served.collect::<Vec<_>>();
    (served, reads)
}

/// Names of all route configurations of a gateway.
pub fn route_names(view: &ProxyView, snapshot: &Snapshot, reads: &mut ReadSet) -> Vec<String> {
    let ports = merge::ports(view, snapshot, reads);
    let all: BTreeSet<String> = ports.into_iter().flat_map(|p| p.servers).filter_map(|s| s.routes).collect();
    all.into_iter().collect()
}

/// The VirtualServices bound to the Gateway of a server that share hosts with it, oldest first, with those hosts.
fn bound<'a>(
    server: &Server<'_>,
    scope: &Scope<'a>,
    reads: &mut ReadSet,
) -> Vec<(&'a Config<api::VirtualService>, Vec<Hostname>)> {
    reads.read(Fact::VirtualServices);
    let (snapshot, namespace) = (scope.snapshot, &scope.view.namespace);
    let gateway = server.gateway.full_name();
    let mut all = Vec::new();
    for vs in snapshot.virtual_services.iter() {
        let owner = &vs.meta.namespace;
        let is_bound = names_gateway(&vs.spec.gateways, owner, &gateway);
        if !is_bound || !snapshot.sees_virtual_service(namespace, owner, &vs.spec.export_to) {
            continue;
        }
        let wanted: Vec<Hostname> = hosts(vs).collect();
        let shared = host::shared(&server.hosts, &wanted, owner);
        if !shared.is_empty() {
            all.push((vs, shared));
        }
    }
    all
}

/// Does a list of gateways in an object of `owner` name `gateway` (`namespace/name`).
pub fn names_gateway(list: &[String], owner: &str, gateway: &str) -> bool {
    list.iter().any(|entry| match entry.split_once('/') {
        Some(_) => entry == gateway,
        None => gateway.split_once('/') == Some((owner, entry)),
    })
}
