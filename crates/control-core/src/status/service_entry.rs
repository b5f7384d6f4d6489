//! ServiceEntries: who sees their hosts, and whether anything is behind them.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::fault::{self, Fault};
use super::proxies::Reach;
use super::{Judge, Report};
use crate::resource::{Key, Kind, Resolution, Service};

pub(super) fn judge(judge: &Judge<'_>, all: &mut BTreeMap<Key, Report>) {
    let mut by_entry: BTreeMap<&Key, Vec<&Arc<Service>>> = BTreeMap::new();
    for service in judge.snapshot.services.iter().filter(|service| service.source.kind == Kind::ServiceEntry) {
        service.sources().for_each(|source| by_entry.entry(source).or_default().push(service));
    }
    for (key, services) in by_entry {
        all.insert(key.clone(), report(judge, &services));
    }
}

fn report(judge: &Judge<'_>, services: &[&Arc<Service>]) -> Report {
    let reached = |reach: &Reach<'_>, service: &Service| {
        reach.scope.service(&service.hostname).is_some_and(|found| found.source == service.source)
    };
    let by_any = |reach: &&Reach<'_>| services.iter().any(|service| reached(reach, service));
    let proxies = judge.reaches.iter().filter(by_any).map(|reach| reach.count).sum();
    let mut faults = Vec::new();
    for service in services {
        if !judge.reaches.is_empty() && !judge.reaches.iter().any(|reach| reached(reach, service)) {
            faults.push(why_hidden(judge, service));
        }
        faults.extend(without_endpoints(judge, service));
    }
    Report::new(proxies, faults)
}

fn why_hidden(judge: &Judge<'_>, service: &Service) -> Fault {
    let host = &service.hostname;
    let other = judge.reaches.iter().find_map(|reach| reach.scope.service(host));
    match other {
        Some(other) => {
            let text = format!("hosts: {} already has {host}, and comes first; use another name", other.source);
            Fault::new(fault::SHADOWED, text)
        }
        None => {
            let text = format!("hosts: no proxy sees {host}; look at exportTo and at the Sidecars");
            Fault::new(fault::NOT_EXPORTED, text)
        }
    }
}

fn without_endpoints(judge: &Judge<'_>, service: &Service) -> Option<Fault> {
    let needs_some = service.resolution == Resolution::Endpoints
        || (!service.selector.is_empty() && service.resolution != Resolution::Passthrough);
    let found = judge.snapshot.endpoints.of_service(&service.hostname, service.namespace());
    let has_some = found.is_some_and(|found| found.by_port.values().any(|all| !all.is_empty()));
    if !needs_some || has_some {
        return None;
    }
    let text = if service.selector.is_empty() {
        format!("endpoints: there is none for {}; requests get 503", service.hostname)
    } else {
        format!("workloadSelector: {}", super::policy::nobody(service.namespace(), &service.selector))
    };
    Some(Fault::new(fault::NO_ENDPOINTS, text))
}
