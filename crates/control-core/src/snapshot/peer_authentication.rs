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

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Config<api::PeerAuthentication>> {
        self.by_namespace.values().flatten()
    }

    fn in_namespace(&self, namespace: &str) -> &[Config<api::PeerAuthentication>] {
        self.by_namespace.get(namespace).map_or(&[], Vec::as_slice)
    }

    /// The policy for all workloads of a namespace, if it says anything.
    fn for_namespace(&self, namespace: &str) -> Option<(&Config<api::PeerAuthentication>, api::MutualTlsMode)> {
        let all = self.in_namespace(namespace).iter().find(|c| selector(c).is_none())?;
        Some((all, mode(all.spec.mtls)?))
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
    /// The name of the policy for a namespace's workloads in general, if there is one.
    pub fn namespace_peer_authentication(&self, namespace: &str) -> Option<&str> {
        let all = self.peer_authentications.in_namespace(namespace);
        all.iter().find(|c| selector(c).is_none()).map(|c| c.meta.name.as_str())
    }

    /// What a workload accepts: its own policy, else its namespace's, else the mesh's, else PERMISSIVE.
    pub fn workload_mtls(&self, namespace: &str, workload: &BTreeMap<String, String>) -> WorkloadMtls {
        let inherited = self.namespace_mtls(namespace);
        let Some(own) = self.selecting_peer_authentication(namespace, workload) else {
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
        self.inherited_peer_authentication(namespace).map_or(MtlsMode::Permissive, |(_, mode)| effective(mode))
    }

    /// The policies that say what a workload accepts: its own, and that of its namespace or of the mesh where that
    /// leaves something open.
    pub fn peer_authentications_for(
        &self,
        namespace: &str,
        workload: &BTreeMap<String, String>,
    ) -> Vec<&Config<api::PeerAuthentication>> {
        let own = self.selecting_peer_authentication(namespace, workload);
        let inherits = own.is_none_or(|own| mode(own.spec.mtls).is_none());
        let inherited = self.inherited_peer_authentication(namespace).filter(|_| inherits);
        own.into_iter().chain(inherited.map(|(policy, _)| policy)).collect()
    }

    fn selecting_peer_authentication(
        &self,
        namespace: &str,
        workload: &BTreeMap<String, String>,
    ) -> Option<&Config<api::PeerAuthentication>> {
        let mut all = self.peer_authentications.in_namespace(namespace).iter();
        all.find(|c| selector(c).is_some_and(|s| labels::contains_all(workload, s)))
            .filter(|_| namespace != self.mesh.root_namespace())
    }

    fn inherited_peer_authentication(
        &self,
        namespace: &str,
    ) -> Option<(&Config<api::PeerAuthentication>, api::MutualTlsMode)> {
        let policies = &self.peer_authentications;
        policies.for_namespace(namespace).or_else(|| policies.for_namespace(self.mesh.root_namespace()))
    }
}
