//! The template `gateway`: the pod's own `istio-proxy` container becomes a gateway.

use serde_json::{Value, json};

use super::{
    metadata,
    proxy::{self, Kind},
    settings::Settings,
    volumes,
};

/// What the template adds to the pod.
pub(super) fn overlay(pod: &Value, settings: &Settings<'_>) -> Value {
    let mounted = [
        volumes::workload_socket(),
        volumes::credential_socket(),
        volumes::workload_certs(),
        volumes::root_certificate(),
        volumes::data(),
        volumes::scratch("istio-envoy"),
        volumes::token(),
        volumes::pod_info(),
    ];
    let mut annotations = serde_json::Map::new();
    annotations.insert("istio.io/rev".into(), json!(settings.options.revision));
    let mut spec = json!({
        "containers": [container(pod, settings, &mounted)],
        "volumes": volumes::declarations(&mounted, &VOLUME_ORDER),
    });
    // Without privileges a gateway may still listen on 80 and 443.
    if pod["spec"]["securityContext"].get("sysctls").is_none() {
        spec["securityContext"] =
            json!({ "sysctls": [{ "name": "net.ipv4.ip_unprivileged_port_start", "value": "0" }] });
    }
    let secrets = &settings.options.image_pull_secrets;
    if !secrets.is_empty() {
        spec["imagePullSecrets"] = secrets.iter().map(|name| json!({ "name": name })).collect();
    }
    json!({
        "metadata": { "labels": metadata::canonical_labels(pod, settings), "annotations": annotations },
        "spec": spec,
    })
}

const VOLUME_ORDER: [&str; 8] = [
    "workload-socket",
    "credential-socket",
    "workload-certs",
    "istio-envoy",
    "istio-data",
    "istio-podinfo",
    "istio-token",
    "istiod-ca-cert",
];

fn container(pod: &Value, settings: &Settings<'_>, mounted: &[volumes::Mounted]) -> Value {
    let mut container = proxy::container(settings, Kind::Gateway);
    container["env"] = json!(proxy::environment(pod, settings, Kind::Gateway));
    container["volumeMounts"] = json!(volumes::mounts(mounted));
    // Where sockets are marked instead there is no second user id.
    if !settings.options.capture.by_mark {
        container["securityContext"] = json!({ "runAsGroup": settings.gid, "runAsUser": settings.uid });
    }
    if let Some(lifecycle) = &settings.options.proxy.lifecycle {
        container["lifecycle"] = lifecycle.clone();
    }
    for (name, probe) in proxy::probes(settings) {
        if name == "readinessProbe" {
            container[name] = probe;
        }
    }
    container
}
