//! VirtualServices: where their hosts are theirs, and whether their routes lead anywhere.

use std::collections::BTreeMap;

use lateen_api::istio as api;
use lateen_mesh::Hostname;

use super::fault::{self, Fault};
use super::proxies::{Group, Reach};
use super::{Judge, Report};
use crate::resource::{Config, Key, Kind, Resolution, Service};
use crate::snapshot::{Place, destinations, hosts};
use crate::translate::applies_to_mesh;
use crate::translate::gateway::{ServerHost, shared};

/// Domain of Kubernetes Services.
const CLUSTER_SUFFIX: &str = ".svc.cluster.local";

type VirtualService = Config<api::VirtualService>;
/// VirtualServices for sidecars by host, oldest first.
type ByHost<'a> = BTreeMap<Hostname, Vec<&'a VirtualService>>;

pub(super) fn judge(judge: &Judge<'_>, all: &mut BTreeMap<Key, Report>) {
    let snapshot = judge.snapshot;
    let mut by_host: ByHost<'_> = BTreeMap::new();
    for vs in snapshot.virtual_services.iter().filter(|vs| applies_to_mesh(&vs.spec.gateways)) {
        hosts(vs).for_each(|host| by_host.entry(host).or_default().push(vs));
    }
    let gateways: BTreeMap<String, &Config<api::Gateway>> =
        snapshot.gateways.iter().map(|gateway| (gateway.full_name(), gateway)).collect();
    for vs in snapshot.virtual_services.iter() {
        let key = Key::new(Kind::VirtualService, &vs.meta.namespace, &vs.meta.name);
        let one = One { judge, vs, by_host: &by_host, gateways: &gateways };
        let mut report = one.report();
        let left_out = snapshot.delegation_findings.get(&key).into_iter().flatten();
        report.faults.extend(left_out.map(|text| Fault::new(fault::DELEGATE, text.clone())));
        all.insert(key, report);
    }
    for (delegate, roots) in snapshot.delegates.iter() {
        let of_roots = roots.iter().filter_map(|root| all.get(root)).map(|report| report.proxies);
        let proxies = of_roots.max().unwrap_or(0);
        let text = match roots.len() {
            0 => "it has no hosts, and no VirtualService delegates to it".to_owned(),
            _ => "no VirtualService that delegates to it is in effect".to_owned(),
        };
        let fault = (proxies == 0).then(|| Fault::new(fault::NOT_REFERRED_TO, text));
        all.insert(delegate.clone(), Report { proxies, faults: fault.into_iter().collect(), ..Report::default() });
    }
}

/// One VirtualService that is looked at.
struct One<'a> {
    judge: &'a Judge<'a>,
    vs: &'a VirtualService,
    by_host: &'a ByHost<'a>,
    gateways: &'a BTreeMap<String, &'a Config<api::Gateway>>,
}

impl<'a> One<'a> {
    fn report(&self) -> Report {
        let mut faults = Vec::new();
        let mut proxies = 0;
        let mut callers = Vec::new();
        if applies_to_mesh(&self.vs.spec.gateways) {
            let in_effect = self.sidecars(&mut faults);
            proxies += in_effect.iter().map(|reach| reach.count).sum::<usize>();
            callers.extend(in_effect);
        }
        let routers = self.routers(&mut faults);
        proxies += routers.values().map(|group| group.count).sum::<usize>();
        let of_routers = routers.values().filter_map(|group| self.judge.reach_of(group));
        callers.extend(of_routers);
        for (place, destination) in destinations(&self.vs.spec) {
            let check = Destination { judge: self.judge, vs: self.vs, place, destination, callers: &callers };
            faults.extend(check.fault());
        }
        Report::new(proxies, faults)
    }

