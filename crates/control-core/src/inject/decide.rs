//! Whether a pod gets a proxy.

use std::fmt;

use serde_json::Value;

use super::InjectOptions;

/// Namespaces of the cluster itself, whose pods must start before and without a mesh.
const IGNORED_NAMESPACES: [&str; 4] = ["kube-system", "kube-public", "kube-node-lease", "local-path-storage"];
const INJECT: &str = "sidecar.istio.io/inject";

/// The verdict about one pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// It gets a proxy.
    Inject,
    /// It doesn't, for this reason.
    Skip(Skip),
}

/// Why a pod gets no proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Skip {
    /// It shares the node's network, whose traffic isn't its own.
    HostNetwork,
    /// Its namespace belongs to the cluster.
    SystemNamespace,
    /// Its label or annotation says no.
    PodSaysNo,
    /// A selector of the installation excludes it.
    NeverInjectSelector,
    /// The installation injects only on demand.
    PolicyDisabled,
}

impl fmt::Display for Skip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Skip::HostNetwork => "it has host networking enabled",
            Skip::SystemNamespace => "its namespace belongs to the cluster itself",
            Skip::PodSaysNo => "its label or annotation sidecar.istio.io/inject says no",
            Skip::NeverInjectSelector => "a neverInjectSelector of the installation matches it",
            Skip::PolicyDisabled => "the injection policy is disabled and nothing asks for a proxy",
        })
    }
}

/// Whether `pod` gets a proxy. Which namespaces are asked about at all is up to the webhook's selectors.
pub fn decide(pod: &Value, namespace: &str, options: &InjectOptions) -> Decision {
    if pod["spec"]["hostNetwork"] == true {
        return Decision::Skip(Skip::HostNetwork);
    }
    if IGNORED_NAMESPACES.contains(&namespace) {
        return Decision::Skip(Skip::SystemNamespace);
    }
    match wish(pod) {
        Some(true) => return Decision::Inject,
        Some(false) => return Decision::Skip(Skip::PodSaysNo),
        None => {}
    }
    let selection = &options.selection;
    if selection.never.iter().any(|selector| matches(selector, pod)) {
        return Decision::Skip(Skip::NeverInjectSelector);
    }
    if selection.enabled || selection.always.iter().any(|selector| matches(selector, pod)) {
        return Decision::Inject;
    }
    Decision::Skip(Skip::PolicyDisabled)
}

/// What the pod says itself: its label, else the older annotation. Anything that is neither yes nor no is ignored.
fn wish(pod: &Value) -> Option<bool> {
    let metadata = &pod["metadata"];
    let text = metadata["labels"][INJECT].as_str().or_else(|| metadata["annotations"][INJECT].as_str())?;
    match text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "y" | "on" | "1" => Some(true),
        "false" | "no" | "n" | "off" | "0" => Some(false),
        _ => None,
    }
}

/// Whether a Kubernetes label selector matches the pod. An empty selector matches nothing here: it would switch
/// injection off (or on) for everything by a slip.
fn matches(selector: &Value, pod: &Value) -> bool {
    let labels = &pod["metadata"]["labels"];
    let exact = selector["matchLabels"].as_object();
    let expressions = selector["matchExpressions"].as_array();
    if exact.is_none_or(serde_json::Map::is_empty) && expressions.is_none_or(Vec::is_empty) {
        return false;
    }
    exact.into_iter().flatten().all(|(name, value)| labels[name] == *value)
        && expressions.into_iter().flatten().all(|expression| expression_matches(expression, labels))
}

fn expression_matches(expression: &Value, labels: &Value) -> bool {
    let Some(key) = expression["key"].as_str() else {
        return false;
    };
    let value = labels.get(key);
    let listed = || expression["values"].as_array().is_some_and(|values| values.iter().any(|item| Some(item) == value));
    match expression["operator"].as_str() {
        Some("In") => listed(),
        Some("NotIn") => !listed(),
        Some("Exists") => value.is_some(),
        Some("DoesNotExist") => value.is_none(),
        _ => false,
    }
}
