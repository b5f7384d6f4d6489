//! Which outbound listeners there are, and what each has to tell apart.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use lateen_api::envoy::envoy::config::listener::v3::AdditionalAddress;
use lateen_mesh::Cidr;

use super::tcp_routes::{Target, targets};
use crate::reads::{Fact, ReadSet};
use crate::resource::{Key, Service, ServicePort};
use crate::translate::scope::Scope;
use crate::translate::wire::address;
use crate::view::ProxyView;

/// The address that stands for all.
pub const WILDCARD: &str = "0.0.0.0";

/// What [`WILDCARD`] is in the second family.
const SECOND_WILDCARD: &str = "::";

/// The further addresses of a listener: one that stands for all stands for those of both families that the proxy has.
pub fn further_addresses(bind: &str, port: u32, view: &ProxyView) -> Vec<AdditionalAddress> {
    let also = bind == WILDCARD && view.is_dual_stack();
    let further = || AdditionalAddress { address: Some(address(SECOND_WILDCARD, port)), ..Default::default() };
    also.then(further).into_iter().collect()
}

/// One outbound listener.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Address.
    pub bind: String,
    /// Port.
    pub port: u16,
    /// Route configuration for HTTP, if there can be any.
    pub routes: Option<String>,
    /// Must HTTP be told from other traffic by its first bytes.
    pub sniff: bool,
    /// What happens to other traffic.
    pub chains: Vec<TcpChain>,
    /// Object that it was first made for.
    pub source: Key,
}

/// Connections that go to one service.
#[derive(Clone, Debug, PartialEq)]
pub struct TcpChain {
    /// Server names; empty for all.
    pub sni: Vec<String>,
    /// Destination ranges; empty for all.
    pub ranges: Vec<Cidr>,
    /// Where to, with weights.
    pub targets: Vec<Target>,
}

impl TcpChain {
    /// Is it for every connection.
    pub fn takes_all(&self) -> bool {
        self.sni.is_empty() && self.ranges.is_empty()
    }

    fn same_match(&self, other: &TcpChain) -> bool {
        self.sni == other.sni && self.ranges == other.ranges
    }
}

/// The outbound listeners of a proxy by name, optionally only those on one port.
pub fn outbound(scope: &Scope<'_>, only: Option<u16>, reads: &mut ReadSet) -> BTreeMap<String, Plan> {
    reads.read(Fact::Services);
    reads.read(Fact::VirtualServices);
    let services = only.map_or_else(|| scope.callable(), |port| scope.callable_on_port(port));
    let mut plans = BTreeMap::new();
    for service in services {
        for port in service.ports.iter().filter(|p| only.is_none_or(|o| o == p.number)) {
            for wanted in wanted(&service, port, scope, reads) {
                add(&mut plans, wanted);
            }
        }
    }
    plans
}

/// The listeners that one service port asks for.
fn wanted(service: &Service, port: &ServicePort, scope: &Scope<'_>, reads: &mut ReadSet) -> Vec<Plan> {
    let plan = |bind: &str, routes: Option<String>, sniff: bool, chains: Vec<TcpChain>| Plan {
        bind: bind.to_owned(),
        port: port.number,
        routes,
        sniff,
        chains,
        source: service.source.clone(),
    };
    if port.protocol.is_http() {
        return vec![plan(WILDCARD, Some(port.number.to_string()), false, Vec::new())];
    }
    let sniff = port.protocol.is_auto();
    binds(service, port, scope, reads)
        .into_iter()
        .map(|Bind { address, ranges }| {
            let wildcard = address == WILDCARD;
            let routes = sniff.then(|| {
                if wildcard { port.number.to_string() } else { format!("{}:{}", service.hostname, port.number) }
            });
            let chains = chains(service, port, wildcard, &ranges, scope);
            plan(&address, routes, sniff, chains)
        })
        .collect()
}

/// An address to listen on, and the ranges it stands for.
struct Bind {
    address: String,
    ranges: Vec<Cidr>,
}

fn binds(service: &Service, port: &ServicePort, scope: &Scope<'_>, reads: &mut ReadSet) -> Vec<Bind> {
    let single = |address: &str| Bind { address: address.to_owned(), ranges: Vec::new() };
    if service.is_headless() {
        reads.read(Fact::Endpoints(service.hostname.clone()));
        let endpoints = scope.snapshot.endpoints.of_service(&service.hostname, service.namespace());
        let addresses = endpoints.map_or(&[][..], |e| e.of_port(port.number)).iter().flat_map(|e| e.addresses());
        let own = |address: &str| address.parse().is_ok_and(|a| scope.view.addresses.contains(&a));
        return addresses.filter(|a| !own(a)).map(|a| single(a)).collect();
    }
    let allocated = scope.view.dns_capture && scope.view.dns_auto_allocate;
    let addresses: Vec<&String> =
        service.addresses.iter().chain(service.allocated.iter().filter(|_| allocated)).collect();
    let parsed: Vec<Cidr> = addresses.iter().filter_map(|a| Cidr::parse(a).ok()).collect();
    if parsed.is_empty() {
        return vec![single(WILDCARD)];
    }
    let mut all: Vec<Bind> =
        parsed.iter().filter(|c| c.is_single()).map(|c| single(&c.address().to_string())).collect();
    let ranges: Vec<Cidr> = parsed.into_iter().filter(|c| !c.is_single()).collect();
    if !ranges.is_empty() {
        all.push(Bind { address: WILDCARD.into(), ranges });
    }
    all
}

fn chains(service: &Service, port: &ServicePort, wildcard: bool, ranges: &[Cidr], scope: &Scope<'_>) -> Vec<TcpChain> {
    let routed = targets(service, port, scope);
    let by_name = |sni: Vec<String>, targets| TcpChain { sni, ranges: ranges.to_vec(), targets };
    if !port.protocol.is_tls() {
        return vec![by_name(Vec::new(), routed.plain)];
    }
    let mut all: Vec<TcpChain> = routed.by_sni.into_iter().map(|(sni, targets)| by_name(sni, targets)).collect();
    if all.is_empty() {
        // Without an address of its own a service is known by its name only.
        let sni = if wildcard { vec![service.hostname.to_string()] } else { Vec::new() };
        all.push(by_name(sni, routed.plain));
    }
    all
}

/// Adds a listener. Of two that cannot share an address the older keeps it.
fn add(plans: &mut BTreeMap<String, Plan>, new: Plan) {
    match plans.entry(format!("{}_{}", new.bind, new.port)) {
        Entry::Vacant(entry) => {
            entry.insert(new);
        }
        Entry::Occupied(mut entry) => {
            let old = entry.get_mut();
            let (old_http, new_http) = (old.routes.is_some(), new.routes.is_some());
            let plain = |p: &Plan| p.chains.iter().any(TcpChain::takes_all);
            // A listener that takes every connection as TCP leaves nothing to tell HTTP by, and the other way round.
            if old_http != new_http && (plain(old) || plain(&new)) {
                return;
            }
            if !old_http {
                old.routes = new.routes;
            }
            old.sniff |= new.sniff;
            for chain in new.chains {
                if old.chains.iter().all(|c| !c.same_match(&chain)) {
                    old.chains.push(chain);
                }
            }
        }
    }
}
