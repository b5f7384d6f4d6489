//! Which VirtualService applies, and what its destinations mean.

use lateen_api::istio as api;
use lateen_mesh::Hostname;

use crate::resource::Config;
use crate::translate::name::ClusterName;
use crate::translate::scope::Scope;

/// The gateway that stands for all sidecars.
const MESH: &str = "mesh";

/// Does a list of gateways include the sidecars.
pub fn applies_to_mesh(gateways: &[String]) -> bool {
    gateways.is_empty() || gateways.iter().any(|g| g == MESH)
}

/// The VirtualServices for calls from this proxy, oldest first.
pub fn virtual_services<'a>(scope: &Scope<'a>) -> impl Iterator<Item = &'a Config<api::VirtualService>> {
    let (snapshot, namespace) = (scope.snapshot, &scope.view.namespace);
    snapshot.virtual_services.iter().filter(move |vs| {
        applies_to_mesh(&vs.spec.gateways)
            && snapshot.sees_virtual_service(namespace, &vs.meta.namespace, &vs.spec.export_to)
    })
}

/// The hosts of a VirtualService, completed.
pub fn hosts(vs: &Config<api::VirtualService>) -> impl Iterator<Item = Hostname> {
    vs.spec.hosts.iter().map(|h| Hostname::resolve(h, &vs.meta.namespace, "cluster.local"))
}

/// The VirtualService for `host`: of those in reach the one whose host is most specific, then the oldest.
pub fn virtual_service_for<'a>(host: &Hostname, scope: &Scope<'a>) -> Option<&'a Config<api::VirtualService>> {
    let mut best: Option<(Hostname, &Config<api::VirtualService>)> = None;
    for vs in virtual_services(scope) {
        for own in hosts(vs).filter(|h| h.covers(host)) {
            let in_reach = scope.includes_host(&vs.meta.namespace, &own, None);
            let better = best.as_ref().is_none_or(|(b, _)| own.by_specificity(b).is_lt() && own != *b);
            if in_reach && better {
                best = Some((own, vs));
            }
        }
    }
    best.map(|(_, vs)| vs)
}

/// The cluster that a destination means: its own port, else the only port of its service, else that of the request.
pub fn destination_cluster(
    destination: &api::Destination,
    namespace: &str,
    request_port: u16,
    scope: &Scope<'_>,
) -> ClusterName {
    let host = Hostname::resolve(&destination.host, namespace, "cluster.local");
    let given = destination.port.as_ref().and_then(|p| u16::try_from(p.number).ok()).filter(|p| *p != 0);
    let port = given.unwrap_or_else(|| match scope.snapshot.services.of_host(&host).first() {
        Some(service) if service.ports.len() == 1 => service.ports[0].number,
        _ => request_port,
    });
    ClusterName::outbound(port, &destination.subset, &host)
}
