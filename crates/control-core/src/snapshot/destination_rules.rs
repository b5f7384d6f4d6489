use std::collections::BTreeMap;
use std::sync::Arc;

use lateen_api::istio as api;
use lateen_mesh::{Hostname, labels};

use super::Snapshot;
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
}

/// DestinationRules by namespace, merged, oldest first.
#[derive(Clone, Debug, Default)]
pub struct DestinationRules {
    by_namespace: BTreeMap<String, Vec<TrafficRule>>,
}

impl DestinationRules {
    /// Puts the DestinationRules of a namespace, oldest first, in place of those known before.
    pub(crate) fn replace(&mut self, namespace: &str, all: &[Config<api::DestinationRule>]) {
        let mut rules: Vec<TrafficRule> = Vec::new();
        for config in all {
            let host = Hostname::resolve(&config.spec.host, namespace, "cluster.local");
            let same = rules.iter_mut().find(|r| {
                r.host == host
                    && r.spec.workload_selector == config.spec.workload_selector
                    && r.spec.export_to == config.spec.export_to
            });
            match same {
                Some(rule) => rule.spec = Arc::new(merged(&rule.spec, &config.spec)),
                None => rules.push(TrafficRule {
                    host,
                    namespace: namespace.to_owned(),
                    name: config.meta.name.clone(),
                    spec: config.spec.clone(),
                }),
            }
        }
        self.by_namespace.insert(namespace.to_owned(), rules);
        self.by_namespace.retain(|_, rules| !rules.is_empty());
    }

    fn best<'a>(
        &'a self,
        namespace: &str,
        host: &Hostname,
        applies: impl Fn(&TrafficRule) -> bool,
    ) -> Option<&'a TrafficRule> {
        let rules = self.by_namespace.get(namespace)?;
        let fitting = rules.iter().filter(|r| r.host.covers(host) && applies(r));
        fitting.min_by(|a, b| {
            let unselective = |r: &TrafficRule| r.spec.workload_selector.is_none();
            a.host.by_specificity(&b.host).then(unselective(a).cmp(&unselective(b)))
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
