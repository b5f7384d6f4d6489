//! The nf_tables rules that make Services work: a pure function of Services, EndpointSlices and pods.
//!
//! One look-up in a map finds the chain of an address and port, which sends the connection to one
//! of the endpoints. A port without any endpoint is sent to a port of the node where nobody
//! listens: the kernel's answer makes the client see its connection refused at once, in the
//! Service's name.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use ipnet::IpNet;
use lateen_apiserver::Object;
use lateen_nft::{
    Chain, Expr, Family, Hook, HookKind, L4, MapKey, Op, Rule, Ruleset, SourceSet, Spread, Table, Verdict, VerdictMap,
    priority,
};
use serde_json::Value;

use super::host_ports::{self, HostPort};
use super::targets::{Answer, ByService, Place, answer, by_service, l4, port_number};
use crate::controllers::object::Meta;

/// The one table that Services live in.
pub const TABLE: &str = "lateen_services";
const MAP: &str = "service-ports";
const HAIRPIN: &str = "hairpin";
/// A port where nobody listens.
const NOBODY: u16 = 1;
/// How long a client of a Service with `sessionAffinity: ClientIP` stays with its endpoint, as in
/// Kubernetes.
const AFFINITY_SECONDS: u64 = 10_800;

/// What the rules must know of the node.
#[derive(Debug, Clone)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// Its zone.
    pub zone: String,
    /// Its own addresses: at most one of each family. Without one there are no rules for a family.
    pub ips: Vec<IpAddr>,
    /// Networks of the pods.
    pub pods: Vec<IpNet>,
    /// Services' addresses on which it listens itself: they are left alone.
    pub answers: Vec<IpAddr>,
}

/// Who may answer a datagram sent to an address.
pub type Datagrams = BTreeMap<SocketAddr, BTreeSet<SocketAddr>>;

/// Rules, and what follows from them for flows that are under way.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// What the kernel is to have.
    pub ruleset: Ruleset,
    /// Where datagrams go.
    pub datagrams: Datagrams,
}

/// The rules for these Services with these EndpointSlices, and for the host ports of these pods.
#[must_use]
pub fn plan(services: &[Object], slices: &[Object], pods: &[Object], node: &Node) -> Plan {
    let by_service = by_service(slices);
    let mut plan = Plan::default();
    for ip in &node.ips {
        let mut build = Build::new(node, *ip);
        for service in services {
            build.add(service, &by_service);
        }
        for port in host_ports::of(pods) {
            build.add_host_port(&port);
        }
        plan.datagrams.append(&mut build.datagrams);
        plan.ruleset.tables.push(build.finish());
    }
    plan
}

/// The rules of one address family.
struct Build<'a> {
    node: &'a Node,
    ip: IpAddr,
    chains: Vec<Chain>,
    sets: Vec<SourceSet>,
    entries: BTreeMap<(IpAddr, u16, bool), Verdict>,
    hairpins: BTreeSet<IpAddr>,
    datagrams: Datagrams,
}

/// A port of a Service.
struct Port<'a> {
    service: &'a Value,
    l4: L4,
    number: u16,
    affinity: Option<Duration>,
}

impl Port<'_> {
    /// A name for something of this port; no two ports share one.
    fn name(&self, kind: &str) -> String {
        let proto = if self.l4 == L4::Udp { "udp" } else { "tcp" };
        format!("{kind}/{}/{}/{proto}/{}", self.service.namespace(), self.service.name(), self.number)
    }
}

impl<'a> Build<'a> {
    fn new(node: &'a Node, ip: IpAddr) -> Self {
        Self {
            node,
            ip,
            chains: Vec::new(),
            sets: Vec::new(),
            entries: BTreeMap::new(),
            hairpins: BTreeSet::new(),
            datagrams: Datagrams::new(),
        }
    }

    fn v6(&self) -> bool {
        self.ip.is_ipv6()
    }

