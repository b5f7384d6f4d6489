//! The ports of the workload that the proxy knows: from Services, or from its Sidecar.

use std::collections::BTreeMap;
use std::sync::Arc;

use lateen_api::istio as api;
use lateen_mesh::Protocol;

use crate::reads::{Fact, ReadSet};
use crate::resource::Service;
use crate::snapshot::Snapshot;
use crate::view::ProxyView;

/// A port of the workload.
#[derive(Clone, Debug)]
pub struct InboundPort {
    /// Port of the first service, or of the Sidecar.
    pub service_port: u16,
    /// What is spoken.
    pub protocol: Protocol,
    /// Services that lead here, oldest first.
    pub services: Vec<Arc<Service>>,
    /// Where a Sidecar sends it: address or `unix://` path, and port.
    pub endpoint: Option<(String, u16)>,
    /// Limits for connections to the application.
    pub pool: Option<api::ConnectionPoolSettings>,
}

/// The ports of the workload by number.
pub fn inbound_ports(view: &ProxyView, snapshot: &Snapshot, reads: &mut ReadSet) -> BTreeMap<u16, InboundPort> {
    reads.read(Fact::Sidecars);
    reads.read(Fact::Mesh);
    let sidecar = snapshot.sidecar(&view.namespace, &view.labels);
    if let Some(sidecar) = sidecar.filter(|s| !s.spec.ingress.is_empty()) {
        return of_sidecar(&sidecar.spec, view);
    }
    view.addresses.iter().for_each(|a| reads.read(Fact::Workload(*a)));
    let pool = sidecar.and_then(|s| s.spec.inbound_connection_pool.clone());
    let mut ports: BTreeMap<u16, InboundPort> = BTreeMap::new();
    for target in snapshot.service_targets(&view.addresses) {
        let port = ports.entry(target.target_port).or_insert_with(|| InboundPort {
            service_port: target.port.number,
            protocol: target.port.protocol,
            services: Vec::new(),
            endpoint: None,
            pool: pool.clone(),
        });
        if port.services.iter().all(|s| s.hostname != target.service.hostname) {
            port.services.push(target.service);
        }
    }
    ports
}

fn of_sidecar(sidecar: &api::Sidecar, view: &ProxyView) -> BTreeMap<u16, InboundPort> {
    let port = |listener: &api::IstioIngressListener| {
        let number = u16::try_from(listener.port.number).ok()?;
        let inbound = InboundPort {
            service_port: number,
            protocol: Protocol::parse(&listener.port.protocol),
            services: Vec::new(),
            endpoint: endpoint(&listener.default_endpoint, view),
            pool: listener.connection_pool.clone().or_else(|| sidecar.inbound_connection_pool.clone()),
        };
        Some((number, inbound))
    };
    sidecar.ingress.iter().filter_map(port).collect()
}

/// `0.0.0.0:port` and `:port` mean the workload's own address.
fn endpoint(text: &str, view: &ProxyView) -> Option<(String, u16)> {
    if text.starts_with("unix://") {
        return Some((text.to_owned(), 0));
    }
    let (host, port) = text.rsplit_once(':')?;
    let port = port.parse().ok()?;
    match host.trim_matches(['[', ']']) {
        "" | "0.0.0.0" | "::" => Some((view.addresses.first()?.to_string(), port)),
        other => Some((other.to_owned(), port)),
    }
}
