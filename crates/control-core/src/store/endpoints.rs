//! Which endpoints a service has, and what changes with them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use lateen_api::istio as api;
use lateen_mesh::{Hostname, Locality, labels};

use super::Store;
use crate::reads::{Changes, Fact};
use crate::resource::{
    Config, EndpointSlice, Key, Kind, Pod, Resolution, Resource, Service, ServicePort, SliceEndpoint, TargetPort,
};
use crate::snapshot::{Endpoint, ServiceEndpoints};

impl Store {
    pub(super) fn update_all_endpoints(&mut self, changes: &mut Changes) {
        let services: Vec<Arc<Service>> = self.state.services.iter().cloned().collect();
        for service in services {
            self.update_endpoints(&service, changes);
        }
    }

    /// Works the endpoints of `service` out anew.
    pub(super) fn update_endpoints(&mut self, service: &Service, changes: &mut Changes) {
        let of_host = self.state.services.of_host(&service.hostname);
        let first = of_host.iter().find(|other| other.namespace() == service.namespace());
        if first.is_some_and(|first| first.source != service.source) {
            // Of several for one host in a namespace the first is meant.
            return;
        }
        let mut by_port: BTreeMap<u16, Vec<Arc<Endpoint>>> = BTreeMap::new();
        for port in &service.ports {
            let mut all = match service.source.kind {
                Kind::ServiceEntry => self.entry_endpoints(service, port),
                _ => self.slice_endpoints(service, port),
            };
            all.sort();
            all.dedup_by(|a, b| (&a.address, a.port) == (&b.address, b.port));
            by_port.insert(port.number, all.into_iter().map(Arc::new).collect());
        }
        let endpoints = ServiceEndpoints { by_port };
        self.set_endpoints(&service.hostname, service.namespace(), Some(Arc::new(endpoints)), changes);
    }

    pub(super) fn set_endpoints(
        &mut self,
        host: &Hostname,
        namespace: &str,
        new: Option<Arc<ServiceEndpoints>>,
        changes: &mut Changes,
    ) {
        let old = self.state.endpoints.of_service(host, namespace).cloned();
        if old == new {
            return;
        }
        Arc::make_mut(&mut self.state.endpoints).replace(host, namespace, new.clone());
        let none = ServiceEndpoints::default();
        let (old, new) = (old.as_deref().unwrap_or(&none), new.as_deref().unwrap_or(&none));
        changes.add(Fact::Endpoints(host.clone()));
        let tls = |e: &ServiceEndpoints| e.by_port.keys().map(|p| (*p, e.all_mesh_tls(*p))).collect::<Vec<_>>();
        if old.accounts() != new.accounts() || tls(old) != tls(new) {
            changes.add(Fact::Accounts(host.clone()));
        }
        for address in old.addresses().symmetric_difference(&new.addresses()) {
            changes.add(Fact::Workload(*address));
        }
    }

    /// The workloads behind a service have other inbound listeners when it changes.
    pub(super) fn note_workloads(&self, host: &Hostname, namespace: &str, changes: &mut Changes) {
        let endpoints = self.state.endpoints.of_service(host, namespace);
        for address in endpoints.iter().flat_map(|e| e.addresses()) {
            changes.add(Fact::Workload(address));
        }
    }

    fn slice_endpoints(&self, service: &Service, port: &ServicePort) -> Vec<Endpoint> {
        let id = (service.namespace().to_owned(), service.name().to_owned());
        let slices = self.slices.get(&id).into_iter().flatten().filter_map(|key| match self.objects.get(key) {
            Some(Resource::EndpointSlice(slice)) => Some(slice),
            _ => None,
        });
        let slices: Vec<&EndpointSlice> = slices.collect();
        let both = has_both_families(&slices);
        let mut all: Vec<Endpoint> =
            slices.iter().flat_map(|slice| self.of_slice(service, slice, port, both)).collect();
        if !service.selector.is_empty() {
            all.extend(self.selected_entries(service, port));
        }
        if let Some(alias) = &service.alias {
            all.push(Endpoint { address: alias.clone(), port: port.number, ..blank(service) });
        }
        all
    }

