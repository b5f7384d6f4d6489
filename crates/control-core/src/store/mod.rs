//! The set of known objects and what each event changes.

mod endpoints;
mod gateway_api;
mod ingress;
#[cfg(test)]
mod tests;
mod virtual_services;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use lateen_mesh::Hostname;
use serde_json::Value;

use crate::keys::KeySource;
use crate::reads::{Changes, Fact};
use crate::resource::{self, Config, Key, Kind, MeshConfig, ParseError, Pod, Resource, Service, services_of_entry};
use crate::snapshot::{Declared, Snapshot};

/// One event of a watch.
#[derive(Clone, Debug)]
pub enum Event {
    /// The object is there, with this content.
    Apply(Value),
    /// The object is gone.
    Delete(Key),
    /// Keys were fetched; `None` when nobody wants them any more.
    Keys(KeySource, Option<Arc<str>>),
}

/// Every object that is known, and the state that follows from them.
#[derive(Debug, Default)]
pub struct Store {
    objects: BTreeMap<Key, Resource>,
    refused: BTreeMap<Key, String>,
    /// Slices by the namespace and name of their service.
    slices: BTreeMap<(String, String), BTreeSet<Key>>,
    /// Gateways and VirtualServices that are made of Ingresses.
    of_ingresses: BTreeSet<Key>,
    /// What the Gateway API's objects become has still to be worked out.
    unsettled: bool,
    state: Snapshot,
}

impl Store {
    /// A store that knows nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes one event in and says what it changed. An object that cannot be read keeps its last good state; kinds
    /// that are not read change nothing. What follows from many objects together is left for [`Self::settle`].
    pub fn apply(&mut self, event: Event) -> Changes {
        let mut changes = Changes::default();
        match event {
            Event::Apply(object) => {
                let generation = object.pointer("/metadata/generation").and_then(Value::as_i64).unwrap_or_default();
                self.read(resource::parse(object), generation, &mut changes);
            }
            Event::Delete(key) => {
                self.refused.remove(&key);
                self.declare(&key, None, &mut changes);
                if let Some(old) = self.objects.remove(&key) {
                    self.update(&key, Some(old), &mut changes);
                }
            }
            Event::Keys(source, keys) => {
                if self.state.key_sets.get(&source) != keys.as_ref() {
                    let all = Arc::make_mut(&mut self.state.key_sets);
                    match keys {
                        Some(keys) => drop(all.insert(source.clone(), keys)),
                        None => drop(all.remove(&source)),
                    }
                    changes.add(Fact::Keys(source));
                }
            }
        }
        changes
    }

    /// Takes in what was read of an object.
    fn read(&mut self, parsed: Result<(Key, Resource), ParseError>, generation: i64, changes: &mut Changes) {
        match parsed {
            Ok((key, parsed)) => {
                self.refused.remove(&key);
                self.declare(&key, Some(Declared { generation, refused: None }), changes);
                if self.objects.get(&key) != Some(&parsed) {
                    let old = self.objects.insert(key.clone(), parsed);
                    self.update(&key, old, changes);
                }
            }
            Err(ParseError::Malformed { key, reason }) => {
                self.refused.insert(key.clone(), reason.clone());
                self.declare(&key, Some(Declared { generation, refused: Some(reason.clone()) }), changes);
                changes.refused.push((key, reason));
            }
            Err(ParseError::UnknownKind { .. }) => {}
        }
    }

    /// Notes that an Istio object is there, or is gone.
    fn declare(&mut self, key: &Key, now: Option<Declared>, changes: &mut Changes) {
        if !key.kind.is_istio() || self.state.declared.get(key) == now.as_ref() {
            return;
        }
        let all = Arc::make_mut(&mut self.state.declared);
        match now {
            Some(now) => drop(all.insert(key.clone(), now)),
            None => drop(all.remove(key)),
        }
        changes.add(Fact::Declared);
    }

