//! What the objects of the Gateway API become, worked out anew for all of them together.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use lateen_api::istio as api;
use lateen_mesh::Hostname;
use lateen_mesh::labels::Labels;

use super::Store;
use crate::gateway_api::{self, Cluster, Converted, Front, Objects};
use crate::reads::{Changes, Fact};
use crate::resource::{Config, Credential, GatewayApi, Key, Kind, Meta, Resource, TargetPort, services_of_entry};
use crate::snapshot::VirtualServices;

/// Domain of the cluster.
const DOMAIN: &str = "cluster.local";

impl Store {
    /// Notes whether an event may change what the Gateway API's objects become.
    pub(super) fn note_gateway_api(&mut self, kind: Kind, changes: &mut Changes) {
        if !kind.is_gateway_api() {
            let matters = match kind {
                Kind::Namespace | Kind::ConfigMap => true,
                _ => changes.iter().any(|fact| match fact {
                    Fact::Services | Fact::Secret(..) => true,
                    Fact::Endpoints(host) => {
                        self.state.gateway_api.deployments.iter().any(|d| d.is_front(host)) || self.is_address(host)
                    }
                    _ => false,
                }),
            };
            if !matters || self.of_kind(Kind::KubernetesGateway).next().is_none() && !self.has_routes() {
                return;
            }
        }
        self.unsettled = true;
        changes.add(Fact::GatewayApi);
    }

    fn has_routes(&self) -> bool {
        [Kind::HttpRoute, Kind::GrpcRoute, Kind::TlsRoute, Kind::TcpRoute, Kind::BackendTlsPolicy]
            .into_iter()
            .any(|kind| self.of_kind(kind).next().is_some())
    }

    /// Does a Gateway name this host as its address.
    fn is_address(&self, host: &Hostname) -> bool {
        self.of_kind(Kind::KubernetesGateway).any(|(_, resource)| match resource {
            Resource::GatewayApi(object) => match &**object {
                GatewayApi::Gateway(gateway) => gateway
                    .spec
                    .addresses
                    .iter()
                    .any(|a| Hostname::resolve(&a.value, &gateway.meta.namespace, DOMAIN) == *host),
                _ => false,
            },
            _ => false,
        })
    }

    /// Works out what follows from all objects together. Cheap if nothing changed that matters for it.
    pub fn settle(&mut self) -> Changes {
        let mut changes = Changes::default();
        if !std::mem::take(&mut self.unsettled) {
            return changes;
        }
        let converted = gateway_api::convert(&self.gateway_api_objects(), self);
        let old = std::mem::replace(&mut self.state.gateway_api, Arc::new(converted));
        let new = self.state.gateway_api.clone();
        if old.gateways != new.gateways {
            put_all(Arc::make_mut(&mut self.state.gateways), &old.gateways, &new.gateways);
            changes.add(Fact::Gateways);
        }
        if old.virtual_services != new.virtual_services {
            let all = Arc::make_mut(&mut self.state.virtual_services);
            put_virtual_services(all, &old.virtual_services, &new.virtual_services, &mut changes);
        }
        self.put_destination_rules(&old, &new, &mut changes);
        for granted in old.granted.symmetric_difference(&new.granted) {
            let (namespace, name) = granted.secret.clone();
            changes.add(Fact::Secret(namespace, name));
        }
        changes
    }

    fn put_destination_rules(&mut self, old: &Converted, new: &Converted, changes: &mut Changes) {
        if old.destination_rules == new.destination_rules {
            return;
        }
        let both = || old.destination_rules.iter().chain(&new.destination_rules);
        let namespaces: BTreeSet<&String> = both().map(|rule| &rule.meta.namespace).collect();
        for namespace in namespaces {
            self.replace_destination_rules(namespace);
        }
        both().for_each(|rule| changes.add(Fact::DestinationRules(Hostname::new(&rule.spec.host))));
    }

    /// The DestinationRules made of the Gateway API's objects in a namespace.
    pub(super) fn made_destination_rules<'a>(
        &'a self,
        namespace: &'a str,
    ) -> impl Iterator<Item = &'a Config<api::DestinationRule>> {
        self.state.gateway_api.destination_rules.iter().filter(move |rule| rule.meta.namespace == namespace)
    }

    fn gateway_api_objects(&self) -> Objects<'_> {
        let mut all = Objects::default();
        for kind in Kind::all().map(|(kind, ..)| kind).filter(|kind| kind.is_gateway_api()) {
            for (_, resource) in self.of_kind(kind) {
                let Resource::GatewayApi(object) = resource else { continue };
                match &**object {
                    GatewayApi::Class(object) => all.classes.push(object),
                    GatewayApi::Gateway(object) => all.gateways.push(object),
                    GatewayApi::ListenerSet(object) => all.listener_sets.push(object),
                    GatewayApi::Http(object) => all.http_routes.push(object),
                    GatewayApi::Grpc(object) => all.grpc_routes.push(object),
                    GatewayApi::Tls(object) => all.tls_routes.push(object),
                    GatewayApi::Tcp(object) => all.tcp_routes.push(object),
                    GatewayApi::Grant(object) => all.grants.push(object),
                    GatewayApi::BackendTls(object) => all.backend_policies.push(object),
                }
            }
        }
        all.sort();
        all
    }
}

