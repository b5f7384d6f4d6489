use std::collections::BTreeMap;
use std::sync::Arc;

use lateen_api::istio as api;
use lateen_mesh::{Hostname, labels};

use super::{Snapshot, WILDCARDS};
use crate::resource::Config;

/// A DestinationRule as it applies: rules for the same host and namespace are one.
#[derive(Clone, Debug, PartialEq)]
pub struct TrafficRule {
    /// Fully qualified host or wildcard.
    pub host: Hostname,
    /// Namespace and name of the first object.
    pub namespace: String,
    /// Name of the first object.
    pub name: String,
    /// Merged content.
    pub spec: Arc<api::DestinationRule>,
    /// The objects it is made of, by their place in the namespace.
    parts: Vec<usize>,
}

impl TrafficRule {
    fn is_for(&self, host: &Hostname, spec: &api::DestinationRule) -> bool {
        self.host == *host
            && self.spec.workload_selector == spec.workload_selector
            && self.spec.export_to == spec.export_to
    }
}

/// The rules of a namespace.
#[derive(Clone, Debug, Default)]
struct OfNamespace {
    /// The objects, oldest first.
    declared: Vec<Config<api::DestinationRule>>,
    /// The rules, oldest first.
    rules: Vec<TrafficRule>,
    /// Places of the rules for a host.
    by_host: BTreeMap<Hostname, Vec<usize>>,
}

impl OfNamespace {
    fn new(namespace: &str, declared: Vec<Config<api::DestinationRule>>) -> Self {
        let mut all = Self::default();
        for (part, config) in declared.iter().enumerate() {
            let host = Hostname::resolve(&config.spec.host, namespace, "cluster.local");
            let places = all.by_host.entry(host.clone()).or_default();
            if let Some(same) = places.iter().find(|place| all.rules[**place].is_for(&host, &config.spec)) {
                let rule = &mut all.rules[*same];
                rule.spec = Arc::new(merged(&rule.spec, &config.spec));
                rule.parts.push(part);
                continue;
            }
            places.push(all.rules.len());
            all.rules.push(TrafficRule {
                host,
                namespace: namespace.to_owned(),
                name: config.meta.name.clone(),
                spec: config.spec.clone(),
                parts: vec![part],
            });
        }
        Self { declared, ..all }
    }

    /// The rules whose host covers `host`.
    fn covering<'a>(&'a self, host: &Hostname) -> impl Iterator<Item = &'a TrafficRule> {
        let exact = self.by_host.get(host).filter(|_| !host.is_wildcard());
        let wildcards = self.by_host.range::<str, _>(WILDCARDS);
        let covering = wildcards.filter(|(own, _)| own.covers(host)).map(|(_, places)| places);
        exact.into_iter().chain(covering).flatten().map(|place| &self.rules[*place])
    }
}

/// DestinationRules by namespace, merged, oldest first.
#[derive(Clone, Debug, Default)]
pub struct DestinationRules {
    by_namespace: BTreeMap<String, Arc<OfNamespace>>,
}

impl DestinationRules {
    /// Puts the DestinationRules of a namespace, oldest first, in place of those known before.
    pub(crate) fn replace(&mut self, namespace: &str, all: Vec<Config<api::DestinationRule>>) {
        if all.is_empty() {
            self.by_namespace.remove(namespace);
        } else {
            self.by_namespace.insert(namespace.to_owned(), Arc::new(OfNamespace::new(namespace, all)));
        }
    }

    /// The objects as written, by namespace.
    pub fn declared(&self) -> impl Iterator<Item = &Config<api::DestinationRule>> {
        self.by_namespace.values().flat_map(|of| &of.declared)
    }

    /// The rule that an object is part of, and the older objects that are.
    pub fn part_of(
        &self,
        config: &Config<api::DestinationRule>,
    ) -> Option<(&TrafficRule, Vec<&Config<api::DestinationRule>>)> {
        let of = self.by_namespace.get(&config.meta.namespace)?;
        let host = Hostname::resolve(&config.spec.host, &config.meta.namespace, "cluster.local");
        let places = of.by_host.get(&host)?.iter();
        let mut rules = places.map(|place| &of.rules[*place]);
        let rule = rules.find(|rule| rule.is_for(&host, &config.spec))?;
        let parts = rule.parts.iter().map(|part| &of.declared[*part]);
        Some((rule, parts.take_while(|part| part.meta.name != config.meta.name).collect()))
    }

    /// Does any rule of a namespace choose the callers that it is for.
    pub fn selects_callers(&self, namespace: &str) -> bool {
        let of = self.by_namespace.get(namespace);
        of.is_some_and(|of| of.rules.iter().any(|rule| rule.spec.workload_selector.is_some()))
    }

    fn best<'a>(
        &'a self,
        namespace: &str,
        host: &Hostname,
        applies: impl Fn(&TrafficRule) -> bool,
    ) -> Option<&'a TrafficRule> {
        let fitting = self.by_namespace.get(namespace)?.covering(host).filter(|rule| applies(rule));
        fitting.min_by(|a, b| {
            let unselective = |r: &TrafficRule| r.spec.workload_selector.is_none();
            let by_age = a.parts[0].cmp(&b.parts[0]);
            a.host.by_specificity(&b.host).then(unselective(a).cmp(&unselective(b))).then(by_age)
        })
    }
}

/// Subsets of both; the first policy there is.
fn merged(first: &api::DestinationRule, second: &api::DestinationRule) -> api::DestinationRule {
    let mut all = first.clone();
    for subset in &second.subsets {
        if all.subsets.iter().all(|s| s.name != subset.name) {
            all.subsets.push(subset.clone());
        }
    }
    if all.traffic_policy.is_none() {
        all.traffic_policy.clone_from(&second.traffic_policy);
    }
    all
}

impl Snapshot {
    /// The rule for calls to `host` (a service of `service_namespace`) from a workload of `namespace` with these
    /// labels: the caller's namespace is asked first, then the service's, then the root namespace.
    pub fn destination_rule(
        &self,
        namespace: &str,
        workload: &BTreeMap<String, String>,
        host: &Hostname,
        service_namespace: &str,
    ) -> Option<&TrafficRule> {
        let selected = |r: &TrafficRule| match &r.spec.workload_selector {
            Some(selector) => r.namespace == namespace && labels::contains_all(workload, &selector.match_labels),
            None => true,
        };
        let exported = |r: &TrafficRule| self.sees_destination_rule(namespace, &r.namespace, &r.spec.export_to);
        let root = self.mesh.root_namespace();
        if namespace != root
            && let Some(own) = self.destination_rules.best(namespace, host, selected)
        {
            return Some(own);
        }
        [service_namespace, root]
            .iter()
            .find_map(|ns| self.destination_rules.best(ns, host, |r| exported(r) && selected(r)))
    }
}