    /// The state as of the last [`Self::settle`]. Cheap; indexes are shared with later snapshots until they change.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        Arc::new(self.state.clone())
    }

    /// Objects that could not be read, and why.
    pub fn refused(&self) -> &BTreeMap<Key, String> {
        &self.refused
    }

    /// The object of a key, as parsed.
    pub fn get(&self, key: &Key) -> Option<&Resource> {
        self.objects.get(key)
    }

    fn update(&mut self, key: &Key, old: Option<Resource>, changes: &mut Changes) {
        self.update_kind(key, old, changes);
        self.note_gateway_api(key.kind, changes);
    }

    fn update_kind(&mut self, key: &Key, old: Option<Resource>, changes: &mut Changes) {
        match key.kind {
            Kind::Service | Kind::ServiceEntry => self.update_services(key, old, changes),
            Kind::EndpointSlice => self.update_slice(key, old, changes),
            Kind::Pod => self.update_pod(key, old, changes),
            Kind::WorkloadEntry => self.update_workload_entry(key, old, changes),
            Kind::Node => self.update_node(key, changes),
            Kind::Namespace => {}
            Kind::ConfigMap if key.is_mesh_config() => self.update_mesh(key, changes),
            Kind::ConfigMap => self.update_roots_of(key, changes),
            Kind::VirtualService => self.update_virtual_service(key, old.as_ref(), changes),
            Kind::Gateway => {
                let new = self.objects.get(key).and_then(Resource::gateway).cloned();
                replace_by_age(Arc::make_mut(&mut self.state.gateways), key, new);
                changes.add(Fact::Gateways);
            }
            Kind::DestinationRule => self.update_destination_rules(key, old, changes),
            Kind::Sidecar => {
                let all = self.configs(key, Resource::sidecar);
                Arc::make_mut(&mut self.state.sidecars).replace(&key.namespace, all);
                changes.add(Fact::Sidecars);
            }
            Kind::PeerAuthentication => {
                let all = self.configs(key, Resource::peer_authentication);
                Arc::make_mut(&mut self.state.peer_authentications).replace(&key.namespace, all);
                changes.add(Fact::PeerAuthentications);
            }
            Kind::AuthorizationPolicy => {
                let all = self.configs(key, Resource::authorization_policy);
                Arc::make_mut(&mut self.state.authorization_policies).replace(&key.namespace, all);
                changes.add(Fact::AuthorizationPolicies);
            }
            Kind::Secret => self.update_credential(key, old.as_ref(), changes),
            Kind::RequestAuthentication => {
                let all = self.configs(key, Resource::request_authentication);
                Arc::make_mut(&mut self.state.request_authentications).replace(&key.namespace, all);
                changes.add(Fact::RequestAuthentications);
            }
            Kind::Ingress | Kind::IngressClass => self.update_ingresses(changes),
            // All of them together: see `settle`.
            _ => {}
        }
    }

    fn update_node(&mut self, key: &Key, changes: &mut Changes) {
        let nodes = Arc::make_mut(&mut self.state.nodes);
        match self.objects.get(key) {
            Some(Resource::Node(node)) => nodes.insert(key.name.clone(), node.locality.clone()),
            _ => nodes.remove(&key.name),
        };
        self.update_all_endpoints(changes);
    }

    /// All objects of a kind.
    fn of_kind(&self, kind: Kind) -> impl Iterator<Item = (&Key, &Resource)> {
        self.objects.range(Key::new(kind, "", "")..).take_while(move |(k, _)| k.kind == kind)
    }

    /// All objects of a kind in a namespace.
    fn in_namespace<'a>(&'a self, kind: Kind, namespace: &'a str) -> impl Iterator<Item = &'a Resource> {
        let from = Key::new(kind, namespace, "");
        self.objects.range(from..).take_while(move |(k, _)| k.kind == kind && k.namespace == namespace).map(|(_, r)| r)
    }

    /// All Istio objects of the kind and namespace of `key`, oldest first.
    fn configs<T>(&self, key: &Key, pick: impl Fn(&Resource) -> Option<&Config<T>>) -> Vec<Config<T>>
    where
        Config<T>: Clone,
    {
        let mut all: Vec<Config<T>> =
            self.in_namespace(key.kind, &key.namespace).filter_map(|r| pick(r).cloned()).collect();
        all.sort_by(|a, b| a.meta.age_order().cmp(&b.meta.age_order()));
        all
    }

    fn update_mesh(&mut self, key: &Key, changes: &mut Changes) {
        self.state.mesh = Arc::new(match self.objects.get(key) {
            Some(Resource::MeshConfig(mesh)) => (**mesh).clone(),
            _ => MeshConfig::default(),
        });
        self.update_roots(changes);
        self.update_ingresses(changes);
        changes.add(Fact::Mesh);
    }

    fn update_credential(&mut self, key: &Key, old: Option<&Resource>, changes: &mut Changes) {
        let held = |r: Option<&Resource>| match r {
            Some(Resource::Secret(credential)) if !credential.is_empty() => Some(credential.clone()),
            _ => None,
        };
        let (old, new) = (held(old), held(self.objects.get(key)));
        if old == new {
            return;
        }
        let id = (key.namespace.clone(), key.name.clone());
        let credentials = Arc::make_mut(&mut self.state.credentials);
        match new {
            Some(new) => drop(credentials.insert(id.clone(), new)),
            None => drop(credentials.remove(&id)),
        }
        changes.add(Fact::Secret(id.0, id.1));
    }

    fn update_destination_rules(&mut self, key: &Key, old: Option<Resource>, changes: &mut Changes) {
        self.replace_destination_rules(&key.namespace);
        for rule in old.iter().chain(self.objects.get(key)) {
            let Resource::DestinationRule(rule) = rule else {
                continue;
            };
            let pattern = Hostname::resolve(&rule.spec.host, &rule.meta.namespace, "cluster.local");
            for host in self.state.services.hosts().filter(|h| pattern.covers(h)) {
                changes.add(Fact::DestinationRules(host.clone()));
            }
            changes.add(Fact::DestinationRules(pattern));
        }
    }

    fn replace_destination_rules(&mut self, namespace: &str) {
        let key = Key::new(Kind::DestinationRule, namespace, "");
        let mut all = self.configs(&key, Resource::destination_rule);
        all.extend(self.made_destination_rules(namespace).cloned());
        Arc::make_mut(&mut self.state.destination_rules).replace(namespace, all);
    }

    fn update_roots_of(&mut self, key: &Key, changes: &mut Changes) {
        let id = (key.namespace.clone(), key.name.clone());
        let all = Arc::make_mut(&mut self.state.roots);
        match self.objects.get(key) {
            Some(Resource::Roots(Some(pem))) => drop(all.insert(id.clone(), pem.clone())),
            _ => drop(all.remove(&id)),
        }
        changes.add(Fact::Roots(id.0, id.1));
    }

    fn update_services(&mut self, key: &Key, old: Option<Resource>, changes: &mut Changes) {
        let hosts: BTreeSet<Hostname> =
            old.iter().chain(self.objects.get(key)).flat_map(services_of).map(|s| s.hostname).collect();
        let gone = !self.objects.contains_key(key);
        for host in hosts {
            let services = self.services_with_host(&host);
            Arc::make_mut(&mut self.state.services).replace(&host, services);
            let services = self.state.services.of_host(&host).to_vec();
            changes.add(Fact::Service(host.clone()));
            self.note_workloads(&host, &key.namespace, changes);
            if gone {
                self.set_endpoints(&host, &key.namespace, None, changes);
            }
            for service in services {
                self.update_endpoints(&service, changes);
            }
            self.note_workloads(&host, &key.namespace, changes);
        }
        if key.kind == Kind::Service && !self.of_ingresses.is_empty() {
            // An Ingress may name its port.
            self.update_ingresses(changes);
        }
        self.note_selected_pods(key, old.as_ref(), changes);
        changes.add(Fact::Services);
    }

    fn services_with_host(&self, host: &Hostname) -> Vec<Arc<Service>> {
        let own = host.as_str().strip_suffix(".svc.cluster.local").and_then(|h| h.rsplit_once('.'));
        let own = own.and_then(|(name, namespace)| self.objects.get(&Key::new(Kind::Service, namespace, name)));
        let entries = self.of_kind(Kind::ServiceEntry).map(|(_, r)| r);
        own.into_iter().chain(entries).flat_map(|r| services_with(r, host)).map(Arc::new).collect()
    }

    /// The workloads that a service selects have other inbound listeners when it changes.
    fn note_selected_pods(&self, key: &Key, old: Option<&Resource>, changes: &mut Changes) {
        for service in old.into_iter().chain(self.objects.get(key)).flat_map(services_of) {
            for pod in self.in_namespace(Kind::Pod, &key.namespace) {
                let Resource::Pod(pod) = pod else { continue };
                if lateen_mesh::labels::selects(&service.selector, &pod.labels) {
                    pod.addresses.iter().for_each(|a| changes.add(Fact::Workload(*a)));
                }
            }
        }
    }

    fn update_slice(&mut self, key: &Key, old: Option<Resource>, changes: &mut Changes) {
        let service_of = |r: &Resource| match r {
            Resource::EndpointSlice(s) => Some((s.namespace.clone(), s.service.clone())),
            _ => None,
        };
        let mut touched = BTreeSet::new();
        if let Some(id) = old.as_ref().and_then(service_of) {
            if let Some(keys) = self.slices.get_mut(&id) {
                keys.remove(key);
            }
            touched.insert(id);
        }
        if let Some(id) = self.objects.get(key).and_then(service_of) {
            self.slices.entry(id.clone()).or_default().insert(key.clone());
            touched.insert(id);
        }
        self.slices.retain(|_, keys| !keys.is_empty());
        for (namespace, name) in touched {
            if let Some(Resource::Service(service)) = self.objects.get(&Key::new(Kind::Service, &namespace, &name)) {
                let service = Arc::new(service.clone());
                self.update_endpoints(&service, changes);
            }
        }
    }

    fn update_pod(&mut self, key: &Key, old: Option<Resource>, changes: &mut Changes) {
        let pod_of = |r: Option<&Resource>| match r {
            Some(Resource::Pod(pod)) => Some(pod.clone()),
            _ => None,
        };
        let (old, new) = (pod_of(old.as_ref()), pod_of(self.objects.get(key)));
        self.index_pod(old.as_ref(), new.as_ref());
        for pod in old.iter().chain(&new) {
            pod.addresses.iter().for_each(|a| changes.add(Fact::Workload(*a)));
        }
        let selects = |s: &Service, pod: &Option<Pod>| {
            pod.as_ref().is_some_and(|p| lateen_mesh::labels::contains_all(&p.labels, &s.selector))
        };
        let services: Vec<Arc<Service>> = self.state.services.in_namespace(&key.namespace).cloned().collect();
        for service in services.iter().filter(|s| selects(s, &old) || selects(s, &new)) {
            self.update_endpoints(service, changes);
        }
    }

    fn index_pod(&mut self, old: Option<&Pod>, new: Option<&Pod>) {
        let pods = Arc::make_mut(&mut self.state.pods);
        for address in old.iter().flat_map(|p| &p.addresses) {
            let same =
                pods.get(address).is_some_and(|p| old.is_some_and(|o| p.name == o.name && p.namespace == o.namespace));
            if same {
                pods.remove(address);
            }
        }
        if let Some(pod) = new.filter(|p| !p.host_network) {
            let shared = Arc::new(pod.clone());
            for address in &pod.addresses {
                pods.insert(*address, shared.clone());
            }
        }
    }

    fn update_workload_entry(&mut self, key: &Key, old: Option<Resource>, changes: &mut Changes) {
        let labels: Vec<BTreeMap<String, String>> = old
            .iter()
            .chain(self.objects.get(key))
            .filter_map(|r| match r {
                Resource::WorkloadEntry(entry) => Some(entry.spec.labels.clone()),
                _ => None,
            })
            .collect();
        let services: Vec<Arc<Service>> = self.state.services.in_namespace(&key.namespace).cloned().collect();
        for service in &services {
            if labels.iter().any(|l| lateen_mesh::labels::selects(&service.selector, l)) {
                self.update_endpoints(service, changes);
            }
        }
    }
}

/// Puts an object into a list that is kept oldest first, in place of the one of the same name.
fn replace_by_age<T>(list: &mut Vec<Config<T>>, key: &Key, new: Option<Config<T>>) {
    list.retain(|c| c.meta.name != key.name || c.meta.namespace != key.namespace);
    if let Some(new) = new {
        let at = list.partition_point(|c| c.meta.age_order() < new.meta.age_order());
        list.insert(at, new);
    }
}

fn services_of(resource: &Resource) -> Vec<Service> {
    match resource {
        Resource::Service(service) => vec![service.clone()],
        Resource::ServiceEntry(entry) => services_of_entry(entry),
        _ => Vec::new(),
    }
}

/// The services of `resource` that have this host, without building the others.
fn services_with(resource: &Resource, host: &Hostname) -> Vec<Service> {
    match resource {
        Resource::Service(service) if service.hostname == *host => vec![service.clone()],
        Resource::ServiceEntry(entry) if entry.spec.hosts.iter().any(|h| h.eq_ignore_ascii_case(host.as_str())) => {
            services_of_entry(entry).into_iter().filter(|s| s.hostname == *host).take(1).collect()
        }
        _ => Vec::new(),
    }
}
