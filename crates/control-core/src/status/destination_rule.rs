//! DestinationRules: for whose calls they are the rule, and whether their subsets have pods.

use std::collections::BTreeMap;
use std::sync::Arc;

use lateen_api::istio as api;
use lateen_mesh::Hostname;

use super::fault::{self, Fault};
use super::proxies::Reach;
use super::{Judge, Report};
use crate::resource::{Config, Key, Kind, Service};
use crate::snapshot::TrafficRule;

type DestinationRule = Config<api::DestinationRule>;

pub(super) fn judge(judge: &Judge<'_>, all: &mut BTreeMap<Key, Report>) {
    for config in judge.snapshot.destination_rules.declared() {
        let key = Key::new(Kind::DestinationRule, &config.meta.namespace, &config.meta.name);
        let Some((rule, older)) = judge.snapshot.destination_rules.part_of(config) else { continue };
        all.insert(key, One { judge, config, host: &rule.host, rule, older }.report());
    }
}

/// One DestinationRule that is looked at.
struct One<'a> {
    judge: &'a Judge<'a>,
    config: &'a DestinationRule,
    host: &'a Hostname,
    /// The rule that it is part of, with the older objects that are.
    rule: &'a TrafficRule,
    older: Vec<&'a DestinationRule>,
}

impl<'a> One<'a> {
    fn report(&self) -> Report {
        let services = self.services();
        if services.is_empty() {
            let text = format!("host: no service is called {}; correct the name, or create it", self.host);
            return Report::new(0, vec![Fault::new(fault::RULE_HOST_UNKNOWN, text)]);
        }
        let is_in_effect = |reach: &&Reach<'_>| services.iter().any(|service| self.is_rule_for(reach, service));
        let proxies = self.judge.reaches.iter().filter(is_in_effect).map(|reach| reach.count).sum();
        let mut faults = Vec::new();
        if proxies == 0 && !self.judge.reaches.is_empty() {
            faults.push(self.why_nowhere(&services));
        }
        if proxies > 0 {
            faults.extend(self.overruled());
        }
        if !self.host.is_wildcard() {
            faults.extend(self.subset_faults(services[0]));
            faults.extend(self.port_faults(services[0]));
        }
        Report::new(proxies, faults)
    }

    /// The services that its host covers.
    fn services(&self) -> Vec<&'a Arc<Service>> {
        let all = &self.judge.snapshot.services;
        if !self.host.is_wildcard() {
            return all.of_host(self.host).iter().collect();
        }
        all.iter().filter(|service| self.host.covers(&service.hostname)).collect()
    }

    /// The rule for calls of these proxies to a service, if they see that.
    fn rule_for(&self, reach: &Reach<'a>, service: &Service) -> Option<&'a TrafficRule> {
        let view = reach.scope.view;
        reach.scope.service(&service.hostname)?;
        self.judge.snapshot.destination_rule(&view.namespace, &view.labels, &service.hostname, service.namespace())
    }

    fn is_rule_for(&self, reach: &Reach<'a>, service: &Service) -> bool {
        self.rule_for(reach, service).is_some_and(|rule| std::ptr::eq(rule, self.rule))
    }

    fn why_nowhere(&self, services: &[&'a Arc<Service>]) -> Fault {
        if let Some(selector) = &self.config.spec.workload_selector {
            let own = &self.config.meta.namespace;
            let chosen = |view: &crate::view::ProxyView| {
                view.namespace == *own && lateen_mesh::labels::contains_all(&view.labels, &selector.match_labels)
            };
            if self.judge.proxies.count(chosen) == 0 {
                let text = format!("workloadSelector: {}", super::policy::nobody(own, &selector.match_labels));
                return Fault::new(fault::NO_MATCHING_WORKLOADS, text);
            }
        }
        let mut pairs = self.judge.reaches.iter().flat_map(|reach| services.iter().map(move |s| (reach, s)));
        match pairs.find_map(|(reach, service)| self.rule_for(reach, service)) {
            Some(other) => {
                let text = format!(
                    "DestinationRule {}/{} (host {}) comes first wherever this one could count; merge the two",
                    other.namespace, other.name, other.host
                );
                Fault::new(fault::SHADOWED, text)
            }
            None => {
                let text = format!("no proxy that sees {} sees this rule; look at exportTo", self.host);
                Fault::new(fault::NOT_EXPORTED, text)
            }
        }
    }

    /// What older rules for the same host say in place of this one.
    fn overruled(&self) -> Vec<Fault> {
        let older = &self.older;
        let mut faults = Vec::new();
        let with_policy = older.iter().find(|rule| rule.spec.traffic_policy.is_some());
        if let Some(other) = with_policy.filter(|_| self.config.spec.traffic_policy.is_some()) {
            let text = format!("trafficPolicy: that of the older DestinationRule {} counts", other.full_name());
            faults.push(Fault::new(fault::SHADOWED, text));
        }
        for (index, subset) in self.config.spec.subsets.iter().enumerate() {
            let has = |rule: &&&DestinationRule| rule.spec.subsets.iter().any(|other| other.name == subset.name);
            if let Some(other) = older.iter().find(has) {
                let (name, other) = (&subset.name, other.full_name());
                let text = format!("subsets[{index}]: subset {name} of the older DestinationRule {other} counts");
                faults.push(Fault::new(fault::SHADOWED, text));
            }
        }
        faults
    }

    fn subset_faults(&self, service: &Service) -> Vec<Fault> {
        let subsets = self.config.spec.subsets.iter().enumerate();
        let empty = subsets.filter(|(_, subset)| !self.judge.has_endpoints(service, subset));
        empty
            .map(|(index, subset)| {
                let wanted: Vec<String> = subset.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
                let text = format!(
                    "subsets[{index}]: no pod of {} has the labels {} of subset {}; requests to it get 503",
                    self.host,
                    wanted.join(","),
                    subset.name
                );
                Fault::new(fault::SUBSET_WITHOUT_PODS, text)
            })
            .collect()
    }

    fn port_faults(&self, service: &Service) -> Vec<Fault> {
        let policies = self.config.spec.traffic_policy.iter().flat_map(|policy| &policy.port_level_settings);
        let numbers = policies.enumerate().filter_map(|(index, policy)| Some((index, policy.port.as_ref()?.number)));
        numbers
            .filter(|(_, number)| !service.ports.iter().any(|port| u32::from(port.number) == *number))
            .map(|(index, number)| {
                let text = format!("trafficPolicy.portLevelSettings[{index}]: {} has no port {number}", self.host);
                Fault::new(fault::PORT_MISMATCH, text)
            })
            .collect()
    }
}
