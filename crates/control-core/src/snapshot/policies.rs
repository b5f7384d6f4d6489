//! Policies that are attached to workloads: by labels, or by naming what they are for.

use std::collections::BTreeMap;

use lateen_api::istio as api;
use lateen_mesh::labels;

use super::Snapshot;
use crate::resource::Config;

/// Label of a workload that the control plane made for a Gateway of the Gateway API.
const GATEWAY: &str = "gateway.networking.k8s.io/gateway-name";
/// Label that says which of them it is.
const GATEWAY_CLASS: &str = "gateway.networking.k8s.io/gateway-class-name";

/// Policies of a kind by namespace, oldest first.
#[derive(Clone, Debug)]
pub struct Policies<T> {
    by_namespace: BTreeMap<String, Vec<Config<T>>>,
}

impl<T> Default for Policies<T> {
    fn default() -> Self {
        Self { by_namespace: BTreeMap::new() }
    }
}

/// What a policy says about the workloads that it is for.
pub trait Attached {
    /// Their labels.
    fn selector(&self) -> Option<&api::WorkloadSelector>;
    /// The objects that stand for them.
    fn targets(&self) -> impl Iterator<Item = &api::TargetRef>;
}

impl Attached for api::AuthorizationPolicy {
    fn selector(&self) -> Option<&api::WorkloadSelector> {
        self.selector.as_ref()
    }

    fn targets(&self) -> impl Iterator<Item = &api::TargetRef> {
        self.target_ref.iter().chain(&self.target_refs)
    }
}

impl Attached for api::RequestAuthentication {
    fn selector(&self) -> Option<&api::WorkloadSelector> {
        self.selector.as_ref()
    }

    fn targets(&self) -> impl Iterator<Item = &api::TargetRef> {
        self.target_ref.iter().chain(&self.target_refs)
    }
}

impl<T: Attached> Policies<T> {
    /// Puts the objects of a namespace, oldest first, in place of those known before.
    pub(crate) fn replace(&mut self, namespace: &str, all: Vec<Config<T>>) {
        self.by_namespace.insert(namespace.to_owned(), all);
        self.by_namespace.retain(|_, configs| !configs.is_empty());
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Config<T>> {
        self.by_namespace.values().flatten()
    }

    fn in_namespace(&self, namespace: &str) -> &[Config<T>] {
        self.by_namespace.get(namespace).map_or(&[], Vec::as_slice)
    }

    /// Those of the mesh's root namespace and of a workload's own that select it.
    fn of_workload<'a>(
        &'a self,
        namespace: &'a str,
        root: &'a str,
        workload: &'a BTreeMap<String, String>,
    ) -> [impl Iterator<Item = &'a Config<T>>; 2] {
        let own = if namespace == root { &[] } else { self.in_namespace(namespace) };
        let selected =
            |some: &'a [Config<T>]| some.iter().filter(move |policy| selects(policy, namespace, root, workload));
        [selected(self.in_namespace(root)), selected(own)]
    }
}

impl Snapshot {
    /// The authorization policies for a workload.
    pub fn authorization_policies_for<'a>(
        &'a self,
        namespace: &'a str,
        workload: &'a BTreeMap<String, String>,
    ) -> impl Iterator<Item = &'a Config<api::AuthorizationPolicy>> {
        let [root, own] = self.authorization_policies.of_workload(namespace, self.mesh.root_namespace(), workload);
        root.chain(own)
    }

    /// What a workload wants of the tokens of requests; its own namespace comes first.
    pub fn request_authentications_for<'a>(
        &'a self,
        namespace: &'a str,
        workload: &'a BTreeMap<String, String>,
    ) -> impl Iterator<Item = &'a Config<api::RequestAuthentication>> {
        let [root, own] = self.request_authentications.of_workload(namespace, self.mesh.root_namespace(), workload);
        own.chain(root)
    }
}

fn selects<T: Attached>(policy: &Config<T>, namespace: &str, root: &str, workload: &BTreeMap<String, String>) -> bool {
    let mut targets = policy.spec.targets().peekable();
    if targets.peek().is_none() {
        let wanted = policy.spec.selector().map(|selector| &selector.match_labels);
        return wanted.is_none_or(|wanted| labels::contains_all(workload, wanted));
    }
    let own = |label: &str, name: &str| workload.get(label).is_some_and(|of_workload| of_workload == name);
    targets.any(|target| match (target.group.as_str(), target.kind.as_str()) {
        ("gateway.networking.k8s.io", "Gateway") => policy.meta.namespace == namespace && own(GATEWAY, &target.name),
        ("gateway.networking.k8s.io", "GatewayClass") => {
            policy.meta.namespace == root && own(GATEWAY_CLASS, &target.name)
        }
        // Services and ServiceEntries are enforced by waypoints.
        _ => false,
    })
}
