//! Where TCP connections for a service go: as a VirtualService says, or to the service itself.

use lateen_api::istio as api;
use lateen_mesh::labels;

use crate::resource::{Config, Service, ServicePort};
use crate::translate::name::ClusterName;
use crate::translate::route::{applies_to_mesh, destination_cluster, virtual_services_for};
use crate::translate::scope::Scope;

/// A cluster and its share.
#[derive(Clone, Debug, PartialEq)]
pub struct Target {
    /// The cluster.
    pub cluster: ClusterName,
    /// Its share relative to the others.
    pub weight: u32,
}

/// Where connections for a service port go.
pub struct Routed {
    /// Whatever their server name.
    pub plain: Vec<Target>,
    /// By server names, if routes say so.
    pub by_sni: Vec<(Vec<String>, Vec<Target>)>,
}

/// Where connections for a service port go.
pub fn targets(service: &Service, port: &ServicePort, scope: &Scope<'_>) -> Routed {
    let own = ClusterName::outbound(port.number, "", &service.hostname);
    let mut routed = Routed { plain: vec![Target { cluster: own, weight: 1 }], by_sni: Vec::new() };
    let has_rules = |spec: &api::VirtualService| !spec.tcp.is_empty() || !spec.tls.is_empty();
    let Some(vs) = virtual_services_for(&service.hostname, scope, has_rules).into_iter().next() else { return routed };
    if port.protocol.is_tls() {
        routed.by_sni = by_sni(vs, port, scope);
    }
    let matching =
        vs.spec.tcp.iter().find(|r| r.matches.is_empty() || r.matches.iter().any(|m| tcp_match(m, vs, port, scope)));
    if let Some(route) = matching {
        let targets = destinations(&route.route, vs, port.number, scope);
        if !targets.is_empty() {
            routed.plain = targets;
        }
    }
    routed
}

fn by_sni(vs: &Config<api::VirtualService>, port: &ServicePort, scope: &Scope<'_>) -> Vec<(Vec<String>, Vec<Target>)> {
    let mut all = Vec::new();
    for route in &vs.spec.tls {
        for condition in route.matches.iter().filter(|m| tls_match(m, vs, port, scope)) {
            let targets = destinations(&route.route, vs, port.number, scope);
            if !targets.is_empty() {
                all.push((condition.sni_hosts.clone(), targets));
            }
        }
    }
    all
}

fn tcp_match(
    m: &api::L4MatchAttributes,
    vs: &Config<api::VirtualService>,
    port: &ServicePort,
    scope: &Scope<'_>,
) -> bool {
    caller(&m.gateways, &m.source_namespace, &m.source_labels, vs, scope)
        && m.port.is_none_or(|p| p == u32::from(port.number))
        && m.destination_subnets.is_empty()
}

fn tls_match(
    m: &api::TlsMatchAttributes,
    vs: &Config<api::VirtualService>,
    port: &ServicePort,
    scope: &Scope<'_>,
) -> bool {
    caller(&m.gateways, &m.source_namespace, &m.source_labels, vs, scope)
        && m.port.is_none_or(|p| p == u32::from(port.number))
}

/// Does a condition hold for calls from this proxy.
fn caller(
    gateways: &[String],
    namespace: &str,
    wanted: &labels::Labels,
    vs: &Config<api::VirtualService>,
    scope: &Scope<'_>,
) -> bool {
    applies_to_mesh(if gateways.is_empty() { &vs.spec.gateways } else { gateways })
        && (namespace.is_empty() || namespace == scope.view.namespace)
        && labels::contains_all(&scope.view.labels, wanted)
}

/// The destinations of a route with their shares, for connections to `port`.
pub fn destinations(
    routes: &[api::RouteDestination],
    vs: &Config<api::VirtualService>,
    port: u16,
    scope: &Scope<'_>,
) -> Vec<Target> {
    let single = routes.len() == 1;
    let target = |r: &api::RouteDestination| {
        let weight = if single { 1 } else { u32::try_from(r.weight).unwrap_or(0) };
        let cluster = destination_cluster(&r.destination, &vs.meta.namespace, port, scope);
        (weight > 0).then_some(Target { cluster, weight })
    };
    routes.iter().filter_map(target).collect()
}
