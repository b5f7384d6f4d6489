//! The two ConfigMaps that configure the control plane: the mesh, and the injector.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::InstallOptions;

/// The ConfigMap that holds MeshConfig, under the key `mesh`, and the networks of the mesh under `meshNetworks`.
pub const MESH_CONFIG_MAP: &str = "istio";
/// The ConfigMap that holds the injector's settings, under the keys `config` and `values`.
pub const INJECTOR_CONFIG_MAP: &str = "istio-sidecar-injector";

pub(super) fn mesh_config_map(options: &InstallOptions) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": MESH_CONFIG_MAP,
            "namespace": options.namespace,
            "labels": super::labels(options),
        },
        "data": { "mesh": mesh_yaml(options), "meshNetworks": "networks: {}" },
    })
}

/// MeshConfig as block YAML, because people edit it in place.
fn mesh_yaml(options: &InstallOptions) -> String {
    let mut yaml = String::new();
    if options.access_log {
        yaml.push_str("accessLogFile: /dev/stdout\n");
    }
    let _ = write!(
        yaml,
        "defaultConfig:\n  discoveryAddress: istiod.{ns}.svc:15012\n\
         defaultProviders:\n  metrics:\n  - prometheus\n\
         enablePrometheusMerge: true\n\
         rootNamespace: {ns}\n\
         trustDomain: {td}\n",
        ns = options.namespace,
        td = options.trust_domain,
    );
    yaml
}

pub(super) fn injector_config_map(options: &InstallOptions) -> Value {
    let values = serde_json::to_string_pretty(&injector_values(options)).unwrap_or_default();
    json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": INJECTOR_CONFIG_MAP,
            "namespace": options.namespace,
            "labels": super::labels(options),
        },
        "data": { "config": INJECTOR_CONFIG, "values": values },
    })
}

const INJECTOR_CONFIG: &str = "\
policy: enabled
defaultTemplates: [sidecar]
alwaysInjectSelector: []
neverInjectSelector: []
injectedAnnotations: {}
";

/// The installation values that differ from the injector's own defaults. Istio's names; ours are under `lateen`.
fn injector_values(options: &InstallOptions) -> Value {
    let mut values = json!({
        "revision": "",
        "global": {
            "istioNamespace": options.namespace,
            "proxy": { "image": options.image },
            "proxy_init": { "image": options.image },
            "multiCluster": { "clusterName": options.cluster_id },
        },
        "lateen": {
            "nativeSidecars": options.native_sidecars,
            "captureByMark": options.capture_by_mark,
        },
    });
    if options.local {
        // One machine: a limit of two CPUs for each of fifty sidecars would say nothing.
        values["global"]["proxy"]["resources"] = json!({
            "requests": { "cpu": "10m", "memory": "16Mi" },
            "limits": { "memory": "1Gi" },
        });
    }
    values
}
