use lateen_api::istio::{Location, Resolution as Wanted, ServiceEntry};
use lateen_mesh::{Hostname, Protocol};

use super::istio::Config;
use super::key::{Key, Kind};
use super::service::{Registry, Resolution, Service, ServicePort, TargetPort, traffic, translates_gateway_ports};

/// The services that a ServiceEntry stands for: one for each host.
pub fn services_of_entry(entry: &Config<ServiceEntry>) -> Vec<Service> {
    let spec = &entry.spec;
    let ports: Vec<ServicePort> = spec.ports.iter().filter_map(port).collect();
    let service = |host: &String| Service {
        hostname: Hostname::new(host),
        source: Key::new(Kind::ServiceEntry, &entry.meta.namespace, &entry.meta.name),
        parts: Vec::new(),
        registry: Registry::External,
        ports: ports.clone(),
        addresses: spec.addresses.clone(),
        allocated: allocated(entry, host),
        resolution: resolution(spec),
        external: spec.location != Some(Location::MeshInternal),
        export_to: spec.export_to.clone(),
        selector: spec.workload_selector.as_ref().map(|s| s.labels.clone()).unwrap_or_default(),
        subject_alt_names: spec.subject_alt_names.clone(),
        alias: None,
        publish_not_ready: false,
        translates_gateway_ports: translates_gateway_ports(&entry.meta),
        load_balancer: false,
        outside: Vec::new(),
        traffic: traffic(&entry.meta, ""),
        created: entry.meta.created.clone(),
    };
    spec.hosts.iter().map(service).collect()
}

fn allocated(entry: &Config<ServiceEntry>, host: &str) -> Vec<String> {
    if !entry.spec.addresses.is_empty() {
        return Vec::new();
    }
    let for_host = entry.allocated.iter().filter(|(h, _)| h.is_empty() || h == host);
    for_host.map(|(_, address)| address.clone()).collect()
}

fn resolution(spec: &ServiceEntry) -> Resolution {
    match spec.resolution.unwrap_or(Wanted::None) {
        Wanted::None => Resolution::Passthrough,
        Wanted::Static => Resolution::Endpoints,
        Wanted::Dns => Resolution::Dns,
        Wanted::DnsRoundRobin => Resolution::DnsRoundRobin,
        Wanted::DynamicDns => Resolution::DynamicDns,
    }
}

fn port(port: &lateen_api::istio::ServicePort) -> Option<ServicePort> {
    let number = u16::try_from(port.number).ok()?;
    let target = port.target_port.and_then(|t| u16::try_from(t).ok()).filter(|t| *t != 0).unwrap_or(number);
    let protocol = Protocol::parse(&port.protocol);
    (protocol != Protocol::Udp).then(|| ServicePort {
        number,
        name: port.name.clone(),
        protocol,
        target: TargetPort::Number(target),
    })
}