    fn of_slice(&self, service: &Service, slice: &EndpointSlice, port: &ServicePort, both: bool) -> Vec<Endpoint> {
        let Some((_, number)) = slice.ports.iter().find(|(name, _)| *name == port.name) else {
            return Vec::new();
        };
        let usable = slice.endpoints.iter().filter(|e| e.ready || service.publish_not_ready);
        usable.filter_map(|e| self.of_slice_endpoint(service, e, *number, both)).collect()
    }

    /// An endpoint of a Service with `both` families is its pod with all its addresses, whichever slice it comes from.
    fn of_slice_endpoint(
        &self,
        service: &Service,
        endpoint: &SliceEndpoint,
        port: u16,
        both: bool,
    ) -> Option<Endpoint> {
        let address = endpoint.addresses.first()?;
        let pod = self.pod_behind(endpoint, address);
        if pod.is_none() && endpoint.pod.is_some() && !service.selector.is_empty() {
            // Its pod says whether it takes mesh TLS: until that is known it would be called the wrong way.
            return None;
        }
        let node = pod.map_or(&endpoint.node, |p| &p.node).clone();
        let mut locality = self.locality(pod, &node);
        if locality.zone.is_empty() {
            locality.zone.clone_from(&endpoint.zone);
        }
        let own = pod.filter(|_| both).map_or(&[][..], |pod| &pod.addresses);
        let mut own = own.iter().map(IpAddr::to_string);
        let base = Endpoint {
            address: own.next().unwrap_or_else(|| address.clone()),
            further: own.collect(),
            port,
            locality,
            node,
            hostname: endpoint.hostname.clone(),
            ..blank(service)
        };
        Some(pod.map_or(base.clone(), |pod| Endpoint {
            labels: pod.labels.clone(),
            namespace: pod.namespace.clone(),
            workload: pod.workload.clone(),
            service_account: pod.service_account.clone(),
            mesh_tls: pod.has_mesh_tls(),
            container_ports: pod.container_ports.clone(),
            ..base
        }))
    }

    fn pod_behind(&self, endpoint: &SliceEndpoint, address: &str) -> Option<&Pod> {
        if let Some((namespace, name)) = &endpoint.pod
            && let Some(Resource::Pod(pod)) = self.objects.get(&Key::new(Kind::Pod, namespace, name))
        {
            return Some(pod);
        }
        let address: IpAddr = address.parse().ok()?;
        self.state.pods.get(&address).map(|pod| &**pod)
    }

    fn locality(&self, pod: Option<&Pod>, node: &str) -> Locality {
        let own = pod.and_then(|pod| pod.locality.clone());
        own.or_else(|| self.state.nodes.get(node).cloned()).unwrap_or_default()
    }

    fn entry_endpoints(&self, service: &Service, port: &ServicePort) -> Vec<Endpoint> {
        if !service.selector.is_empty() {
            let mut all = self.selected_pods(service, port);
            all.extend(self.selected_entries(service, port));
            return all;
        }
        let entries = service.sources().filter_map(|source| match self.objects.get(source) {
            Some(Resource::ServiceEntry(entry)) => Some(entry),
            _ => None,
        });
        let has_port = |entry: &&Config<api::ServiceEntry>| {
            entry.spec.ports.iter().any(|own| own.number == u32::from(port.number))
        };
        let listed = entries.filter(has_port).flat_map(|entry| &entry.spec.endpoints);
        let mut all: Vec<Endpoint> =
            listed.map(|endpoint| of_entry(service, port, endpoint, service.namespace(), "")).collect();
        let by_name =
            matches!(service.resolution, Resolution::Dns | Resolution::DnsRoundRobin | Resolution::DynamicDns);
        if all.is_empty() && by_name && !service.hostname.is_wildcard() {
            let number = target_number(port).unwrap_or(port.number);
            all.push(Endpoint { address: service.hostname.to_string(), port: number, ..blank(service) });
        }
        all
    }

