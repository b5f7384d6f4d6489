//! The names of the cluster: what Services, their endpoints and pods are called.
//!
//! Names are lower-case and without the dot at the end.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use lateen_apiserver::Object;
use serde_json::Value;

use crate::controllers::SERVICE_NAME;
use crate::controllers::object::Meta;

/// Version of the naming scheme, told to those who ask for `dns-version`.
const SCHEME_VERSION: &str = "1.1.0";

/// The names of the addresses of pods and Services.
const REVERSE: [&str; 4] = [
    "244.10.in-addr.arpa",
    "96.10.in-addr.arpa",
    "4.4.2.0.0.1.0.0.0.0.d.f.ip6.arpa",
    "6.9.0.0.0.1.0.0.0.0.d.f.ip6.arpa",
];

/// A service record.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Srv {
    /// The port to connect to.
    pub port: u16,
    /// The name of the host.
    pub target: String,
}

/// What is known under one name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Records {
    /// Addresses.
    pub a: Vec<Ipv4Addr>,
    /// Addresses of the other family.
    pub aaaa: Vec<Ipv6Addr>,
    /// Hosts and ports.
    pub srv: Vec<Srv>,
    /// Another name to look for instead.
    pub cname: Option<String>,
    /// The name of an address.
    pub ptr: Vec<String>,
    /// Text.
    pub txt: Option<String>,
}

/// What the zone says about a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found<'a> {
    /// The name exists; it may still have no record of the wanted type.
    Records(std::borrow::Cow<'a, Records>),
    /// The name would be the cluster's, but there is none.
    Nothing,
    /// The name is not the cluster's.
    Outside,
}

/// All names at one moment.
#[derive(Debug, Default)]
pub struct Zone {
    domain: String,
    names: HashMap<String, Records>,
    namespaces: HashSet<String>,
}

impl Zone {
    /// The names in `domain` for these Services and EndpointSlices.
    #[must_use]
    pub fn build(domain: &str, services: &[Object], slices: &[Object]) -> Self {
        let mut zone = Self { domain: domain.to_owned(), ..Self::default() };
        let mut by_service: BTreeMap<(&str, &str), Vec<&Value>> = BTreeMap::new();
        for slice in slices {
            if let Some(service) = slice.label(SERVICE_NAME) {
                by_service.entry((slice.namespace(), service)).or_default().push(slice);
            }
        }
        for service in services {
            zone.namespaces.insert(service.namespace().to_owned());
            let key = (service.namespace(), service.name());
            zone.add(service, by_service.get(&key).map_or(&[], Vec::as_slice));
        }
        zone.at(format!("dns-version.{domain}")).txt = Some(SCHEME_VERSION.to_owned());
        zone
    }

