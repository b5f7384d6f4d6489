use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use lateen_mesh::Hostname;

use super::WILDCARDS;
use crate::resource::{Registry, Service};

/// Services by host, port and namespace.
#[derive(Clone, Debug, Default)]
pub struct ServiceIndex {
    by_host: BTreeMap<Hostname, Vec<Arc<Service>>>,
    by_port: BTreeMap<u16, BTreeSet<Hostname>>,
    by_namespace: BTreeMap<String, BTreeSet<Hostname>>,
}

impl ServiceIndex {
    /// Puts the services of `host` in place of those known before.
    pub(crate) fn replace(&mut self, host: &Hostname, mut services: Vec<Arc<Service>>) {
        for old in self.by_host.remove(host).unwrap_or_default() {
            for port in &old.ports {
                remove(&mut self.by_port, &port.number, host);
            }
            remove(&mut self.by_namespace, old.namespace(), host);
        }
        if services.is_empty() {
            return;
        }
        services.sort_by(|a, b| order(a).cmp(&order(b)));
        let services = united(services);
        for service in &services {
            for port in &service.ports {
                self.by_port.entry(port.number).or_default().insert(host.clone());
            }
            self.by_namespace.entry(service.namespace().to_owned()).or_default().insert(host.clone());
        }
        self.by_host.insert(host.clone(), services);
    }

    /// The services of `host`: a Kubernetes Service first, then by age.
    pub fn of_host(&self, host: &Hostname) -> &[Arc<Service>] {
        self.by_host.get(host).map_or(&[], Vec::as_slice)
    }

    /// All hosts that have a service.
    pub fn hosts(&self) -> impl Iterator<Item = &Hostname> {
        self.by_host.keys()
    }

    /// All services, by host.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Service>> {
        self.by_host.values().flatten()
    }

    /// The hosts among them that are wildcards.
    pub fn wildcards(&self) -> impl Iterator<Item = &Hostname> {
        self.by_host.range::<str, _>(WILDCARDS).map(|(host, _)| host)
    }

    /// Is there a service that has a host in common with `host` and is so.
    pub fn any_matching(&self, host: &Hostname, is_so: impl Fn(&Service) -> bool) -> bool {
        let of = |own: &Hostname| self.of_host(own).iter().any(|service| is_so(service));
        if host.is_wildcard() {
            return self.hosts().any(|own| host.matches(own) && of(own));
        }
        of(host) || self.wildcards().any(|own| own.matches(host) && of(own))
    }

    /// The hosts that have a service with a port of this number.
    pub fn hosts_with_port(&self, port: u16) -> impl Iterator<Item = &Hostname> {
        self.by_port.get(&port).into_iter().flatten()
    }

    /// Services of a namespace.
    pub fn in_namespace<'a>(&'a self, namespace: &'a str) -> impl Iterator<Item = &'a Arc<Service>> {
        let hosts = self.by_namespace.get(namespace).into_iter().flatten();
        hosts.flat_map(|h| self.of_host(h)).filter(move |s| s.namespace() == namespace)
    }
}

fn order(service: &Service) -> (bool, &str, &str, &str) {
    (service.registry != Registry::Kubernetes, &service.created, service.name(), service.namespace())
}

/// Services of one host in order; those that are one become one.
fn united(services: Vec<Arc<Service>>) -> Vec<Arc<Service>> {
    let mut all: Vec<Arc<Service>> = Vec::new();
    for service in services {
        match all.iter_mut().find(|first| first.is_one_with(&service)) {
            Some(first) => Arc::make_mut(first).absorb(&service),
            None => all.push(service),
        }
    }
    all
}

impl FromIterator<Arc<Service>> for ServiceIndex {
    fn from_iter<I: IntoIterator<Item = Arc<Service>>>(services: I) -> Self {
        let mut by_host: BTreeMap<Hostname, Vec<Arc<Service>>> = BTreeMap::new();
        for service in services {
            by_host.entry(service.hostname.clone()).or_default().push(service);
        }
        let mut index = Self::default();
        by_host.into_iter().for_each(|(host, services)| index.replace(&host, services));
        index
    }
}

fn remove<K: Ord + Clone + std::borrow::Borrow<Q>, Q: Ord + ?Sized>(
    index: &mut BTreeMap<K, BTreeSet<Hostname>>,
    key: &Q,
    host: &Hostname,
) {
    if let Some(hosts) = index.get_mut(key) {
        hosts.remove(host);
        if hosts.is_empty() {
            index.remove(key);
        }
    }
}
