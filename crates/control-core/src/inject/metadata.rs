//! The labels and annotations of an injected pod, and the record of what was added.

use serde_json::{Map, Value, json};

use super::{PROXY_CONTAINER, STATUS_ANNOTATION, customize::Overrides, settings::Settings};

/// The longest value that a label can have.
const LABEL_LIMIT: usize = 63;

/// The labels by which metrics and the graph name the workload.
pub(super) fn canonical_labels(pod: &Value, settings: &Settings<'_>) -> Map<String, Value> {
    let labels = &pod["metadata"]["labels"];
    let first = |names: [&str; 3], default: &str| {
        let named = names.into_iter().find_map(|name| labels[name].as_str().filter(|value| !value.is_empty()));
        label_value(named.unwrap_or(default))
    };
    let name =
        first(["service.istio.io/canonical-name", "app.kubernetes.io/name", "app"], settings.workload.shown_name(pod));
    let revision = first(["service.istio.io/canonical-revision", "app.kubernetes.io/version", "version"], "latest");
    let mut map = Map::new();
    map.insert("service.istio.io/canonical-name".into(), json!(name));
    map.insert("service.istio.io/canonical-revision".into(), json!(revision));
    if !settings.options.network.is_empty() {
        let network = labels["topology.istio.io/network"].as_str().unwrap_or(&settings.options.network);
        map.insert("topology.istio.io/network".into(), json!(network));
    }
    map
}

/// Cuts a name to what a label takes: 63 bytes, ending in a letter or digit.
fn label_value(text: &str) -> String {
    let mut end = text.len().min(LABEL_LIMIT);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].trim_end_matches(['-', '_', '.']).to_owned()
}

/// The annotations of every template that brings a proxy: the revision, and the container that `kubectl logs` and
/// `kubectl exec` mean.
pub(super) fn annotations(pod: &Value, settings: &Settings<'_>) -> Map<String, Value> {
    let mut map = Map::new();
    map.insert("istio.io/rev".into(), json!(settings.options.revision));
    let application = super::containers(pod, "containers").find(|container| container["name"] != PROXY_CONTAINER);
    if let Some(application) = application {
        for name in ["kubectl.kubernetes.io/default-logs-container", "kubectl.kubernetes.io/default-container"] {
            if settings.annotation(name).is_none() {
                map.insert(name.into(), application["name"].clone());
            }
        }
    }
    map
}

/// Records what the templates added, what the user had asked for, and the installation's own annotations.
pub(super) fn finish(pod: &mut Value, overlay: &Value, overrides: &Overrides, settings: &Settings<'_>) {
    let status = json!({
        "initContainers": names(overlay, "initContainers"),
        "containers": names(overlay, "containers"),
        "volumes": names(overlay, "volumes"),
        "imagePullSecrets": names(overlay, "imagePullSecrets"),
        "revision": settings.options.revision,
    });
    let Some(annotations) = super::object_at(&mut pod["metadata"], "annotations") else {
        return;
    };
    for (name, value) in &settings.options.injected_annotations {
        annotations.insert(name.clone(), value.clone());
    }
    if let Some(text) = overrides.annotation() {
        annotations.insert("proxy.istio.io/overrides".into(), json!(text));
    }
    annotations.insert(STATUS_ANNOTATION.into(), json!(status.to_string()));
}

fn names(overlay: &Value, list: &str) -> Option<Vec<Value>> {
    let mut names: Vec<Value> = super::containers(overlay, list).map(|item| item["name"].clone()).collect();
    if list == "containers" {
        names.sort_by(|one, other| one.as_str().cmp(&other.as_str()));
    }
    (!names.is_empty()).then_some(names)
}
