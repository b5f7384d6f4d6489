//! What a proxy may reach.

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use lateen_api::istio::SidecarOutboundMode;
use lateen_mesh::Hostname;

use super::route::virtual_services;
use crate::reads::{Fact, ReadSet};
use crate::resource::{Registry, Service};
use crate::snapshot::{EgressScope, Snapshot, destinations, hosts};
use crate::view::ProxyView;

/// Stands for all ports of a destination.
const ANY_PORT: u16 = 0;

/// The services, VirtualServices and policies in reach of one proxy.
pub struct Scope<'a> {
    /// The proxy.
    pub view: &'a ProxyView,
    /// The state of the mesh.
    pub snapshot: &'a Snapshot,
    egress: EgressScope,
    allows_any: bool,
    /// Ports of the hosts that VirtualServices in reach lead to.
    destinations: OnceCell<BTreeMap<Hostname, BTreeSet<u16>>>,
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
        let egress = EgressScope::new(sidecar, &view.namespace);
        if egress.restricts() {
            reads.read(Fact::Reach);
        }
        Self { view, snapshot, egress, allows_any, destinations: OnceCell::new() }
    }

    /// May traffic go to destinations that no service is known for.
    pub fn allows_any(&self) -> bool {
        self.allows_any
    }

    /// All services in reach, oldest first; one for each host. Those that VirtualServices in reach lead to are among
    /// them.
    pub fn services(&self) -> Vec<Arc<Service>> {
        by_age(self.snapshot.services.hosts().filter_map(|host| self.service(host)))
    }

    /// The services that the workload may call by their names, oldest first; one for each host.
    pub fn callable(&self) -> Vec<Arc<Service>> {
        by_age(self.snapshot.services.hosts().filter_map(|host| self.asked_for(host)))
    }

    /// Those of them that have a port of this number.
    pub fn callable_on_port(&self, port: u16) -> Vec<Arc<Service>> {
        let services = self.snapshot.services.hosts_with_port(port).filter_map(|host| self.asked_for(host));
        by_age(services.filter(|service| service.port(port).is_some()))
    }

    /// The service of a host, if it is in reach.
    pub fn service(&self, host: &Hostname) -> Option<Arc<Service>> {
        let all = self.snapshot.services.of_host(host);
        let asked_for = self.asked_for(host);
        let is_whole = asked_for.as_ref().is_some_and(|own| all.iter().any(|service| Arc::ptr_eq(service, own)));
        if is_whole || !self.egress.restricts() {
            return asked_for;
        }
        let Some(ports) = self.destinations().get(host) else { return asked_for };
        let Some(own) = asked_for else { return self.led_to(host, ports) };
        // What VirtualServices need comes to what the Sidecar asks for.
        let whole = all.iter().find(|service| service.source == own.source)?;
        let wanted = |port: u16| own.port(port).is_some() || ports.contains(&ANY_PORT) || ports.contains(&port);
        with_ports(whole, wanted)
    }

    /// Is a VirtualService for `host` in `namespace` in reach.
    pub fn includes_host(&self, namespace: &str, host: &Hostname, port: Option<u16>) -> bool {
        self.egress.includes(namespace, host, port)
    }

    /// The service of a host as the workload may call it: what listeners of its Sidecar import, with the ports that
    /// they import. The first listener that imports any decides which of several, as in Istio.
    fn asked_for(&self, host: &Hostname) -> Option<Arc<Service>> {
        let mut visible = self.visible(host);
        if !self.egress.restricts() {
            let own = visible.clone().find(|service| service.namespace() == self.view.namespace);
            return own.or(visible.next()).cloned();
        }
        let mut chosen: Option<(&Arc<Service>, BTreeSet<u16>)> = None;
        for listener in self.egress.listeners() {
            let imported = visible.clone().filter(|service| listener.imports(service.namespace(), host));
            let mut imported = imported.filter(|service| listener.leaves_any_port(service));
            let own = imported.clone().find(|service| service.namespace() == self.view.namespace);
            let Some(service) = own.or(imported.next()) else { continue };
            let ports = service.ports.iter().map(|port| port.number).filter(|port| listener.leaves(*port));
            match &mut chosen {
                Some((before, known)) if Arc::ptr_eq(before, service) => known.extend(ports),
                Some((before, _)) if before.registry == service.registry || before.registry == Registry::Kubernetes => {
                }
                _ => chosen = Some((service, ports.collect())),
            }
        }
        let (service, ports) = chosen?;
        if service.ports.is_empty() { Some(service.clone()) } else { with_ports(service, |port| ports.contains(&port)) }
    }

    /// A service that only VirtualServices lead to: that of the proxy's own namespace, else of the first one.
    fn led_to(&self, host: &Hostname, ports: &BTreeSet<u16>) -> Option<Arc<Service>> {
        let own = self.visible(host).find(|service| service.namespace() == self.view.namespace);
        let service = own.or_else(|| self.visible(host).min_by_key(|service| service.namespace()))?;
        with_ports(service, |port| ports.contains(&ANY_PORT) || ports.contains(&port))
    }

    fn visible<'s>(&'s self, host: &Hostname) -> impl Iterator<Item = &'a Arc<Service>> + Clone + use<'s, 'a> {
        let all = self.snapshot.services.of_host(host).iter();
        all.filter(|service| self.snapshot.sees_service(&self.view.namespace, service))
    }

    fn destinations(&self) -> &BTreeMap<Hostname, BTreeSet<u16>> {
        self.destinations.get_or_init(|| {
            let mut all: BTreeMap<Hostname, BTreeSet<u16>> = BTreeMap::new();
            let in_reach = virtual_services(self)
                .filter(|vs| hosts(vs).any(|host| self.egress.includes(&vs.meta.namespace, &host, None)));
            for vs in in_reach {
                for (_, to) in destinations(&vs.spec) {
                    let port = to.port.as_ref().and_then(|port| u16::try_from(port.number).ok()).unwrap_or(ANY_PORT);
                    let host = Hostname::resolve(&to.host, &vs.meta.namespace, "cluster.local");
                    all.entry(host).or_default().insert(port);
                }
            }
            all
        })
    }
}

/// The service with those of its ports that are so; `None` if there is none.
fn with_ports(service: &Arc<Service>, is_so: impl Fn(u16) -> bool) -> Option<Arc<Service>> {
    if service.ports.iter().all(|port| is_so(port.number)) {
        return Some(service.clone());
    }
    let ports: Vec<_> = service.ports.iter().filter(|port| is_so(port.number)).cloned().collect();
    (!ports.is_empty()).then(|| Arc::new(Service { ports, ..(**service).clone() }))
}

fn by_age(services: impl Iterator<Item = Arc<Service>>) -> Vec<Arc<Service>> {
    let mut all: Vec<_> = services.collect();
    all.sort_by(|a, b| (&a.created, a.namespace(), &a.hostname).cmp(&(&b.created, b.namespace(), &b.hostname)));
    all
}
