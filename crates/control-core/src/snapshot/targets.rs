use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use lateen_mesh::labels;

use super::{Endpoint, Snapshot};
use crate::resource::{Pod, Service, ServicePort, TargetPort};

/// A port of a workload that a service port leads to.
#[derive(Clone, Debug)]
pub struct ServiceTarget {
    /// The service.
    pub service: Arc<Service>,
    /// Its port.
    pub port: ServicePort,
    /// Port of the workload.
    pub target_port: u16,
}

impl Snapshot {
    /// The service ports that lead to the workload at one of `addresses`, oldest service first. Services that select
    /// the workload count even before its endpoints are ready.
    pub fn service_targets(&self, addresses: &[IpAddr]) -> Vec<ServiceTarget> {
        let mut found: BTreeMap<_, ServiceTarget> = BTreeMap::new();
        for address in addresses {
            let selected = self.pods.get(address).map(|pod| self.selecting_targets(pod)).unwrap_or_default();
            for target in selected.into_iter().chain(self.endpoint_targets(*address)) {
                let service = &target.service;
                let key = (
                    service.created.clone(),
                    service.namespace().to_owned(),
                    service.hostname.clone(),
                    target.port.number,
                    target.target_port,
                );
                found.entry(key).or_insert(target);
            }
        }
        found.into_values().collect()
    }

    fn selecting_targets(&self, pod: &Pod) -> Vec<ServiceTarget> {
        let services = self.services.in_namespace(&pod.namespace);
        let selecting = services.filter(|s| labels::selects(&s.selector, &pod.labels));
        selecting
            .flat_map(|service| {
                service.ports.iter().filter_map(|port| {
                    let target_port = match &port.target {
                        TargetPort::Number(number) => *number,
                        TargetPort::Name(name) => *pod.ports.get(name)?,
                    };
                    Some(ServiceTarget { service: service.clone(), port: port.clone(), target_port })
                })
            })
            .collect()
    }

    fn endpoint_targets(&self, address: IpAddr) -> Vec<ServiceTarget> {
        let mut targets = Vec::new();
        for (host, namespace) in self.endpoints.at_address(address) {
            let service = self.services.of_host(host).iter().find(|s| s.namespace() == namespace);
            let (Some(service), Some(endpoints)) = (service, self.endpoints.of_service(host, namespace)) else {
                continue;
            };
            for port in &service.ports {
                let is_here = |e: &&Arc<Endpoint>| e.addresses().any(|a| a.parse() == Ok(address));
                let here = endpoints.of_port(port.number).iter().filter(is_here);
                targets.extend(here.map(|e| ServiceTarget {
                    service: service.clone(),
                    port: port.clone(),
                    target_port: e.port,
                }));
            }
        }
        targets
    }
}