    fn selected_pods(&self, service: &Service, port: &ServicePort) -> Vec<Endpoint> {
        let pods = self.in_namespace(Kind::Pod, service.namespace()).filter_map(|r| match r {
            Resource::Pod(pod) if labels::contains_all(&pod.labels, &service.selector) => Some(pod),
            _ => None,
        });
        pods.filter_map(|pod| {
            Some(Endpoint {
                address: pod.addresses.first()?.to_string(),
                further: pod.addresses.iter().skip(1).map(IpAddr::to_string).collect(),
                port: target_number(port)?,
                labels: pod.labels.clone(),
                namespace: pod.namespace.clone(),
                workload: pod.workload.clone(),
                service_account: pod.service_account.clone(),
                locality: self.locality(Some(pod), &pod.node),
                node: pod.node.clone(),
                weight: 0,
                mesh_tls: pod.has_mesh_tls(),
                hostname: String::new(),
                container_ports: pod.container_ports.clone(),
            })
        })
        .collect()
    }

    fn selected_entries(&self, service: &Service, port: &ServicePort) -> Vec<Endpoint> {
        let entries = self.in_namespace(Kind::WorkloadEntry, service.namespace()).filter_map(|r| match r {
            Resource::WorkloadEntry(entry) if labels::contains_all(&entry.spec.labels, &service.selector) => {
                Some(entry)
            }
            _ => None,
        });
        entries
            .map(|e: &Config<api::WorkloadEntry>| of_entry(service, port, &e.spec, &e.meta.namespace, &e.meta.name))
            .collect()
    }
}

fn of_entry(
    service: &Service,
    port: &ServicePort,
    entry: &api::WorkloadEntry,
    namespace: &str,
    workload: &str,
) -> Endpoint {
    let named = entry.ports.get(&port.name).and_then(|p| u16::try_from(*p).ok());
    let tls_label = entry.labels.get("security.istio.io/tlsMode").map(String::as_str);
    Endpoint {
        address: entry.address.clone(),
        further: Vec::new(),
        port: named.or_else(|| target_number(port)).unwrap_or(port.number),
        labels: entry.labels.clone(),
        namespace: namespace.to_owned(),
        workload: workload.to_owned(),
        service_account: entry.service_account.clone(),
        locality: Locality::parse(&entry.locality),
        node: String::new(),
        weight: entry.weight.unwrap_or(0),
        // A workload with an identity of the mesh has a sidecar unless its labels say otherwise.
        mesh_tls: match tls_label {
            Some(mode) => mode == "istio",
            None => !service.external && !entry.service_account.is_empty(),
        },
        hostname: String::new(),
        container_ports: BTreeSet::new(),
    }
}

fn has_both_families(slices: &[&EndpointSlice]) -> bool {
    let addresses = || slices.iter().flat_map(|slice| &slice.endpoints).flat_map(|endpoint| &endpoint.addresses);
    let has = |six: bool| addresses().any(|a| a.parse::<IpAddr>().is_ok_and(|address| address.is_ipv6() == six));
    has(false) && has(true)
}

fn target_number(port: &ServicePort) -> Option<u16> {
    match &port.target {
        TargetPort::Number(number) => Some(*number),
        TargetPort::Name(_) => None,
    }
}

fn blank(service: &Service) -> Endpoint {
    Endpoint {
        address: String::new(),
        further: Vec::new(),
        port: 0,
        labels: BTreeMap::new(),
        namespace: service.namespace().to_owned(),
        workload: String::new(),
        service_account: String::new(),
        locality: Locality::default(),
        node: String::new(),
        weight: 0,
        mesh_tls: false,
        hostname: String::new(),
        container_ports: BTreeSet::new(),
    }
}