    fn add(&mut self, service: &Value, slices: &ByService<'_>) {
        let slices = slices.get(&(service.namespace(), service.name())).map_or(&[][..], Vec::as_slice);
        let (node, v6) = (self.node, self.v6());
        let place = Place { node: &node.name, zone: &node.zone };
        let mine = |ip: &IpAddr| ip.is_ipv6() == v6 && !node.answers.contains(ip);
        let internal: Vec<IpAddr> = cluster_ips(service).into_iter().filter(mine).collect();
        let external: Vec<IpAddr> = external_ips(service).into_iter().filter(mine).collect();
        for port in service.items("/spec/ports") {
            let (Some(l4), Some(number)) = (l4(port), port_number(port, "port")) else { continue };
            let mut outside: Vec<(IpAddr, u16)> = external.iter().map(|ip| (*ip, number)).collect();
            outside.extend(port_number(port, "nodePort").map(|port| (self.ip, port)));
            if internal.is_empty() && outside.is_empty() {
                continue;
            }
            let local = |field: &str| service["spec"][field] == "Local";
            let ask = |local: bool| answer(port, slices, v6, local, place);
            let (inside_local, outside_local) = (local("internalTrafficPolicy"), local("externalTrafficPolicy"));
            let all = ask(false);
            let port = Port { service, l4, number, affinity: affinity(service) };
            let for_inside = if inside_local { ask(true) } else { all.clone() };
            let inside: Vec<_> = internal.iter().map(|ip| (*ip, number)).collect();
            if inside_local == outside_local && !outside_local {
                let chain = self.chain(&port, "svc", &[(Vec::new(), &all)]);
                self.lead(&port, inside.into_iter().chain(outside), &chain, &all);
                continue;
            }
            let chain = self.chain(&port, "svc", &[(Vec::new(), &for_inside)]);
            self.lead(&port, inside.into_iter(), &chain, &for_inside);
            let for_outside = if outside_local { ask(true) } else { all.clone() };
            // What comes from inside the cluster is not meant by the policy for what comes from outside.
            let own = self.sent_by_pods();
            let chain = self.chain(&port, "ext", &[(own, &all), (Vec::new(), &for_outside)]);
            self.lead(&port, outside.into_iter(), &chain, &all);
        }
    }

    /// Tests that hold for what pods send.
    fn sent_by_pods(&self) -> Vec<Expr> {
        let net = self.node.pods.iter().find(|net| net.addr().is_ipv6() == self.v6());
        let net = net.map(|net| Expr::saddr(Op::Eq, *net));
        net.into_iter().chain([Expr::saddr(Op::Ne, self.ip)]).collect()
    }

    fn add_host_port(&mut self, port: &HostPort) {
        if port.target.is_ipv6() != self.v6() || port.target.ip() == self.ip {
            return;
        }
        let proto = if port.l4 == L4::Udp { "udp" } else { "tcp" };
        let name = format!("host/{}/{}/{proto}/{}", port.namespace, port.pod, port.number);
        let key = (self.ip, port.number, port.l4 == L4::Udp);
        if self.entries.contains_key(&key) {
            return;
        }
        self.chains.push(Chain::new(&name).rule([Expr::L4Proto(port.l4), Expr::Dnat(port.target)]));
        self.entries.insert(key, Verdict::Goto(name));
        self.hairpins.insert(port.target.ip());
        if port.l4 == L4::Udp {
            let from = SocketAddr::new(self.ip, port.number);
            self.datagrams.insert(from, BTreeSet::from([port.target]));
        }
    }

    /// Makes these destinations lead to a chain.
    fn lead(&mut self, port: &Port<'_>, from: impl Iterator<Item = (IpAddr, u16)>, chain: &str, answer: &Answer) {
        let udp = port.l4 == L4::Udp;
        for (ip, number) in from {
            self.entries.insert((ip, number, udp), Verdict::Goto(chain.to_owned()));
            if udp {
                let mut targets: BTreeSet<_> = answer.targets().iter().copied().collect();
                if targets.is_empty() {
                    targets.insert((self.ip, NOBODY).into());
                }
                self.datagrams.insert(SocketAddr::new(ip, number), targets);
            }
        }
    }

