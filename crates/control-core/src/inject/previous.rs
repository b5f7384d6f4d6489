//! A pod that was injected before (its manifest was copied from a running one): what was added is taken off first.

use serde_json::Value;

use super::STATUS_ANNOTATION;

const OVERRIDES: &str = "proxy.istio.io/overrides";
const PROBERS: &str = "ISTIO_KUBE_APP_PROBERS";

/// What an earlier injection left in a pod.
pub(super) struct Previous {
    status: Value,
    overrides: Value,
    probers: Option<Value>,
}

impl Previous {
    pub fn of(pod: &Value) -> Previous {
        let parsed = |name: &str| {
            let text = pod["metadata"]["annotations"][name].as_str().unwrap_or("null");
            serde_json::from_str(text).unwrap_or(Value::Null)
        };
        Previous { status: parsed(STATUS_ANNOTATION), overrides: parsed(OVERRIDES), probers: probers(pod) }
    }

    /// The probes that were rewritten then; the pod itself doesn't show them any more.
    pub fn probers(&self) -> Option<&Value> {
        self.probers.as_ref()
    }

    /// The pod as its user wrote it.
    pub fn strip(&self, pod: &Value) -> Value {
        let mut pod = pod.clone();
        if !self.status.is_object() {
            return pod;
        }
        for list in ["initContainers", "containers", "volumes", "imagePullSecrets"] {
            let added = &self.status[list];
            if let Some(items) = pod["spec"].get_mut(list).and_then(Value::as_array_mut) {
                items.retain(|item| !added.as_array().is_some_and(|names| names.contains(&item["name"])));
            }
            let kept = self.overrides[list].as_array();
            if let Some(kept) = kept {
                match pod["spec"].get_mut(list).and_then(Value::as_array_mut) {
                    Some(items) => items.extend(kept.iter().cloned()),
                    None => pod["spec"][list] = Value::Array(kept.clone()),
                }
            }
        }
        if let Some(annotations) = pod["metadata"]["annotations"].as_object_mut() {
            annotations.remove(STATUS_ANNOTATION);
            annotations.remove(OVERRIDES);
        }
        pod
    }
}

fn probers(pod: &Value) -> Option<Value> {
    ["containers", "initContainers"]
        .into_iter()
        .flat_map(|list| super::containers(pod, list))
        .filter_map(|container| container["env"].as_array())
        .flatten()
        .find(|variable| variable["name"] == PROBERS)
        .and_then(|variable| serde_json::from_str(variable["value"].as_str()?).ok())
}
