//! The nf_tables rules that make ClusterIPs work: a pure function of Services and EndpointSlices.
//!
//! One look-up in a map finds the chain of the Service's port, which sends the connection to one
//! of its endpoints. A port without any endpoint is sent to a port of the node where nobody
//! listens: the kernel's answer makes the client see its connection refused at once, in the
//! Service's name.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use lateen_apiserver::Object;
use lateen_nft::{
    Chain, Expr, Family, Hook, HookKind, L4, MapKey, Op, Rule, Ruleset, Spread, Table, Verdict, VerdictMap, priority,
};
use serde_json::Value;

use crate::controllers::SERVICE_NAME;
use crate::controllers::object::Meta;

/// The one table that Services live in.
pub const TABLE: &str = "lateen_services";
const MAP: &str = "service-ports";
const NODE_PORTS: &str = "node-ports";
const HAIRPIN: &str = "hairpin";
/// A port where nobody listens.
const NOBODY: u16 = 1;
/// Longest chain name made from names of objects.
const NAME_LIMIT: usize = 120;

/// What the rules must know of the node.
#[derive(Debug, Clone)]
pub struct Node {
    /// Its own address.
    pub ip: Ipv4Addr,
    /// Services' addresses on which it listens itself: they are left alone.
    pub answers: Vec<Ipv4Addr>,
}

/// The rules for these Services with these EndpointSlices.
#[must_use]
pub fn ruleset(services: &[Object], slices: &[Object], node: &Node) -> Ruleset {
    let by_service = group(slices);
    let mut build = Build::new(node);
    for service in services {
        let none = Vec::new();
        let key = (service.namespace(), service.name());
        build.add(service, by_service.get(&key).unwrap_or(&none));
    }
    build.finish().into()
}

fn group(slices: &[Object]) -> BTreeMap<(&str, &str), Vec<&Value>> {
    let mut groups: BTreeMap<_, Vec<&Value>> = BTreeMap::new();
    for slice in slices.iter().filter(|s| s["addressType"] == "IPv4") {
        if let Some(name) = slice.label(SERVICE_NAME) {
            groups.entry((slice.namespace(), name)).or_default().push(slice);
        }
    }
    groups
}

struct Build<'a> {
    node: &'a Node,
    chains: Vec<Chain>,
    entries: BTreeMap<(Ipv4Addr, u16, bool), Verdict>,
    node_ports: Vec<Rule>,
    hairpins: BTreeSet<IpAddr>,
}

impl<'a> Build<'a> {
    fn new(node: &'a Node) -> Self {
        Self { node, chains: Vec::new(), entries: BTreeMap::new(), node_ports: Vec::new(), hairpins: BTreeSet::new() }
    }

    fn add(&mut self, service: &Value, slices: &[&Value]) {
        let mut addresses = addresses(service);
        addresses.retain(|address| !self.node.answers.contains(address));
        for port in service.items("/spec/ports") {
            let (Some(l4), Some(number)) = (l4(port), port_number(port, "port")) else {
                continue;
            };
            let node_port = port_number(port, "nodePort").filter(|p| *p != 0);
            if addresses.is_empty() && node_port.is_none() {
                continue;
            }
            let targets = targets(port, slices);
            let chain = self.chain(service, l4, number, &targets);
            self.hairpins.extend(targets.iter().map(SocketAddr::ip));
            for address in &addresses {
                let udp = l4 == L4::Udp;
                self.entries.insert((*address, number, udp), Verdict::Goto(chain.clone()));
            }
            if let Some(port) = node_port {
                let rule = [Expr::dport(l4, port), Expr::Verdict(Verdict::Goto(chain))];
                self.node_ports.push(rule.into());
            }
        }
    }

    fn chain(&mut self, service: &Value, l4: L4, port: u16, targets: &[SocketAddr]) -> String {
        let proto = if l4 == L4::Udp { "udp" } else { "tcp" };
        let mut name = format!("svc/{}/{}/{proto}/{port}", service.namespace(), service.name());
        if name.len() > NAME_LIMIT {
            name = format!("svc/{}/{proto}/{port}", self.chains.len());
        }
        let action = if targets.is_empty() {
            Rule::from([Expr::L4Proto(l4), Expr::Dnat((self.node.ip, NOBODY).into())])
        } else {
            let spread = Expr::DnatSpread(Spread::Random, targets.to_vec());
            Rule::from([Expr::L4Proto(l4), spread])
        };
        self.chains.push(Chain::new(&name).rule(action));
        name
    }