    /// A chain that gives the first answer whose tests hold.
    fn chain(&mut self, port: &Port<'_>, kind: &str, answers: &[(Vec<Expr>, &Answer)]) -> String {
        let mut chain = Chain::new(port.name(kind));
        for (tests, answer) in answers {
            let with = |exprs: Vec<Expr>| Rule::from([tests.clone(), exprs].concat());
            match answer {
                Answer::Drop => chain.push(with(vec![Expr::drop()])),
                Answer::Refuse => {
                    chain.push(with(vec![Expr::L4Proto(port.l4), Expr::Dnat((self.ip, NOBODY).into())]));
                }
                Answer::Targets(targets) => {
                    self.hairpins.extend(targets.iter().map(SocketAddr::ip));
                    match port.affinity {
                        Some(time) => self.stay(port, time, targets).into_iter().for_each(|r| chain.push(with(r))),
                        None => {
                            let spread = Expr::DnatSpread(Spread::Random, targets.clone());
                            chain.push(with(vec![Expr::L4Proto(port.l4), spread]));
                        }
                    }
                }
            }
        }
        let name = chain.name.clone();
        self.chains.push(chain);
        name
    }

    /// Rules that send a client to where it was sent before, or to any target the first time.
    fn stay(&mut self, port: &Port<'_>, time: Duration, targets: &[SocketAddr]) -> Vec<Vec<Expr>> {
        let v6 = self.v6();
        let mut rules = Vec::new();
        let mut ends = Vec::new();
        for target in targets {
            // Colons would end a name in nft's syntax.
            let to = format!("{}/{}", target.ip(), target.port()).replace(':', "-");
            let (set, end) = (format!("{}/{to}", port.name("clients")), format!("{}/{to}", port.name("end")));
            rules.push(vec![Expr::SourceInSet { set: set.clone(), v6 }, Expr::goto(&end)]);
            if !self.sets.iter().any(|s| s.name == set) {
                let remember = Expr::RememberSource { set: set.clone(), v6 };
                self.chains.push(Chain::new(&end).rule([remember, Expr::L4Proto(port.l4), Expr::Dnat(*target)]));
                self.sets.push(SourceSet { name: set, v6, timeout: time });
            }
            ends.push(end);
        }
        rules.push(vec![Expr::GotoSpread(Spread::Random, ends)]);
        rules
    }

    fn finish(self) -> Table {
        let v6 = self.v6();
        let entries = self.entries.into_iter().map(|((addr, port, udp), verdict)| {
            let l4 = if udp { L4::Udp } else { L4::Tcp };
            (MapKey { addr, l4, port }, verdict)
        });
        let map = VerdictMap { name: MAP.into(), v6, entries: entries.collect() };
        let mut table = Table::new(if v6 { Family::Ip6 } else { Family::Ip }, TABLE).map(map);
        table.sets = self.sets;
        for (name, hook) in [("prerouting", Hook::Prerouting), ("output", Hook::Output)] {
            let look_up = [Expr::DestinationMap { map: MAP.into(), v6 }];
            table = table.chain(Chain::base(name, HookKind::Nat, hook, priority::DSTNAT).rule(look_up));
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

fn affinity(service: &Value) -> Option<Duration> {
    let seconds =
        service.int("/spec/sessionAffinityConfig/clientIP/timeoutSeconds").and_then(|n| u64::try_from(n).ok());
    (service["spec"]["sessionAffinity"] == "ClientIP").then(|| Duration::from_secs(seconds.unwrap_or(AFFINITY_SECONDS)))
}

fn parsed<'a>(texts: impl Iterator<Item = &'a str>) -> Vec<IpAddr> {
    let mut ips: Vec<IpAddr> = texts.filter_map(|ip| ip.parse().ok()).collect();
    ips.dedup();
    ips
}

/// The addresses for clients in the cluster.
fn cluster_ips(service: &Value) -> Vec<IpAddr> {
    if service.text("/spec/type") == "ExternalName" {
        return Vec::new();
    }
    let more = service.items("/spec/clusterIPs").iter().filter_map(Value::as_str);
    parsed(std::iter::once(service.text("/spec/clusterIP")).chain(more))
}

/// The addresses for other clients. Those of a load balancer that is a proxy are not ours to catch.
fn external_ips(service: &Value) -> Vec<IpAddr> {
    if service.text("/spec/type") == "ExternalName" {
        return Vec::new();
    }
    let ingress = service.items("/status/loadBalancer/ingress").iter();
    let balanced = ingress.filter(|i| i["ipMode"] != "Proxy").map(|ingress| ingress.text("/ip"));
    parsed(service.items("/spec/externalIPs").iter().filter_map(Value::as_str).chain(balanced))
}

#[cfg(test)]
#[path = "rules_tests.rs"]
mod tests;
