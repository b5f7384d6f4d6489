use std::collections::BTreeMap;
use std::sync::Arc;

use lateen_api::istio as api;
use lateen_mesh::{Hostname, labels};

use super::Snapshot;
use crate::resource::Config;

/// Sidecars by namespace, oldest first.
#[derive(Clone, Debug, Default)]
pub struct Sidecars {
    by_namespace: BTreeMap<String, Vec<Config<api::Sidecar>>>,
}

impl Sidecars {
    /// Puts the objects of a namespace, oldest first, in place of those known before.
    pub(crate) fn replace(&mut self, namespace: &str, all: Vec<Config<api::Sidecar>>) {
        self.by_namespace.insert(namespace.to_owned(), all);
        self.by_namespace.retain(|_, configs| !configs.is_empty());
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Config<api::Sidecar>> {
        self.by_namespace.values().flatten()
    }

    fn without_selector(&self, namespace: &str) -> Option<&Config<api::Sidecar>> {
        self.by_namespace.get(namespace)?.iter().find(|s| selector(s).is_none())
    }
}

fn selector(config: &Config<api::Sidecar>) -> Option<&BTreeMap<String, String>> {
    config.spec.workload_selector.as_ref().map(|s| &s.labels).filter(|l| !l.is_empty())
}

impl Snapshot {
    /// The Sidecar for a workload: one that selects it, else its namespace's, else the root namespace's.
    pub fn sidecar(&self, namespace: &str, workload: &BTreeMap<String, String>) -> Option<&Config<api::Sidecar>> {
        let own = self.sidecars.by_namespace.get(namespace).into_iter().flatten();
        own.clone()
            .find(|s| selector(s).is_some_and(|l| labels::contains_all(workload, l)))
            .or_else(|| self.sidecars.without_selector(namespace))
            .or_else(|| self.sidecars.without_selector(self.mesh.root_namespace()))
    }
}

/// Which hosts a workload may reach; no Sidecar means all.
#[derive(Clone, Debug, Default)]
pub struct EgressScope {
    /// The Sidecar, if it restricts.
    sidecar: Option<Arc<api::Sidecar>>,
    namespace: String,
}

impl EgressScope {
    /// The scope that `sidecar`, an object that applies to workloads of `namespace`, sets.
    pub fn new(sidecar: Option<&Config<api::Sidecar>>, namespace: &str) -> Self {
        let restricting = sidecar.filter(|s| !s.spec.egress.is_empty());
        Self { sidecar: restricting.map(|s| s.spec.clone()), namespace: namespace.to_owned() }
    }

    /// Is `host` of an object in `namespace` in reach on `port`.
    pub fn includes(&self, namespace: &str, host: &Hostname, port: Option<u16>) -> bool {
        let Some(sidecar) = &self.sidecar else {
            return true;
        };
        sidecar.egress.iter().any(|listener| {
            let listener_port = listener.port.as_ref().map(|p| p.number);
            let right_port = match (listener_port, port) {
                (Some(own), Some(asked)) => own == u32::from(asked),
                _ => true,
            };
            right_port && listener.hosts.iter().any(|entry| self.entry_includes(entry, namespace, host))
        })
    }

    fn entry_includes(&self, entry: &str, namespace: &str, host: &Hostname) -> bool {
        let (ns, dns) = entry.split_once('/').unwrap_or(("*", entry));
        let right_namespace = match ns {
            "*" => true,
            "." => namespace == self.namespace,
            "~" => false,
            other => namespace == other,
        };
        right_namespace && Hostname::new(dns).matches(host)
    }
}