    /// The sidecars for whose callers it applies.
    fn sidecars(&self, faults: &mut Vec<Fault>) -> Vec<&'a Reach<'a>> {
        let sidecars: Vec<&Reach<'_>> = self.judge.reaches.iter().filter(|r| r.scope.view.is_sidecar()).collect();
        let mut in_effect: BTreeMap<usize, &Reach<'_>> = BTreeMap::new();
        for host in hosts(self.vs) {
            let seeing: Vec<(usize, &&Reach<'_>)> =
                sidecars.iter().enumerate().filter(|(_, reach)| sees(reach, self.vs, &host)).collect();
            let first = |reach: &Reach<'_>| self.by_host.get(&host)?.iter().find(|vs| sees(reach, vs, &host)).copied();
            let own = |reach: &Reach<'_>| first(reach).is_some_and(|vs| std::ptr::eq(vs, self.vs));
            let before = in_effect.len();
            let winning: Vec<(usize, &Reach<'_>)> =
                seeing.iter().filter(|(_, reach)| own(reach)).map(|(i, reach)| (*i, **reach)).collect();
            in_effect.extend(winning.iter().copied());
            if winning.is_empty() && in_effect.len() == before {
                if let Some(other) = seeing.first().and_then(|(_, reach)| first(reach)) {
                    let text = format!(
                        "host {host}: that of the older VirtualService {} counts; merge the two",
                        other.full_name()
                    );
                    faults.push(Fault::new(fault::HOST_SHADOWED, text));
                } else if !sidecars.is_empty() {
                    let text = format!("host {host}: no sidecar sees it; look at exportTo and at the Sidecars");
                    faults.push(Fault::new(fault::NOT_EXPORTED, text));
                }
            }
            faults.extend(self.host_fault(&host));
        }
        in_effect.into_values().collect()
    }

    /// Whether anything is called by this name in the mesh, on a port that the routes are for.
    fn host_fault(&self, host: &Hostname) -> Option<Fault> {
        let spec = &self.vs.spec;
        let services = self.judge.snapshot.services.of_host(host);
        if services.is_empty() {
            let is_service = host.as_str().ends_with(CLUSTER_SUFFIX) && !host.is_wildcard();
            let only_streams = spec.http.is_empty() && !host.is_wildcard();
            let text = format!("host {host}: no service is called so; correct the name, or create it");
            return (is_service || only_streams).then(|| Fault::new(fault::HOST_UNKNOWN, text));
        }
        let mut ports = services.iter().flat_map(|service| &service.ports);
        let none_is_http = !ports.any(|port| port.protocol.is_http() || port.protocol.is_auto());
        if !spec.http.is_empty() && none_is_http {
            let text = format!(
                "http: none of the ports of {host} is HTTP, so that no request is looked at; begin the name of the \
                 Service's port with http, or set its appProtocol"
            );
            return Some(Fault::new(fault::PORT_MISMATCH, text));
        }
        None
    }

    /// The gateways that serve it.
    fn routers(&self, faults: &mut Vec<Fault>) -> BTreeMap<*const Group, &'a Group> {
        let mut all = BTreeMap::new();
        let meta = &self.vs.meta;
        for (index, name) in self.vs.spec.gateways.iter().enumerate().filter(|(_, name)| *name != "mesh") {
            let full = if name.contains('/') { name.clone() } else { format!("{}/{name}", meta.namespace) };
            let mut fail = |reason, text: String| faults.push(Fault::new(reason, format!("gateways[{index}]: {text}")));
            let Some(gateway) = self.gateways.get(&full) else {
                fail(fault::GATEWAY_ABSENT, format!("there is no Gateway {full}"));
                continue;
            };
            let wanted: Vec<Hostname> = hosts(self.vs).collect();
            let is_shared = |server: &api::Server| {
                let own = server.hosts.iter().map(|host| ServerHost::parse(host, &gateway.meta.namespace));
                !shared(&own.collect::<Vec<_>>(), &wanted, &meta.namespace).is_empty()
            };
            let servers: Vec<usize> =
                (0..gateway.spec.servers.len()).filter(|i| is_shared(&gateway.spec.servers[*i])).collect();
            let mut serving =
                servers.iter().flat_map(|server| self.judge.gateways.by(&full, *server)).copied().peekable();
            if servers.is_empty() {
                let text = format!("no server of Gateway {full} has any of the hosts; add them there");
                fail(fault::HOST_NOT_IN_GATEWAY, text);
                continue;
            }
            if serving.peek().is_none() {
                fail(fault::GATEWAY_WITHOUT_PROXIES, format!("Gateway {full} is served by no gateway that runs"));
                continue;
            }
            let sees = |group: &&Group| {
                self.judge.snapshot.sees_virtual_service(
                    &group.view.namespace,
                    &meta.namespace,
                    &self.vs.spec.export_to,
                )
            };
            let seeing: Vec<&Group> = serving.filter(sees).collect();
            if seeing.is_empty() {
                fail(fault::NOT_EXPORTED, format!("exportTo leaves out the namespace where {full} is served"));
            }
            all.extend(seeing.into_iter().map(|group| (std::ptr::from_ref(group), group)));
        }
        all
    }
}

fn sees(reach: &Reach<'_>, vs: &VirtualService, host: &Hostname) -> bool {
    let (scope, owner) = (&reach.scope, &vs.meta.namespace);
    scope.snapshot.sees_virtual_service(&scope.view.namespace, owner, &vs.spec.export_to)
        && scope.includes_host(owner, host, None)
}

/// A destination that is looked at.
struct Destination<'a> {
    judge: &'a Judge<'a>,
    vs: &'a VirtualService,
    place: Place,
    destination: &'a api::Destination,
    /// Those who use it.
    callers: &'a [&'a Reach<'a>],
}