    /// What is known about `name`.
    #[must_use]
    pub fn find(&self, name: &str) -> Found<'_> {
        if let Some(records) = self.names.get(name) {
            return Found::Records(std::borrow::Cow::Borrowed(records));
        }
        if let Some(ip) = self.pod_address(name) {
            let mut records = Records::default();
            records.add(ip);
            return Found::Records(std::borrow::Cow::Owned(records));
        }
        if self.apex(name).is_some() { Found::Nothing } else { Found::Outside }
    }

    /// The name at the top of the zone that `name` is in, if that is one of ours.
    #[must_use]
    pub fn apex(&self, name: &str) -> Option<&str> {
        [self.domain.as_str()].into_iter().chain(REVERSE).find(|apex| is_below(name, apex))
    }

    /// The zone's own name.
    #[must_use]
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// The records of `name`, made with the names above it.
    fn at(&mut self, name: String) -> &mut Records {
        let mut rest = name.as_str();
        while let Some((_, parent)) = rest.split_once('.') {
            if self.names.contains_key(parent) || !is_below(parent, &self.domain) {
                break;
            }
            self.names.insert(parent.to_owned(), Records::default());
            rest = parent;
        }
        self.names.entry(name).or_default()
    }

    fn add(&mut self, service: &Value, slices: &[&Value]) {
        let host = format!("{}.{}.svc.{}", service.name(), service.namespace(), self.domain);
        if service.text("/spec/type") == "ExternalName" {
            let target = service.text("/spec/externalName").trim_end_matches('.');
            self.at(host).cname = Some(target.to_ascii_lowercase());
            return;
        }
        let more = service.items("/spec/clusterIPs").iter().skip(1).filter_map(Value::as_str);
        let texts = std::iter::once(service.text("/spec/clusterIP")).chain(more);
        let ips: Vec<IpAddr> = texts.filter_map(|ip| ip.parse().ok()).collect();
        if ips.is_empty() {
            return self.add_headless(service, &host, slices);
        }
        for ip in ips {
            self.add_address(host.clone(), ip);
        }
        for port in service.items("/spec/ports") {
            self.add_srv(&host, port, &host);
        }
    }

    fn add_headless(&mut self, service: &Value, host: &str, slices: &[&Value]) {
        let publish = service["spec"]["publishNotReadyAddresses"] == true;
        self.at(host.to_owned());
        for slice in slices {
            for endpoint in slice.items("/endpoints") {
                if endpoint["conditions"]["ready"] == false && !publish {
                    continue;
                }
                let ips = endpoint.items("/addresses").iter().filter_map(Value::as_str);
                for ip in ips.filter_map(|ip| ip.parse::<IpAddr>().ok()) {
                    let label = match endpoint.text("/hostname") {
                        "" => ip.to_string().replace(['.', ':'], "-"),
                        hostname => hostname.to_owned(),
                    };
                    let own = format!("{label}.{host}");
                    self.at(host.to_owned()).add(ip);
                    self.add_address(own.clone(), ip);
                    for port in slice.items("/ports") {
                        self.add_srv(host, port, &own);
                    }
                }
            }
        }
    }

    fn add_address(&mut self, name: String, ip: IpAddr) {
        self.names.entry(reverse(ip)).or_default().ptr.push(name.clone());
        self.at(name).add(ip);
    }

    fn add_srv(&mut self, host: &str, port: &Value, target: &str) {
        let Some(number) = port.int("/port").and_then(|p| u16::try_from(p).ok()) else {
            return;
        };
        let srv = Srv { port: number, target: target.to_owned() };
        let name = port.text("/name");
        if !name.is_empty() {
            let protocol = match port.text("/protocol") {
                "" => "tcp".to_owned(),
                other => other.to_ascii_lowercase(),
            };
            self.at(format!("_{name}._{protocol}.{host}")).srv.push(srv.clone());
        }
        self.at(host.to_owned()).srv.push(srv);
    }

    /// `10-244-0-5.<namespace>.pod.<domain>`: the address is in the name.
    fn pod_address(&self, name: &str) -> Option<IpAddr> {
        let rest = name.strip_suffix(&self.domain)?.strip_suffix(".pod.")?;
        let (dashed, namespace) = rest.split_once('.')?;
        if !self.namespaces.contains(namespace) {
            return None;
        }
        dashed.replace('-', ".").parse().or_else(|_| dashed.replace('-', ":").parse()).ok()
    }
}

impl Records {
    fn add(&mut self, ip: IpAddr) {
        match ip {
            IpAddr::V4(ip) => self.a.push(ip),
            IpAddr::V6(ip) => self.aaaa.push(ip),
        }
    }
}

/// The name under which the name of an address is found.
fn reverse(ip: IpAddr) -> String {
    let parts: Vec<String> = match ip {
        IpAddr::V4(ip) => ip.octets().iter().rev().map(u8::to_string).collect(),
        IpAddr::V6(ip) => ip.octets().iter().rev().flat_map(|b| [b & 15, b >> 4]).map(|n| format!("{n:x}")).collect(),
    };
    format!("{}.{}.arpa", parts.join("."), if ip.is_ipv4() { "in-addr" } else { "ip6" })
}

