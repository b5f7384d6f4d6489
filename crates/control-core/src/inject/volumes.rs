//! The volumes that proxies read their identity and configuration from.

use serde_json::{Value, json};

use super::{options::InjectOptions, settings::Settings};

/// A volume and where the proxy sees it.
pub(super) struct Mounted {
    pub name: &'static str,
    pub path: &'static str,
    pub source: Value,
}

fn empty(name: &'static str, path: &'static str) -> Mounted {
    Mounted { name, path, source: json!({ "emptyDir": {} }) }
}

pub(super) fn workload_socket() -> Mounted {
    empty("workload-socket", "/var/run/secrets/workload-spiffe-uds")
}

pub(super) fn credential_socket() -> Mounted {
    empty("credential-socket", "/var/run/secrets/credential-uds")
}

pub(super) fn workload_certs() -> Mounted {
    empty("workload-certs", "/var/run/secrets/workload-spiffe-credentials")
}

/// The CA's root certificate.
pub(super) fn root_certificate() -> Mounted {
    let source = json!({ "configMap": { "name": "istio-ca-root-cert" } });
    Mounted { name: "istiod-ca-cert", path: "/var/run/secrets/istio", source }
}

/// The CA's revocation list, where there is one.
pub(super) fn revocations() -> Mounted {
    let source = json!({ "configMap": { "name": "istio-ca-crl", "optional": true } });
    Mounted { name: "istio-ca-crl", path: "/var/run/secrets/istio/crl", source }
}

pub(super) fn data() -> Mounted {
    empty("istio-data", "/var/lib/istio/data")
}

/// Scratch space for configuration, in memory.
pub(super) fn scratch(name: &'static str) -> Mounted {
    Mounted { name, path: "/etc/istio/proxy", source: json!({ "emptyDir": { "medium": "Memory" } }) }
}

/// The ServiceAccount token that proves the workload's identity to istiod.
pub(super) fn token() -> Mounted {
    let source = json!({ "projected": { "sources": [{
        "serviceAccountToken": { "audience": "istio-ca", "expirationSeconds": 43200, "path": "istio-token" },
    }] } });
    Mounted { name: "istio-token", path: "/var/run/secrets/tokens", source }
}

/// The pod's own labels and annotations.
pub(super) fn pod_info() -> Mounted {
    let source = json!({ "downwardAPI": { "items": [
        { "path": "labels", "fieldRef": { "fieldPath": "metadata.labels" } },
        { "path": "annotations", "fieldRef": { "fieldPath": "metadata.annotations" } },
    ] } });
    Mounted { name: "istio-podinfo", path: "/etc/istio/pod", source }
}

/// The mounts of a container, in this order.
pub(super) fn mounts(volumes: &[Mounted]) -> Vec<Value> {
    volumes.iter().map(|volume| json!({ "name": volume.name, "mountPath": volume.path })).collect()
}

/// The volumes of the pod, named in the order that `names` gives; those unnamed follow.
pub(super) fn declarations(volumes: &[Mounted], names: &[&str]) -> Vec<Value> {
    let rank = |name: &str| names.iter().position(|known| *known == name).unwrap_or(names.len());
    let mut sorted: Vec<&Mounted> = volumes.iter().collect();
    sorted.sort_by_key(|volume| rank(volume.name));
    let declare = |volume: &&Mounted| {
        let mut declared = volume.source.clone();
        declared["name"] = json!(volume.name);
        declared
    };
    sorted.iter().map(declare).collect()
}

/// The certificates of the namespace's `istio.default` Secret, with their mount.
pub(super) fn mtls_certs(pod: &Value, options: &InjectOptions) -> Option<(Value, Value)> {
    let account = pod["spec"]["serviceAccountName"].as_str().unwrap_or("default");
    options.mount_mtls_certs.then(|| {
        (
            json!({ "name": "istio-certs", "secret": { "optional": true, "secretName": format!("istio.{account}") } }),
            json!({ "name": "istio-certs", "mountPath": "/etc/certs/", "readOnly": true }),
        )
    })
}

/// The volumes and mounts that annotations add: the user's, and a bootstrap of their own.
pub(super) fn from_annotations(settings: &Settings<'_>) -> (Vec<Value>, Vec<Value>) {
    let mut volumes = named_items(settings.annotation("sidecar.istio.io/userVolume"));
    let mut mounts = named_items(settings.annotation("sidecar.istio.io/userVolumeMount"));
    if let Some(config_map) = settings.annotation("sidecar.istio.io/bootstrapOverride") {
        volumes.push(json!({ "name": "custom-bootstrap-volume", "configMap": { "name": config_map } }));
        mounts.push(json!({ "name": "custom-bootstrap-volume", "mountPath": "/etc/istio/custom-bootstrap" }));
    }
    (volumes, mounts)
}

/// A JSON list of items, or an object whose keys are their names.
fn named_items(text: Option<&str>) -> Vec<Value> {
    let parsed = text.and_then(|text| serde_json::from_str::<Value>(text).ok());
    match parsed {
        Some(Value::Array(items)) => items,
        Some(Value::Object(fields)) => fields
            .into_iter()
            .map(|(name, mut item)| {
                item["name"] = json!(name);
                item
            })
            .collect(),
        _ => Vec::new(),
    }
}