    fn finish(self) -> Table {
        let look_up = || {
            let map = Expr::DestinationMap { map: MAP.into(), v6: false };
            let node = [Expr::FibDaddrLocal, Expr::Verdict(Verdict::Jump(NODE_PORTS.into()))];
            [Rule::from([map]), Rule::from(node)]
        };
        let entries = self.entries.into_iter().map(|((addr, port, udp), verdict)| {
            let l4 = if udp { L4::Udp } else { L4::Tcp };
            (MapKey { addr: addr.into(), l4, port }, verdict)
        });
        let map = VerdictMap { name: MAP.into(), v6: false, entries: entries.collect() };
        let mut table = Table::new(Family::Ip, TABLE).map(map);
        let mut node_ports = Chain::new(NODE_PORTS);
        node_ports.rules = self.node_ports;
        table = table.chain(node_ports);
        for (name, hook) in [("prerouting", Hook::Prerouting), ("output", Hook::Output)] {
            let mut chain = Chain::base(name, HookKind::Nat, hook, priority::DSTNAT);
            chain.rules.extend(look_up());
            table = table.chain(chain);
        }
        table.chains.extend(self.chains);
        table.chain(hairpin(&self.hairpins)).chain(postrouting())
    }
}

/// A pod that reaches itself through a Service must see another source address than its own, else
/// it drops the packet.
fn hairpin(pods: &BTreeSet<IpAddr>) -> Chain {
    let mut chain = Chain::new(HAIRPIN);
    for ip in pods {
        chain.push([Expr::saddr(Op::Eq, *ip), Expr::daddr(Op::Eq, *ip), Expr::Masquerade]);
    }
    chain
}

fn postrouting() -> Chain {
    let translated = [Expr::CtStatusDnat, Expr::Verdict(Verdict::Jump(HAIRPIN.into()))];
    Chain::base("postrouting", HookKind::Nat, Hook::Postrouting, priority::SRCNAT).rule(translated)
}

/// Every address that clients may use for the Service.
fn addresses(service: &Value) -> Vec<Ipv4Addr> {
    if service.text("/spec/type") == "ExternalName" {
        return Vec::new();
    }
    let balanced = service.items("/status/loadBalancer/ingress").iter().map(|ingress| ingress.text("/ip"));
    let external = service.items("/spec/externalIPs").iter().filter_map(Value::as_str);
    std::iter::once(service.text("/spec/clusterIP"))
        .chain(external)
        .chain(balanced)
        .filter_map(|ip| ip.parse().ok())
        .collect()
}

fn l4(port: &Value) -> Option<L4> {
    match port.text("/protocol") {
        "" | "TCP" => Some(L4::Tcp),
        "UDP" => Some(L4::Udp),
        _ => None,
    }
}

fn port_number(port: &Value, field: &str) -> Option<u16> {
    port[field].as_u64().and_then(|p| u16::try_from(p).ok())
}

/// Where the port's connections go: ready endpoints, or where there are none those that still
/// serve while they end.
fn targets(port: &Value, slices: &[&Value]) -> Vec<SocketAddr> {
    let mut ready = BTreeSet::new();
    let mut ending = BTreeSet::new();
    for slice in slices {
        let Some(number) = slice_port(port, slice) else {
            continue;
        };
        for endpoint in slice.items("/endpoints") {
            let conditions = &endpoint["conditions"];
            let into = if conditions["ready"] != false {
                &mut ready
            } else if conditions["serving"] == true && conditions["terminating"] == true {
                &mut ending
            } else {
                continue;
            };
            let ips = endpoint.items("/addresses").iter().filter_map(Value::as_str);
            let ips = ips.filter_map(|ip| ip.parse::<Ipv4Addr>().ok());
            into.extend(ips.map(|ip| SocketAddr::from((ip, number))));
        }
    }
    let chosen = if ready.is_empty() { ending } else { ready };
    chosen.into_iter().collect()
}

fn slice_port(port: &Value, slice: &Value) -> Option<u16> {
    let wanted = (port.text("/name"), l4(port));
    let found = slice.items("/ports").iter().find(|p| (p.text("/name"), l4(p)) == wanted)?;
    port_number(found, "port")
}

#[cfg(test)]
#[path = "rules_tests.rs"]
mod tests;
