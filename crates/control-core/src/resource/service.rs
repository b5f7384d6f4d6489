use std::collections::BTreeMap;

use lateen_mesh::{Hostname, Protocol};
use serde_json::Value;

use super::key::{Key, Kind};
use super::metadata::{Meta, string_map};

/// Label of a Service whose port numbers Gateways don't use.
const KEEPS_GATEWAY_PORTS: &str = "experimental.istio.io/disable-gateway-port-translation";
/// Annotation that says which namespaces see a Service.
const EXPORT_TO: &str = "networking.istio.io/exportTo";

/// Annotation that says which endpoints callers prefer.
const TRAFFIC_DISTRIBUTION: &str = "networking.istio.io/traffic-distribution";

/// A service that clients call by name, from Kubernetes or from a ServiceEntry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Fully qualified name.
    pub hostname: Hostname,
    /// The object it comes from.
    pub source: Key,
    /// Further ServiceEntries that add ports and endpoints to it.
    pub parts: Vec<Key>,
    /// Kubernetes or external.
    pub registry: Registry,
    /// Ports that the mesh proxies; UDP is left out.
    pub ports: Vec<ServicePort>,
    /// Virtual addresses or ranges; empty when there are none.
    pub addresses: Vec<String>,
    /// Addresses that the control plane allocated; used by proxies that capture DNS.
    pub allocated: Vec<String>,
    /// How endpoints are found.
    pub resolution: Resolution,
    /// Outside of the mesh.
    pub external: bool,
    /// Namespaces that see it; empty means the mesh's default.
    pub export_to: Vec<String>,
    /// Labels of the pods behind it.
    pub selector: BTreeMap<String, String>,
    /// Names that its certificates must have one of.
    pub subject_alt_names: Vec<String>,
    /// Name it is an alias of (`ExternalName`).
    pub alias: Option<String>,
    /// Endpoints may be used before they are ready.
    pub publish_not_ready: bool,
    /// Does its port stand for the pods' port in Gateways that its pods serve.
    pub translates_gateway_ports: bool,
    /// Is it to get an address outside of the cluster.
    pub load_balancer: bool,
    /// Addresses by which it is reached from outside.
    pub outside: Vec<String>,
    /// Which endpoints callers prefer.
    pub traffic: TrafficDistribution,
    /// RFC 3339 time of creation.
    pub created: String,
}

/// Which endpoints callers of a service prefer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TrafficDistribution {
    /// None.
    #[default]
    Any,
    /// Those in the same zone.
    SameZone,
    /// Those on the same node, then those in the same zone.
    SameNode,
}

/// Where a service is known from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Registry {
    /// A Kubernetes Service.
    Kubernetes,
    /// A ServiceEntry.
    External,
}

/// How endpoints of a service are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resolution {
    /// The control plane sends them.
    Endpoints,
    /// The address that the client asked for.
    Passthrough,
    /// The proxy resolves names and uses all answers.
    Dns,
    /// The proxy resolves names and uses the first answer.
    DnsRoundRobin,
    /// The proxy resolves the name of each request.
    DynamicDns,
}

/// A port of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServicePort {
    /// Number that clients use.
    pub number: u16,
    /// Name; may be empty when it is the only one.
    pub name: String,
    /// What is spoken.
    pub protocol: Protocol,
    /// Port on the endpoints.
    pub target: TargetPort,
}

/// Port on the endpoints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TargetPort {
    /// By number.
    Number(u16),
    /// By the name of a container port.
    Name(String),
}

impl Service {
    /// Namespace of its object.
    pub fn namespace(&self) -> &str {
        &self.source.namespace
    }

    /// Name of its object.
    pub fn name(&self) -> &str {
        &self.source.name
    }

    /// The objects that it comes from.
    pub fn sources(&self) -> impl Iterator<Item = &Key> {
        std::iter::once(&self.source).chain(&self.parts)
    }

    /// Are `self` and `other`, which have one host, one service with the ports of both. As in Istio they are when all
    /// but the ports is the same.
    pub fn is_one_with(&self, other: &Self) -> bool {
        self.namespace() == other.namespace()
            && self.registry == other.registry
            && self.resolution == other.resolution
            && self.export_to == other.export_to
            && self.selector == other.selector
    }

    /// Takes the ports of `other` that it hasn't.
    pub fn absorb(&mut self, other: &Self) {
        let new: Vec<ServicePort> = other.ports.iter().filter(|p| self.port(p.number).is_none()).cloned().collect();
        self.ports.extend(new);
        self.parts.extend(other.sources().cloned());
    }

    /// Has it no virtual address, so that clients connect to its endpoints directly.
    pub fn is_headless(&self) -> bool {
        self.registry == Registry::Kubernetes && self.resolution == Resolution::Passthrough
    }

