//! Gateways: which proxies serve which of their servers.

use std::collections::{BTreeMap, BTreeSet};

use lateen_api::istio as api;
use lateen_api::istio::ServerTlsMode;

use super::fault::{self, Fault};
use super::proxies::{Group, Proxies};
use super::{Judge, Report};
use crate::reads::ReadSet;
use crate::resource::{Config, Key, Kind};
use crate::snapshot::Snapshot;
use crate::translate::gateway::{self, Front};

/// Which servers of Gateways are served, and by whom.
pub(super) struct Served<'a> {
    by_gateway: BTreeMap<String, BTreeMap<usize, Vec<&'a Group>>>,
}

impl<'a> Served<'a> {
    pub(super) fn new(proxies: &'a Proxies, snapshot: &Snapshot) -> Self {
        let mut by_gateway: BTreeMap<String, BTreeMap<usize, Vec<&'a Group>>> = BTreeMap::new();
        for group in proxies.groups.iter().filter(|group| !group.view.is_sidecar()) {
            let ports = gateway::ports(&group.view, snapshot, &mut ReadSet::new());
            for server in ports.iter().flat_map(|port| &port.servers) {
                let all = &server.gateway.spec.servers;
                let Some(index) = all.iter().position(|spec| std::ptr::eq(spec, server.spec)) else { continue };
                let servers = by_gateway.entry(server.gateway.full_name()).or_default();
                servers.entry(index).or_default().push(group);
            }
        }
        Served { by_gateway }
    }

    /// The proxies that serve a server of a Gateway (`namespace/name`).
    pub(super) fn by(&self, gateway: &str, server: usize) -> &[&'a Group] {
        self.by_gateway.get(gateway).and_then(|servers| servers.get(&server)).map_or(&[], Vec::as_slice)
    }

    /// The proxies that serve any server of it.
    fn by_any(&self, gateway: &str) -> usize {
        let groups = self.by_gateway.get(gateway).into_iter().flat_map(|servers| servers.values().flatten());
        let distinct: BTreeMap<*const Group, usize> =
            groups.map(|group| (std::ptr::from_ref(*group), group.count)).collect();
        distinct.values().sum()
    }
}

pub(super) fn judge(judge: &Judge<'_>, all: &mut BTreeMap<Key, Report>) {
    for config in judge.snapshot.gateways.iter() {
        let key = Key::new(Kind::Gateway, &config.meta.namespace, &config.meta.name);
        all.insert(key, report(judge, config));
    }
}

fn report(judge: &Judge<'_>, config: &Config<api::Gateway>) -> Report {
    let snapshot = judge.snapshot;
    let routers = judge.proxies.groups.iter().filter(|group| !group.view.is_sidecar());
    let fronted: Vec<(&Group, Vec<_>)> = routers
        .filter_map(|group| {
            let targets = snapshot.service_targets(&group.view.addresses);
            Front::of(config, &group.view, &targets).is_some().then_some((group, targets))
        })
        .collect();
    if fronted.is_empty() {
        let wanted: Vec<String> = config.spec.selector.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let text = format!("selector: no gateway runs in a pod with the labels {}", wanted.join(","));
        return Report::new(0, vec![Fault::new(fault::NO_MATCHING_WORKLOADS, text)]);
    }
    let mut faults = Vec::new();
    for (index, server) in config.spec.servers.iter().enumerate() {
        let port = server.port.number;
        let serving = judge.gateways.by(&config.full_name(), index);
        if serving.is_empty() {
            let text = format!(
                "servers[{index}]: port {port} is taken by an older Gateway with the same hosts or another protocol"
            );
            faults.push(Fault::new(fault::SERVER_SHADOWED, text));
            continue;
        }
        let reachable = fronted.iter().any(|(_, targets)| {
            let leads_here = |number: u16| u32::from(number) == port;
            targets.is_empty() || targets.iter().any(|t| leads_here(t.port.number) || leads_here(t.target_port))
        });
        if !reachable {
            let text = format!("servers[{index}]: no Service of these gateways has port {port}; add it there");
            faults.push(Fault::new(fault::SERVER_PORT_MISMATCH, text));
        }
        faults.extend(credentials(snapshot, index, server, serving));
    }
    Report::new(judge.gateways.by_any(&config.full_name()), faults)
}

/// Secrets that a server names and that are not where its proxies look.
fn credentials(snapshot: &Snapshot, index: usize, server: &api::Server, serving: &[&Group]) -> Vec<Fault> {
    let Some(tls) = &server.tls else { return Vec::new() };
    if !matches!(tls.mode, Some(ServerTlsMode::Simple | ServerTlsMode::Mutual | ServerTlsMode::OptionalMutual)) {
        return Vec::new();
    }
    let names = tls.credential_names.iter().chain([&tls.credential_name]).chain([&tls.ca_cert_credential_name]);
    let namespaces: BTreeSet<&String> = serving.iter().map(|group| &group.view.namespace).collect();
    let absent = names.filter(|name| !name.is_empty()).flat_map(|name| {
        let short = name.strip_prefix("kubernetes://").unwrap_or(name);
        let is_absent = |namespace: &&&String| {
            let id = match short.split_once('/') {
                Some((of, name)) => (of.to_owned(), name.to_owned()),
                None => ((**namespace).clone(), short.to_owned()),
            };
            !snapshot.credentials.contains_key(&id)
        };
        namespaces.iter().filter(is_absent).map(move |namespace| (name, *namespace))
    });
    absent
        .map(|(name, namespace)| {
            let text = format!(
                "servers[{index}].tls: namespace {namespace} has no Secret {name} with a certificate; \
                 clients cannot connect"
            );
            Fault::new(fault::CREDENTIAL_ABSENT, text)
        })
        .collect()
}
