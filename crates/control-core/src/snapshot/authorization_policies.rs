use std::collections::BTreeMap;

use lateen_api::istio as api;
use lateen_mesh::labels;

use super::Snapshot;
use crate::resource::Config;

/// Label of a workload that the control plane made for a Gateway of the Gateway API.
const GATEWAY: &str = "gateway.networking.k8s.io/gateway-name";
/// Label that says which of them it is.
const GATEWAY_CLASS: &str = "gateway.networking.k8s.io/gateway-class-name";

/// AuthorizationPolicies by namespace, oldest first.
#[derive(Clone, Debug, Default)]
pub struct AuthorizationPolicies {
    by_namespace: BTreeMap<String, Vec<Config<api::AuthorizationPolicy>>>,
}

impl AuthorizationPolicies {
    /// Puts the objects of a namespace, oldest first, in place of those known before.
    pub(crate) fn replace(&mut self, namespace: &str, all: Vec<Config<api::AuthorizationPolicy>>) {
        self.by_namespace.insert(namespace.to_owned(), all);
        self.by_namespace.retain(|_, configs| !configs.is_empty());
    }

    fn in_namespace(&self, namespace: &str) -> &[Config<api::AuthorizationPolicy>] {
        self.by_namespace.get(namespace).map_or(&[], Vec::as_slice)
    }
}

impl Snapshot {
    /// The policies for a workload: those of the mesh's root namespace and of its own that select it.
    pub fn authorization_policies_for<'a>(
        &'a self,
        namespace: &'a str,
        workload: &'a BTreeMap<String, String>,
    ) -> impl Iterator<Item = &'a Config<api::AuthorizationPolicy>> {
        let root = self.mesh.root_namespace();
        let policies = &self.authorization_policies;
        let own = if namespace == root { &[] } else { policies.in_namespace(namespace) };
        let selects = move |policy: &&Config<api::AuthorizationPolicy>| selects(policy, namespace, root, workload);
        policies.in_namespace(root).iter().chain(own).filter(selects)
    }
}

fn selects(
    policy: &Config<api::AuthorizationPolicy>,
    namespace: &str,
    root: &str,
    workload: &BTreeMap<String, String>,
) -> bool {
    let spec = &policy.spec;
    let mut targets = spec.target_ref.iter().chain(&spec.target_refs).peekable();
    if targets.peek().is_none() {
        let wanted = spec.selector.as_ref().map(|selector| &selector.match_labels);
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
