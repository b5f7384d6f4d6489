use std::collections::BTreeMap;
use std::sync::Arc;

use lateen_api::istio as api;
use lateen_mesh::{Hostname, labels};

use super::Snapshot;
use crate::resource::{Config, Service};

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

    /// Is not everything in reach.
    pub fn restricts(&self) -> bool {
        self.sidecar.is_some()
    }

    /// Is `host` of an object in `namespace` in reach on `port`.
    pub fn includes(&self, namespace: &str, host: &Hostname, port: Option<u16>) -> bool {
        !self.restricts()
            || self
                .listeners()
                .any(|listener| port.is_none_or(|port| listener.leaves(port)) && listener.imports(namespace, host))
    }

    /// The listeners of the Sidecar, if it restricts.
    pub fn listeners(&self) -> impl Iterator<Item = EgressListener<'_>> {
        let all = self.sidecar.iter().flat_map(|sidecar| &sidecar.egress);
        all.map(|spec| EgressListener { spec, namespace: &self.namespace })
    }
}

/// One egress listener of a Sidecar.
#[derive(Clone, Copy, Debug)]
pub struct EgressListener<'a> {
    spec: &'a api::IstioEgressListener,
    /// Namespace of the workload.
    namespace: &'a str,
}

impl EgressListener<'_> {
    /// Does it import `host` of an object in `namespace`. What it excludes (`~/host`, `~namespace/host`) it doesn't.
    pub fn imports(&self, namespace: &str, host: &Hostname) -> bool {
        let entries = || self.spec.hosts.iter().filter_map(|entry| entry.split_once('/'));
        let is_excluded = entries().any(|(of, name)| {
            let of = of.strip_prefix('~');
            of.is_some_and(|of| of.is_empty() || self.names(of, namespace)) && Hostname::new(name).covers(host)
        });
        !is_excluded && entries().any(|(of, name)| self.names(of, namespace) && Hostname::new(name).matches(host))
    }

    /// Does it let calls to `port` pass.
    pub fn leaves(&self, port: u16) -> bool {
        self.port().is_none_or(|own| own == u32::from(port))
    }

    /// Does it let calls to any port of `service` pass.
    pub fn leaves_any_port(&self, service: &Service) -> bool {
        self.port().is_none() || service.ports.iter().any(|port| self.leaves(port.number))
    }

    /// The port that it is for; one that proxies HTTP on behalf of its clients is for all.
    fn port(&self) -> Option<u32> {
        let port = self.spec.port.as_ref().filter(|port| !port.protocol.eq_ignore_ascii_case("http_proxy"));
        port.map(|port| port.number)
    }

    fn names(&self, of: &str, namespace: &str) -> bool {
        match of {
            "*" => true,
            "." => namespace == self.namespace,
            other => namespace == other,
        }
    }
}
