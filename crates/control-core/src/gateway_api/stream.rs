//! Rules of TLSRoutes and TCPRoutes.

use std::collections::BTreeMap;
use std::sync::Arc;

use lateen_api::gateway_api as api;
use lateen_api::istio;
use lateen_mesh::Hostname;

use super::attach::{Attachment, RouteKind, Target};
use super::backend::{Referrer, World};
use super::merge::{annotations, mesh_or_gateway};
use super::{Converted, MADE, Problem};
use crate::resource::{Config, Meta};

/// A TLSRoute or TCPRoute.
pub(super) struct Stream<'a> {
    pub(super) kind: RouteKind,
    pub(super) meta: &'a Meta,
    pub(super) hostnames: &'a [String],
    pub(super) rules: &'a [api::StreamRouteRule],
}

impl Stream<'_> {
    /// Makes its VirtualServices, one for each host or listener that it attaches to; returns what is wrong with it.
    pub(super) fn convert(
        &self,
        attachments: &[Attachment],
        world: World<'_>,
        made: &mut Converted,
    ) -> Option<Problem> {
        let mut problem = None;
        let from = Referrer { kind: self.kind.name(), namespace: &self.meta.namespace };
        let rules = self.rules.iter().map(|rule| {
            let backends = world.backends(&rule.backend_refs, |b| b, from, &mut problem);
            let backends = backends.into_iter().map(|(_, backend)| backend);
            backends.map(|b| istio::RouteDestination { destination: b.destination, weight: b.weight }).collect()
        });
        let rules: Vec<Vec<istio::RouteDestination>> = rules.filter(|rule: &Vec<_>| !rule.is_empty()).collect();
        if rules.is_empty() {
            return problem;
        }
        let bound = attachments.iter().filter(|attachment| attachment.denied.is_none());
        let specs: Vec<istio::VirtualService> = bound.flat_map(|a| self.specs(&a.target, &rules)).collect();
        // Listeners may have had their part before the mesh.
        let is_own = |vs: &&Config<istio::VirtualService>| vs.meta.annotations == self.annotations();
        let own = made.virtual_services.iter().rev().take_while(is_own).count();
        made.virtual_services.extend((own..).zip(specs).map(|(index, spec)| self.named(index, spec)));
        problem
    }

    fn annotations(&self) -> BTreeMap<String, String> {
        annotations(format!("{}/{}.{}", self.kind.name(), self.meta.name, self.meta.namespace))
    }

    fn named(&self, index: usize, spec: istio::VirtualService) -> Config<istio::VirtualService> {
        let kind = if self.kind == RouteKind::Tls { "tls" } else { "tcp" };
        let meta = Meta {
            namespace: self.meta.namespace.clone(),
            name: format!("{}~{kind}~{index}~{MADE}", self.meta.name),
            annotations: self.annotations(),
            created: self.meta.created.clone(),
            ..Default::default()
        };
        Config { meta, spec: Arc::new(spec), allocated: Vec::new() }
    }

    fn specs(&self, target: &Target, rules: &[Vec<istio::RouteDestination>]) -> Vec<istio::VirtualService> {
        let gateways = mesh_or_gateway(target);
        match target {
            Target::Listener { hostname, .. } => {
                let names = self.names_at(hostname.as_deref());
                if names.is_empty() {
                    return Vec::new();
                }
                vec![istio::VirtualService { hosts: names.clone(), gateways, ..self.rules(rules, names, None) }]
            }
            Target::Mesh { hosts, port } => hosts
                .iter()
                .map(|host| {
                    let names = if self.hostnames.is_empty() { vec![host.clone()] } else { self.hostnames.to_vec() };
                    let gateways = gateways.clone();
                    istio::VirtualService { hosts: vec![host.clone()], gateways, ..self.rules(rules, names, *port) }
                })
                .collect(),
        }
    }

    /// Its server names that a listener takes, the narrower of each two.
    fn names_at(&self, listener: Option<&str>) -> Vec<String> {
        let any = || vec![listener.unwrap_or("*").to_owned()];
        if self.kind == RouteKind::Tcp {
            return vec!["*".to_owned()];
        }
        if self.hostnames.is_empty() {
            return any();
        }
        let Some(listener) = listener else { return self.hostnames.to_vec() };
        let own = Hostname::new(listener);
        let narrower = |name: &String| {
            let host = Hostname::new(name);
            if own.covers(&host) { Some(name.clone()) } else { host.covers(&own).then(|| listener.to_owned()) }
        };
        self.hostnames.iter().filter_map(narrower).collect()
    }

    fn rules(
        &self,
        rules: &[Vec<istio::RouteDestination>],
        names: Vec<String>,
        port: Option<u32>,
    ) -> istio::VirtualService {
        if self.kind == RouteKind::Tls {
            let condition = istio::TlsMatchAttributes { sni_hosts: names, port, ..Default::default() };
            let rule = |route: &Vec<_>| istio::TlsRoute { matches: vec![condition.clone()], route: route.clone() };
            return istio::VirtualService { tls: rules.iter().map(rule).collect(), ..Default::default() };
        }
        let condition = port.map(|port| istio::L4MatchAttributes { port: Some(port), ..Default::default() });
        let matches: Vec<_> = condition.into_iter().collect();
        let rule = |route: &Vec<_>| istio::TcpRoute { matches: matches.clone(), route: route.clone() };
        istio::VirtualService { tcp: rules.iter().map(rule).collect(), ..Default::default() }
    }
}
