//! What a proxy may reach.

use std::collections::BTreeMap;
use std::sync::Arc;

use lateen_api::istio::SidecarOutboundMode;
use lateen_mesh::Hostname;

use crate::reads::{Fact, ReadSet};
use crate::resource::Service;
use crate::snapshot::{EgressScope, Snapshot};
use crate::view::ProxyView;

/// The services, VirtualServices and policies in reach of one proxy.
pub struct Scope<'a> {
    /// The proxy.
    pub view: &'a ProxyView,
    /// The state of the mesh.
    pub snapshot: &'a Snapshot,
    egress: EgressScope,
    allows_any: bool,
}

impl<'a> Scope<'a> {
    /// The scope of `view`.
    pub fn new(view: &'a ProxyView, snapshot: &'a Snapshot, reads: &mut ReadSet) -> Self {
        reads.read(Fact::Sidecars);
        reads.read(Fact::Mesh);
        let sidecar = view.is_sidecar().then(|| snapshot.sidecar(&view.namespace, &view.labels)).flatten();
        // A policy without a mode is the strict one, as in Istio.
        let policy = sidecar.and_then(|s| s.spec.outbound_traffic_policy.as_ref());
        let allows_any = policy.map_or(snapshot.mesh.allow_any(), |p| p.mode == Some(SidecarOutboundMode::AllowAny));
        Self { view, snapshot, egress: EgressScope::new(sidecar, &view.namespace), allows_any }
    }

    /// May traffic go to destinations that no service is known for.
    pub fn allows_any(&self) -> bool {
        self.allows_any
    }

    /// All services in reach, oldest first; one for each host.
    pub fn services(&self) -> Vec<&'a Arc<Service>> {
        self.pick(self.snapshot.services.iter(), None)
    }

    /// The services in reach that have a port of this number.
    pub fn services_with_port(&self, port: u16) -> Vec<&'a Arc<Service>> {
        self.pick(self.snapshot.services.with_port(port), Some(port))
    }

    /// The service of a host, if it is in reach.
    pub fn service(&self, host: &Hostname) -> Option<&'a Arc<Service>> {
        self.pick(self.snapshot.services.of_host(host).iter(), None).into_iter().next()
    }

    /// Is a VirtualService for `host` in `namespace` in reach.
    pub fn includes_host(&self, namespace: &str, host: &Hostname, port: Option<u16>) -> bool {
        self.egress.includes(namespace, host, port)
    }

    fn pick(&self, services: impl Iterator<Item = &'a Arc<Service>>, port: Option<u16>) -> Vec<&'a Arc<Service>> {
        let mut by_host: BTreeMap<&Hostname, &Arc<Service>> = BTreeMap::new();
        for service in services.filter(|s| self.reaches(s, port)) {
            let best = by_host.entry(&service.hostname).or_insert(service);
            // Of services with the same name the one in the proxy's own namespace is meant.
            if best.namespace() != self.view.namespace && service.namespace() == self.view.namespace {
                *best = service;
            }
        }
        let mut all: Vec<_> = by_host.into_values().collect();
        all.sort_by(|a, b| (&a.created, a.namespace(), &a.hostname).cmp(&(&b.created, b.namespace(), &b.hostname)));
        all
    }

    fn reaches(&self, service: &Service, port: Option<u16>) -> bool {
        self.snapshot.sees_service(&self.view.namespace, service)
            && self.egress.includes(service.namespace(), &service.hostname, port)
    }
}
