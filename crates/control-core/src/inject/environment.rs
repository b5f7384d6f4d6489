//! The environment of the proxy container: who it is, where it is, and how it is configured.

use serde_json::{Value, json};

use super::{PROXY_CONTAINER, settings::Settings};

/// A variable with a fixed value.
pub(super) fn value(name: &str, value: impl Into<Value>) -> Value {
    json!({ "name": name, "value": value.into() })
}

fn field(name: &str, path: &str) -> Value {
    json!({ "name": name, "valueFrom": { "fieldRef": { "fieldPath": path } } })
}

fn limit(name: &str, resource: &str) -> Value {
    json!({ "name": name, "valueFrom": { "resourceFieldRef": { "resource": resource, "divisor": "1" } } })
}

/// Identity and address, the same for every kind of proxy.
pub(super) fn identity(settings: &Settings<'_>) -> Vec<Value> {
    let options = settings.options;
    let ca = if options.proxy.ca_address.is_empty() {
        format!("istiod.{}.svc:15012", options.istio_namespace)
    } else {
        options.proxy.ca_address.clone()
    };
    vec![
        value("PILOT_CERT_PROVIDER", "istiod"),
        value("CA_ADDR", ca),
        field("POD_NAME", "metadata.name"),
        field("POD_NAMESPACE", "metadata.namespace"),
        field("INSTANCE_IP", "status.podIP"),
        field("SERVICE_ACCOUNT", "spec.serviceAccountName"),
        field("HOST_IP", "status.hostIP"),
    ]
}

pub(super) fn cpu_limit() -> Value {
    limit("ISTIO_CPU_LIMIT", "limits.cpu")
}

pub(super) fn memory_limit() -> Value {
    limit("GOMEMLIMIT", "limits.memory")
}

pub(super) fn proxy_config(settings: &Settings<'_>) -> Value {
    let config = Value::Object(settings.proxy_config.clone());
    value("PROXY_CONFIG", format!("{config}\n"))
}

/// The ports of the application's containers, as JSON.
pub(super) fn pod_ports(pod: &Value) -> Value {
    let ports: Vec<&Value> = application(pod)
        .filter_map(|container| container["ports"].as_array())
        .flatten()
        .filter(|port| port["protocol"].as_str().is_none_or(|protocol| protocol == "TCP"))
        .collect();
    value("ISTIO_META_POD_PORTS", json!(ports).to_string())
}

/// The names of the application's containers.
pub(super) fn app_containers(pod: &Value) -> Value {
    let names: Vec<&str> = application(pod).filter_map(|container| container["name"].as_str()).collect();
    value("ISTIO_META_APP_CONTAINERS", names.join(","))
}

/// The cluster and node that the proxy runs in.
pub(super) fn place(settings: &Settings<'_>) -> Vec<Value> {
    let mut variables = vec![
        value("ISTIO_META_CLUSTER_ID", settings.options.cluster_id.as_str()),
        field("ISTIO_META_NODE_NAME", "spec.nodeName"),
    ];
    if !settings.options.network.is_empty() {
        variables.push(value("ISTIO_META_NETWORK", settings.options.network.as_str()));
    }
    variables
}

/// The workload and mesh that the proxy belongs to.
pub(super) fn belonging(pod: &Value, settings: &Settings<'_>) -> Vec<Value> {
    let options = settings.options;
    let mut variables = Vec::new();
    if !settings.workload.name.is_empty() {
        variables.push(value("ISTIO_META_WORKLOAD_NAME", settings.workload.shown_name(pod)));
        variables.push(value("ISTIO_META_OWNER", settings.workload.owner(settings.namespace)));
    }
    if settings.annotation("sidecar.istio.io/bootstrapOverride").is_some() {
        variables.push(value("ISTIO_BOOTSTRAP_OVERRIDE", "/etc/istio/custom-bootstrap/custom_bootstrap.json"));
    }
    variables.push(value("ISTIO_META_MESH_ID", options.mesh_id.as_str()));
    variables.push(value("TRUST_DOMAIN", options.trust_domain.as_str()));
    variables
}

/// What ProxyConfig adds.
pub(super) fn proxy_metadata(settings: &Settings<'_>) -> Vec<Value> {
    let mut entries: Vec<_> = settings.proxy_metadata().collect();
    entries.sort();
    entries.into_iter().map(|(name, text)| value(name, text)).collect()
}

/// Sets a variable of the proxy container.
pub(super) fn set_on_proxy(pod: &mut Value, name: &str, text: &str) {
    for list in ["containers", "initContainers"] {
        let Some(containers) = pod["spec"].get_mut(list).and_then(Value::as_array_mut) else { continue };
        for container in containers.iter_mut().filter(|container| container["name"] == PROXY_CONTAINER) {
            if let Some(variables) = container["env"].as_array_mut() {
                variables.retain(|variable| variable["name"] != name);
                variables.push(value(name, text));
            }
        }
    }
}

fn application(pod: &Value) -> impl Iterator<Item = &Value> {
    super::containers(pod, "containers").filter(|container| container["name"] != PROXY_CONTAINER)
}