impl Destination<'_> {
    fn fault(&self) -> Option<Fault> {
        let Destination { judge, destination, place, .. } = self;
        let host = Hostname::resolve(&destination.host, &self.vs.meta.namespace, "cluster.local");
        let services = &judge.snapshot.services;
        let fail = |reason, text: String| Some(Fault::new(reason, format!("{place}: {text}")));
        let Some(first) = services.of_host(&host).first() else {
            let covered = services.wildcards().any(|wildcard| wildcard.covers(&host));
            let text = format!("no service is called {host}; requests that go there get 503");
            return if covered { None } else { fail(fault::HOST_UNKNOWN, text) };
        };
        let port = destination.port.as_ref().map(|port| port.number).filter(|number| *number != 0);
        let has = |number: u32, service: &Service| service.ports.iter().any(|p| u32::from(p.number) == number);
        if let Some(number) = port.filter(|n| !services.of_host(&host).iter().any(|service| has(*n, service))) {
            let there: Vec<String> = first.ports.iter().map(|port| port.number.to_string()).collect();
            let text = format!("{host} has no port {number}, but {}; requests get 503", there.join(", "));
            return fail(fault::PORT_MISMATCH, text);
        }
        let reached = self.callers.iter().find_map(|caller| Some((caller, caller.scope.service(&host)?)));
        let Some((caller, service)) = reached else {
            let text = format!("no caller sees {host}; look at its exportTo and at the Sidecars");
            return if self.callers.is_empty() { None } else { fail(fault::HOST_OUT_OF_REACH, text) };
        };
        let subset = &destination.subset;
        if subset.is_empty() {
            return None;
        }
        let view = caller.scope.view;
        let rule = judge.snapshot.destination_rule(&view.namespace, &view.labels, &host, service.namespace());
        let Some(found) = rule.and_then(|rule| rule.spec.subsets.iter().find(|own| own.name == *subset)) else {
            let text = match rule {
                Some(rule) => format!("DestinationRule {}/{} has no subset {subset}", rule.namespace, rule.name),
                None => format!("no DestinationRule for {host} is there, so that subset {subset} isn't known"),
            };
            return fail(fault::SUBSET_UNKNOWN, format!("{text}; requests that go there get 503"));
        };
        let text = format!("no pod of {host} has the labels of subset {subset}; requests that go there get 503");
        if judge.has_endpoints(&service, found) { None } else { fail(fault::SUBSET_WITHOUT_PODS, text) }
    }
}

impl Judge<'_> {
    /// What the proxies of a group see.
    fn reach_of(&self, group: &Group) -> Option<&Reach<'_>> {
        self.reaches.iter().find(|reach| {
            let view = reach.scope.view;
            (view.kind, &view.namespace) == (group.view.kind, &group.view.namespace)
        })
    }

    /// Is there any endpoint in a subset, as far as that can be known.
    pub(super) fn has_endpoints(&self, service: &Service, subset: &api::Subset) -> bool {
        if matches!(service.resolution, Resolution::Passthrough | Resolution::DynamicDns) && !service.is_headless() {
            return true;
        }
        let found = self.snapshot.endpoints.of_service(&service.hostname, service.namespace());
        let mut endpoints = found.iter().flat_map(|found| found.by_port.values().flatten());
        endpoints.any(|endpoint| lateen_mesh::labels::contains_all(&endpoint.labels, &subset.labels))
    }
}
