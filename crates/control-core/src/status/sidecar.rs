//! Sidecars: whose they are.

use std::collections::BTreeMap;

use lateen_api::istio as api;
use lateen_mesh::{Hostname, labels};

use super::fault::{self, Fault};
use super::{Judge, Report};
use crate::resource::{Config, Key, Kind};

pub(super) fn judge(judge: &Judge<'_>, all: &mut BTreeMap<Key, Report>) {
    let mut proxies: BTreeMap<String, usize> = BTreeMap::new();
    for group in judge.proxies.sidecars() {
        if let Some(own) = judge.snapshot.sidecar(&group.view.namespace, &group.view.labels) {
            *proxies.entry(own.full_name()).or_default() += group.count;
        }
    }
    for config in judge.snapshot.sidecars.iter() {
        let count = proxies.get(&config.full_name()).copied().unwrap_or(0);
        let mut faults: Vec<Fault> = why_nowhere(judge, config).filter(|_| count == 0).into_iter().collect();
        faults.extend(unknown_hosts(judge, config));
        let key = Key::new(Kind::Sidecar, &config.meta.namespace, &config.meta.name);
        all.insert(key, Report::new(count, faults));
    }
}

fn why_nowhere(judge: &Judge<'_>, config: &Config<api::Sidecar>) -> Option<Fault> {
    let own = &config.meta.namespace;
    let selector = config.spec.workload_selector.as_ref().map(|s| &s.labels).filter(|l| !l.is_empty());
    let mut here = judge.proxies.sidecars().filter(|group| group.view.namespace == *own);
    let chosen = match selector {
        Some(selector) => here.find(|group| labels::contains_all(&group.view.labels, selector)),
        None => here.next(),
    };
    let Some(group) = chosen else {
        let text = match selector {
            Some(selector) => format!("workloadSelector: {}", super::policy::nobody(own, selector)),
            None => format!("no pod of namespace {own} has a sidecar"),
        };
        let reason = if selector.is_some() { fault::NO_MATCHING_WORKLOADS } else { fault::NO_PROXIES };
        return Some(Fault::new(reason, text));
    };
    let other = judge.snapshot.sidecar(own, &group.view.labels)?;
    let reason = if selector.is_some() { fault::SIDECAR_SHADOWED } else { fault::DEFAULT_SIDECAR_SHADOWED };
    let text = format!("Sidecar {} comes first for the same workloads; merge the two", other.full_name());
    (other.full_name() != config.full_name()).then(|| Fault::new(reason, text))
}

/// Hosts of its listeners that nobody has.
fn unknown_hosts(judge: &Judge<'_>, config: &Config<api::Sidecar>) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (index, listener) in config.spec.egress.iter().enumerate() {
        for (number, entry) in listener.hosts.iter().enumerate() {
            let Some((namespace, name)) = entry.split_once('/').filter(|(of, name)| *of != "~" && *name != "*") else {
                continue;
            };
            let host = Hostname::new(name);
            let right = |owner: &str| match namespace {
                "*" => true,
                "." => owner == config.meta.namespace,
                other => owner == other,
            };
            if !judge.snapshot.services.any_matching(&host, |service| right(service.namespace())) {
                let text = format!("egress[{index}].hosts[{number}]: no service is called {entry}");
                faults.push(Fault::new(fault::HOST_UNKNOWN, text));
            }
        }
    }
    faults
}