    /// The port of a number.
    pub fn port(&self, number: u16) -> Option<&ServicePort> {
        self.ports.iter().find(|p| p.number == number)
    }
}

/// Reads a Service of Kubernetes.
pub(super) fn parse(object: Value) -> Result<Service, String> {
    let meta = Meta::of(&object);
    let spec = object.get("spec").cloned().unwrap_or_default();
    let text = |key: &str| spec.get(key).and_then(Value::as_str).unwrap_or_default();
    let cluster_ip = text("clusterIP");
    let alias = (text("type") == "ExternalName").then(|| text("externalName").to_owned());
    let resolution = match (&alias, cluster_ip) {
        (Some(_), _) => Resolution::Dns,
        (None, "None") => Resolution::Passthrough,
        _ => Resolution::Endpoints,
    };
    let ports = spec.get("ports").and_then(Value::as_array).into_iter().flatten();
    Ok(Service {
        hostname: Hostname::new(&format!("{}.{}.svc.cluster.local", meta.name, meta.namespace)),
        source: Key::new(Kind::Service, &meta.namespace, &meta.name),
        parts: Vec::new(),
        registry: Registry::Kubernetes,
        ports: ports.filter_map(port).collect(),
        addresses: addresses(&spec, cluster_ip),
        allocated: Vec::new(),
        resolution,
        external: alias.is_some(),
        export_to: export_to(&meta),
        selector: string_map(spec.get("selector")),
        subject_alt_names: Vec::new(),
        alias,
        publish_not_ready: spec.get("publishNotReadyAddresses").and_then(Value::as_bool).unwrap_or(false),
        translates_gateway_ports: translates_gateway_ports(&meta),
        traffic: traffic(&meta, text("trafficDistribution")),
        load_balancer: text("type") == "LoadBalancer",
        outside: outside(&object, &spec),
        created: meta.created,
    })
}

/// Addresses by which a Service is reached from outside.
fn outside(object: &Value, spec: &Value) -> Vec<String> {
    let list = |value: Option<&Value>| value.and_then(Value::as_array).cloned().unwrap_or_default();
    let ingress = list(object.pointer("/status/loadBalancer/ingress"));
    let address =
        |entry: &Value| entry.get("ip").or_else(|| entry.get("hostname")).and_then(Value::as_str).map(str::to_owned);
    let external = list(spec.get("externalIPs")).into_iter().filter_map(|ip| ip.as_str().map(str::to_owned));
    ingress.iter().filter_map(address).chain(external).collect()
}

/// Does a Service or ServiceEntry let Gateways name its port where they mean that of its pods.
pub(super) fn translates_gateway_ports(meta: &Meta) -> bool {
    !meta.labels.contains_key(KEEPS_GATEWAY_PORTS)
}

fn addresses(spec: &Value, cluster_ip: &str) -> Vec<String> {
    let list = spec.get("clusterIPs").and_then(Value::as_array).into_iter().flatten();
    let mut all: Vec<String> = list.filter_map(|a| Some(a.as_str()?.to_owned())).collect();
    if all.is_empty() {
        all.push(cluster_ip.to_owned());
    }
    all.retain(|a| !a.is_empty() && a != "None");
    all
}

/// The annotation counts before the field.
pub(super) fn traffic(meta: &Meta, field: &str) -> TrafficDistribution {
    let wanted = meta.annotations.get(TRAFFIC_DISTRIBUTION).map_or(field, String::as_str);
    match wanted.to_ascii_lowercase().as_str() {
        "preferclose" | "prefersamezone" => TrafficDistribution::SameZone,
        "prefersamenode" => TrafficDistribution::SameNode,
        _ => TrafficDistribution::Any,
    }
}

fn export_to(meta: &Meta) -> Vec<String> {
    let Some(list) = meta.annotations.get(EXPORT_TO) else {
        return Vec::new();
    };
    list.split(',').map(|n| n.trim().to_owned()).filter(|n| !n.is_empty()).collect()
}

fn port(value: &Value) -> Option<ServicePort> {
    let text = |key: &str| value.get(key).and_then(Value::as_str);
    let number = u16::try_from(value.get("port")?.as_u64()?).ok()?;
    let name = text("name").unwrap_or_default();
    let protocol = Protocol::of_service_port(number, name, text("appProtocol"), text("protocol").unwrap_or("TCP"));
    let target = match value.get("targetPort") {
        Some(Value::String(name)) => name.parse().map_or_else(|_| TargetPort::Name(name.clone()), TargetPort::Number),
        Some(other) => TargetPort::Number(u16::try_from(other.as_u64()?).ok().filter(|n| *n != 0).unwrap_or(number)),
        None => TargetPort::Number(number),
    };
    (protocol != Protocol::Udp).then(|| ServicePort { number, name: name.to_owned(), protocol, target })
}
