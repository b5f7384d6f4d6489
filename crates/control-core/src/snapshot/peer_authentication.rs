use std::collections::BTreeMap;

use lateen_api::istio as api;
use lateen_mesh::labels;

use super::Snapshot;
use crate::resource::Config;

/// What a port accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum MtlsMode {
    /// Plain text only.
    Disable,
    /// Plain text and mutual TLS.
    Permissive,
    /// Mutual TLS only.
    Strict,
}

/// PeerAuthentications by namespace, oldest first.
#[derive(Clone, Debug, Default)]
pub struct PeerAuthentications {
    by_namespace: BTreeMap<String, Vec<Config<api::PeerAuthentication>>>,
}

impl PeerAuthentications {
    /// Puts the objects of a namespace, oldest first, in place of those known before.
    pub(crate) fn replace(&mut self, namespace: &str, all: Vec<Config<api::PeerAuthentication>>) {
        self.by_namespace.insert(namespace.to_owned(), all);
        self.by_namespace.retain(|_, configs| !configs.is_empty());
    }

    fn in_namespace(&self, namespace: &str) -> &[Config<api::PeerAuthentication>] {
        self.by_namespace.get(namespace).map_or(&[], Vec::as_slice)
    }

    fn for_namespace(&self, namespace: &str) -> Option<api::MutualTlsMode> {
        let all = self.in_namespace(namespace).iter().find(|c| selector(c).is_none());
        all.and_then(|c| mode(c.spec.mtls))
    }
}

/// The labels that a policy selects by, if it selects.
fn selector(config: &Config<api::PeerAuthentication>) -> Option<&BTreeMap<String, String>> {
    config.spec.selector.as_ref().map(|s| &s.match_labels).filter(|l| !l.is_empty())
}

fn mode(mtls: Option<api::MutualTls>) -> Option<api::MutualTlsMode> {
    mtls.and_then(|m| m.mode).filter(|m| *m != api::MutualTlsMode::Unset)
}

fn effective(mode: api::MutualTlsMode) -> MtlsMode {
    match mode {
        api::MutualTlsMode::Disable => MtlsMode::Disable,
        api::MutualTlsMode::Strict => MtlsMode::Strict,
        api::MutualTlsMode::Permissive | api::MutualTlsMode::Unset => MtlsMode::Permissive,
    }
}

/// What a workload accepts, in general and on single ports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkloadMtls {
    /// Unless a port says otherwise.
    pub default: MtlsMode,
    /// By port of the workload.
    pub ports: BTreeMap<u16, MtlsMode>,
}

impl WorkloadMtls {
    /// What a port of the workload accepts.
    pub fn of_port(&self, port: u16) -> MtlsMode {
        self.ports.get(&port).copied().unwrap_or(self.default)
    }
}

impl Snapshot {
    /// What a workload accepts: its own policy, else its namespace's, else the mesh's, else PERMISSIVE.
    pub fn workload_mtls(&self, namespace: &str, workload: &BTreeMap<String, String>) -> WorkloadMtls {
        let policies = &self.peer_authentications;
        let root = self.mesh.root_namespace();
        let inherited = self.namespace_mtls(namespace);
        let own = policies
            .in_namespace(namespace)
            .iter()
            .filter(|_| namespace != root)
            .find(|c| selector(c).is_some_and(|s| labels::contains_all(workload, s)));
        let Some(own) = own else {
            return WorkloadMtls { default: inherited, ports: BTreeMap::new() };
        };
        let default = mode(own.spec.mtls).map_or(inherited, effective);
        let ports = own
            .spec
            .port_level_mtls
            .iter()
            .filter_map(|(port, mtls)| Some((port.parse().ok()?, mode(Some(*mtls)).map_or(default, effective))));
        WorkloadMtls { default, ports: ports.collect() }
    }

    /// What workloads of a namespace accept that no policy of their own is for.
    pub fn namespace_mtls(&self, namespace: &str) -> MtlsMode {
        let policies = &self.peer_authentications;
        policies
            .for_namespace(namespace)
            .or_else(|| policies.for_namespace(self.mesh.root_namespace()))
            .map_or(MtlsMode::Permissive, effective)
    }
}