fn is_below(name: &str, domain: &str) -> bool {
    name.strip_suffix(domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::sync::Arc;

    fn zone() -> Zone {
        let service = |name: &str, spec: Value| {
            Arc::new(json!({"metadata": {"name": name, "namespace": "default"}, "spec": spec}))
        };
        let services = [
            service("web", json!({"clusterIP": "10.96.1.1", "ports": [{"name": "http", "port": 80}]})),
            service("db", json!({"clusterIP": "None", "ports": [{"name": "pg", "port": 5432}]})),
            service("out", json!({"type": "ExternalName", "externalName": "Example.org."})),
        ];
        let slice = Arc::new(json!({
            "metadata": {"name": "db-x", "namespace": "default", "labels": {SERVICE_NAME: "db"}},
            "addressType": "IPv4",
            "ports": [{"name": "pg", "port": 5433, "protocol": "TCP"}],
            "endpoints": [
                {"addresses": ["10.244.0.1"], "hostname": "db-0", "conditions": {"ready": true}},
                {"addresses": ["10.244.0.2"], "conditions": {"ready": true}},
                {"addresses": ["10.244.0.3"], "conditions": {"ready": false}},
            ],
        }));
        Zone::build("cluster.local", &services, &[slice])
    }

    fn records(zone: &Zone, name: &str) -> Records {
        match zone.find(name) {
            Found::Records(records) => records.into_owned(),
            other => panic!("{name}: {other:?}"),
        }
    }

    fn ips(ips: &[&str]) -> Vec<Ipv4Addr> {
        ips.iter().map(|ip| ip.parse().unwrap()).collect()
    }

    #[test]
    fn services_have_their_cluster_ip_their_ports_and_a_way_back() {
        let zone = zone();
        assert_eq!(records(&zone, "web.default.svc.cluster.local").a, ips(&["10.96.1.1"]));
        let srv = Srv { port: 80, target: "web.default.svc.cluster.local".into() };
        assert_eq!(records(&zone, "_http._tcp.web.default.svc.cluster.local").srv, [srv]);
        let back = records(&zone, "1.1.96.10.in-addr.arpa");
        assert_eq!(back.ptr, ["web.default.svc.cluster.local"]);
    }

    #[test]
    fn headless_services_have_their_ready_endpoints_by_name() {
        let zone = zone();
        let host = "db.default.svc.cluster.local";
        assert_eq!(records(&zone, host).a, ips(&["10.244.0.1", "10.244.0.2"]));
        assert_eq!(records(&zone, &format!("db-0.{host}")).a, ips(&["10.244.0.1"]));
        assert_eq!(records(&zone, &format!("10-244-0-2.{host}")).a, ips(&["10.244.0.2"]));
        let targets: Vec<_> = records(&zone, &format!("_pg._tcp.{host}")).srv;
        assert_eq!(targets[0], Srv { port: 5433, target: format!("db-0.{host}") });
        assert_eq!(targets.len(), 2);
        assert_eq!(records(&zone, "1.0.244.10.in-addr.arpa").ptr, [format!("db-0.{host}")]);
    }

    #[test]
    fn external_names_are_aliases() {
        let alias = records(&zone(), "out.default.svc.cluster.local").cname;
        assert_eq!(alias.as_deref(), Some("example.org"));
    }

    #[test]
    fn pods_have_names_made_of_their_address() {
        let zone = zone();
        assert_eq!(records(&zone, "10-244-0-9.default.pod.cluster.local").a, ips(&["10.244.0.9"]));
        assert_eq!(zone.find("10-244-0-9.nowhere.pod.cluster.local"), Found::Nothing);
        assert_eq!(zone.find("what.default.pod.cluster.local"), Found::Nothing);
    }

    #[test]
    fn unknown_names_differ_from_names_without_records_and_from_foreign_ones() {
        let zone = zone();
        assert_eq!(zone.find("nope.default.svc.cluster.local"), Found::Nothing);
        assert_eq!(records(&zone, "default.svc.cluster.local"), Records::default());
        assert_eq!(records(&zone, "_tcp.web.default.svc.cluster.local"), Records::default());
        assert_eq!(zone.find("example.org"), Found::Outside);
        assert_eq!(zone.find("notcluster.local"), Found::Outside);
        assert_eq!(zone.find("4.3.2.1.in-addr.arpa"), Found::Outside);
        assert_eq!(zone.find("9.9.244.10.in-addr.arpa"), Found::Nothing, "nobody outside knows our addresses");
        assert_eq!(zone.apex("9.9.244.10.in-addr.arpa"), Some("244.10.in-addr.arpa"));
    }

    #[test]
    fn addresses_of_both_families_are_known() {
        let service = Arc::new(json!({"metadata": {"name": "six", "namespace": "default"}, "spec":
            {"clusterIP": "None"}}));
        let slice = Arc::new(json!({
            "metadata": {"name": "six-x", "namespace": "default", "labels": {SERVICE_NAME: "six"}},
            "addressType": "IPv6", "ports": [],
            "endpoints": [{"addresses": ["2001:db8::1"], "hostname": "six-0"}],
        }));
        let zone = Zone::build("cluster.local", &[service], &[slice]);
        let six: Vec<Ipv6Addr> = vec!["2001:db8::1".parse().unwrap()];
        assert_eq!(records(&zone, "six.default.svc.cluster.local").aaaa, six);
        assert_eq!(records(&zone, "six-0.six.default.svc.cluster.local").aaaa, six);
        let back = "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa";
        assert_eq!(records(&zone, back).ptr, ["six-0.six.default.svc.cluster.local"]);
        assert_eq!(records(&zone, "2001-db8--1.default.pod.cluster.local").aaaa, six);
    }
}
