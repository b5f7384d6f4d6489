//! The name table for proxies that answer DNS (NDS).

use std::collections::BTreeMap;

use lateen_api::nds::{NameTable, name_table::NameInfo};
use lateen_mesh::Cidr;

use super::scope::Scope;
use crate::reads::{Fact, ReadSet};
use crate::resource::{Registry, Service};
use crate::snapshot::Snapshot;
use crate::view::ProxyView;

/// Names in reach of a proxy and what they resolve to.
pub fn name_table(view: &ProxyView, snapshot: &Snapshot, reads: &mut ReadSet) -> NameTable {
    reads.read(Fact::Services);
    let scope = Scope::new(view, snapshot, reads);
    let mut table = BTreeMap::new();
    for service in scope.services() {
        let addresses = addresses(&service, &scope, reads);
        if addresses.is_empty() {
            continue;
        }
        if service.is_headless() {
            own_names(&service, &scope, &mut table);
        }
        table.insert(service.hostname.to_string(), info(&service, addresses));
    }
    NameTable { table }
}

fn addresses(service: &Service, scope: &Scope<'_>, reads: &mut ReadSet) -> Vec<String> {
    if service.is_headless() {
        reads.read(Fact::Endpoints(service.hostname.clone()));
        let endpoints = scope.snapshot.endpoints.of_service(&service.hostname, service.namespace());
        return endpoints.map(|e| e.addresses().iter().map(ToString::to_string).collect()).unwrap_or_default();
    }
    let allocated = scope.view.dns_auto_allocate;
    let all = service.addresses.iter().chain(service.allocated.iter().filter(|_| allocated));
    all.filter_map(|a| Cidr::parse(a).ok()).filter(Cidr::is_single).map(|c| c.address().to_string()).collect()
}

/// Endpoints of a headless service that have a host name, as those of a StatefulSet do, are names of their own.
fn own_names(service: &Service, scope: &Scope<'_>, table: &mut BTreeMap<String, NameInfo>) {
    let endpoints = scope.snapshot.endpoints.of_service(&service.hostname, service.namespace());
    for endpoint in endpoints.iter().flat_map(|e| e.by_port.values().flatten()).filter(|e| !e.hostname.is_empty()) {
        let name = format!("{}.{}", endpoint.hostname, service.hostname);
        let entry = table.entry(name).or_insert_with(|| NameInfo {
            registry: "Kubernetes".into(),
            shortname: format!("{}.{}", endpoint.hostname, service.name()),
            namespace: service.namespace().to_owned(),
            ..Default::default()
        });
        for address in endpoint.addresses() {
            if !entry.ips.contains(address) {
                entry.ips.push(address.clone());
            }
        }
    }
}

fn info(service: &Service, ips: Vec<String>) -> NameInfo {
    match service.registry {
        Registry::Kubernetes => NameInfo {
            ips,
            registry: "Kubernetes".into(),
            shortname: service.name().to_owned(),
            namespace: service.namespace().to_owned(),
            alt_hosts: Vec::new(),
        },
        Registry::External => NameInfo { ips, registry: "External".into(), ..Default::default() },
    }
}
