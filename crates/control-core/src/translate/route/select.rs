//! Which VirtualService applies, and what its destinations mean.

use lateen_api::istio as api;
use lateen_mesh::Hostname;

use crate::resource::{Config, ROUTE_SEMANTICS};
use crate::translate::name::ClusterName;
use crate::translate::scope::Scope;

/// The gateway that stands for all sidecars.
const MESH: &str = "mesh";

/// Does a list of gateways include the sidecars.
pub fn applies_to_mesh(gateways: &[String]) -> bool {
    gateways.is_empty() || gateways.iter().any(|g| g == MESH)
}

/// The VirtualServices for calls from this proxy, oldest first.
pub fn virtual_services<'s, 'a>(
    scope: &'s Scope<'a>,
) -> impl Iterator<Item = &'a Config<api::VirtualService>> + use<'s, 'a> {
    scope.snapshot.virtual_services.iter().filter(|vs| is_for(vs, scope))
}

/// Is it for calls from this proxy.
fn is_for(vs: &Config<api::VirtualService>, scope: &Scope<'_>) -> bool {
    let (snapshot, namespace) = (scope.snapshot, &scope.view.namespace);
    applies_to_mesh(&vs.spec.gateways)
        && snapshot.sees_virtual_service(namespace, &vs.meta.namespace, &vs.spec.export_to)
}

/// The VirtualServices for `host`, the one to ask first: of those in reach the one whose host is most specific, then the
/// oldest. Beside one made of routes of the Gateway API there may be others for other ports, as far as `wanted` holds
/// for them; any other stands alone.
pub fn virtual_services_for<'a>(
    host: &Hostname,
    scope: &Scope<'a>,
    wanted: impl Fn(&api::VirtualService) -> bool,
) -> Vec<&'a Config<api::VirtualService>> {
    let mut found: Vec<(&Hostname, bool, &Config<api::VirtualService>)> = Vec::new();
    let all = scope.snapshot.virtual_services.covering(host).filter(|(_, vs)| is_for(vs, scope));
    for (own, vs) in all.filter(|(_, vs)| !is_of_gateway_api(vs) || wanted(&vs.spec)) {
        let of_consumer = is_of_gateway_api(vs) && !is_of_producer(vs, host, scope);
        let in_reach = scope.includes_host(&vs.meta.namespace, own, None);
        if in_reach && (!of_consumer || vs.meta.namespace == scope.view.namespace) {
            found.push((own, !of_consumer, vs));
        }
    }
    // The sort is stable: of equal ones the oldest stays first.
    found.sort_by(|(a, x, _), (b, y, _)| a.by_specificity(b).then(x.cmp(y)));
    let alone = found.first().is_some_and(|(_, _, vs)| !is_of_gateway_api(vs));
    let all = found.into_iter().map(|(_, _, vs)| vs);
    if alone { all.take(1).collect() } else { all.filter(|vs| is_of_gateway_api(vs)).collect() }
}

/// Is it made of routes of the Gateway API.
fn is_of_gateway_api(vs: &Config<api::VirtualService>) -> bool {
    vs.meta.annotations.get(ROUTE_SEMANTICS).is_some_and(|semantics| semantics == "gateway")
}

/// Routes of the Gateway API in the namespace of a service are for all its callers, others for those of their own
/// namespace.
fn is_of_producer(vs: &Config<api::VirtualService>, host: &Hostname, scope: &Scope<'_>) -> bool {
    let services = scope.snapshot.services.of_host(host);
    services.is_empty() || services.iter().any(|service| service.namespace() == vs.meta.namespace)
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
