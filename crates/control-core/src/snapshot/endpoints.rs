use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use lateen_mesh::{Hostname, Locality};

/// One address and port behind a service.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Endpoint {
    /// Address, host name or `unix://` path.
    pub address: String,
    /// Further addresses of the same pod, in a cluster with both address families.
    pub further: Vec<String>,
    /// Port there.
    pub port: u16,
    /// Labels of the workload.
    pub labels: BTreeMap<String, String>,
    /// Namespace of the workload.
    pub namespace: String,
    /// Name of the workload.
    pub workload: String,
    /// Service account of the workload; empty if unknown.
    pub service_account: String,
    /// Where it is.
    pub locality: Locality,
    /// Node it runs on; empty if unknown.
    pub node: String,
    /// Share of the traffic relative to others, 0 for the default.
    pub weight: u32,
    /// Accepts mesh TLS.
    pub mesh_tls: bool,
    /// Host name of its own, under a headless service.
    pub hostname: String,
    /// Ports that the containers of its pod declare.
    pub container_ports: BTreeSet<u16>,
}

impl Endpoint {
    /// All its addresses, the preferred one first.
    pub fn addresses(&self) -> impl Iterator<Item = &String> {
        std::iter::once(&self.address).chain(&self.further)
    }
}

/// Endpoints of one service, by service port.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServiceEndpoints {
    /// Endpoints by service port, in stable order.
    pub by_port: BTreeMap<u16, Vec<Arc<Endpoint>>>,
}

impl ServiceEndpoints {
    /// Endpoints of a port.
    pub fn of_port(&self, port: u16) -> &[Arc<Endpoint>] {
        self.by_port.get(&port).map_or(&[], Vec::as_slice)
    }

    /// Namespaces and service accounts behind the service.
    pub fn accounts(&self) -> BTreeSet<(&str, &str)> {
        let all = self.by_port.values().flatten().filter(|e| !e.service_account.is_empty());
        all.map(|e| (e.namespace.as_str(), e.service_account.as_str())).collect()
    }

    /// Do all endpoints accept mesh TLS, and is there one.
    pub fn all_mesh_tls(&self, port: u16) -> bool {
        let endpoints = self.of_port(port);
        !endpoints.is_empty() && endpoints.iter().all(|e| e.mesh_tls)
    }

    /// Addresses of all endpoints.
    pub fn addresses(&self) -> BTreeSet<IpAddr> {
        let all = self.by_port.values().flatten().flat_map(|e| e.addresses());
        all.filter_map(|address| address.parse().ok()).collect()
    }
}

/// Host and namespace of a service.
type ServiceId = (Hostname, String);

/// Endpoints by service, and services by the addresses of their endpoints.
#[derive(Clone, Debug, Default)]
pub struct EndpointIndex {
    by_service: BTreeMap<ServiceId, Arc<ServiceEndpoints>>,
    by_address: BTreeMap<IpAddr, BTreeSet<ServiceId>>,
}

impl EndpointIndex {
    /// Endpoints of a service.
    pub fn of_service(&self, host: &Hostname, namespace: &str) -> Option<&Arc<ServiceEndpoints>> {
        self.by_service.get(&(host.clone(), namespace.to_owned()))
    }

    /// Host and namespace of the services that have an endpoint at `address`.
    pub fn at_address(&self, address: IpAddr) -> impl Iterator<Item = &(Hostname, String)> {
        self.by_address.get(&address).into_iter().flatten()
    }

    /// Puts the endpoints of a service in place of those known before; answers those.
    pub(crate) fn replace(
        &mut self,
        host: &Hostname,
        namespace: &str,
        endpoints: Option<Arc<ServiceEndpoints>>,
    ) -> Option<Arc<ServiceEndpoints>> {
        let id = (host.clone(), namespace.to_owned());
        let old = self.by_service.remove(&id);
        for address in old.iter().flat_map(|e| e.addresses()) {
            if let Some(ids) = self.by_address.get_mut(&address) {
                ids.remove(&id);
                if ids.is_empty() {
                    self.by_address.remove(&address);
                }
            }
        }
        if let Some(new) = endpoints {
            for address in new.addresses() {
                self.by_address.entry(address).or_default().insert(id.clone());
            }
            self.by_service.insert(id, new);
        }
        old
    }
}