impl Cluster for Store {
    fn domain(&self) -> &str {
        DOMAIN
    }

    fn namespaces(&self) -> Vec<(&str, &Labels)> {
        let all = self.of_kind(Kind::Namespace).filter_map(|(_, resource)| match resource {
            Resource::Namespace(meta) => Some((meta.name.as_str(), &meta.labels)),
            _ => None,
        });
        all.collect()
    }

    fn has_host(&self, host: &str) -> bool {
        !self.state.services.of_host(&Hostname::new(host)).is_empty()
    }

    fn front(&self, host: &str) -> Option<Front> {
        let host = Hostname::new(host);
        let service = self.state.services.of_host(&host).first()?;
        let endpoints = self.state.endpoints.of_service(&host, service.namespace());
        let mut targets: BTreeMap<u16, BTreeSet<u16>> = BTreeMap::new();
        for port in &service.ports {
            if let TargetPort::Number(target) = port.target {
                targets.entry(target).or_default().insert(port.number);
            }
        }
        let is_ready = |port: &u16| endpoints.is_some_and(|all| !all.of_port(*port).is_empty());
        let ports: BTreeSet<u16> = service.ports.iter().map(|port| port.number).collect();
        Some(Front {
            ready: ports.iter().copied().filter(is_ready).collect(),
            ports,
            targets,
            internal: service.addresses.clone(),
            outside: service.outside.clone(),
            load_balancer: service.load_balancer,
        })
    }

    fn ports(&self, namespace: &str, service: &str) -> Option<BTreeMap<String, u16>> {
        let found = self.get(&Key::new(Kind::Service, namespace, service))?;
        let Resource::Service(service) = found else { return None };
        Some(service.ports.iter().map(|port| (port.name.clone(), port.number)).collect())
    }

    fn entry_hosts(&self, namespace: &str, name: &str) -> Option<Vec<String>> {
        let found = self.get(&Key::new(Kind::ServiceEntry, namespace, name))?;
        let Resource::ServiceEntry(entry) = found else { return None };
        Some(services_of_entry(entry).into_iter().map(|service| service.hostname.to_string()).collect())
    }

    fn secret(&self, namespace: &str, name: &str) -> Option<&Credential> {
        match self.get(&Key::new(Kind::Secret, namespace, name))? {
            Resource::Secret(credential) => Some(credential),
            _ => None,
        }
    }

    fn config_map_roots(&self, namespace: &str, name: &str) -> Option<&[u8]> {
        match self.get(&Key::new(Kind::ConfigMap, namespace, name))? {
            Resource::Roots(roots) => roots.as_deref(),
            _ => None,
        }
    }
}

/// Puts `new` in place of `old` into a list that is kept oldest first.
fn put_all<T: Clone>(list: &mut Vec<Config<T>>, old: &[Config<T>], new: &[Config<T>]) {
    let id = |meta: &Meta| (meta.namespace.clone(), meta.name.clone());
    let gone: BTreeSet<(String, String)> = old.iter().map(|config| id(&config.meta)).collect();
    list.retain(|config| !gone.contains(&id(&config.meta)));
    list.extend(new.iter().cloned());
    list.sort_by(|a, b| a.meta.age_order().cmp(&b.meta.age_order()));
}

/// Puts `new` in place of `old`, touching only those that differ.
fn put_virtual_services(
    all: &mut VirtualServices,
    old: &[Config<api::VirtualService>],
    new: &[Config<api::VirtualService>],
    changes: &mut Changes,
) {
    let key = |meta: &Meta| Key::new(Kind::VirtualService, &meta.namespace, &meta.name);
    let mut gone: BTreeMap<Key, &Config<api::VirtualService>> = old.iter().map(|vs| (key(&vs.meta), vs)).collect();
    for vs in new {
        let key = key(&vs.meta);
        if gone.remove(&key).is_none_or(|before| before != vs) {
            all.replace(&key, Some(vs.clone()), changes);
        }
    }
    gone.keys().for_each(|key| all.replace(key, None, changes));
}
