//! The kubelet's probes go to the proxy's agent, which asks the application from inside the pod: they work whatever
//! the proxy demands of inbound connections.

use serde_json::{Map, Value, json};

use super::{PROXY_CONTAINER, annotations, settings::Settings};

const PROBES: [(&str, &str); 3] =
    [("livenessProbe", "livez"), ("readinessProbe", "readyz"), ("startupProbe", "startupz")];
const HOOKS: [(&str, &str); 2] = [("preStop", "prestopz"), ("postStart", "poststartz")];

/// Rewrites every probe that crosses the network, and tells the proxy what they were.
pub(super) fn rewrite(pod: &mut Value, settings: &Settings<'_>, previous: Option<&Value>) {
    let wish = pod["metadata"]["annotations"]["sidecar.istio.io/rewriteAppHTTPProbers"].as_str();
    let wanted = wish.and_then(annotations::truth).unwrap_or(settings.options.rewrite_probes);
    if !wanted || settings.status_port == 0 || !has_proxy(pod) {
        return;
    }
    let mut probers = previous.and_then(Value::as_object).cloned().unwrap_or_default();
    for list in ["containers", "initContainers"] {
        let Some(containers) = pod["spec"].get_mut(list).and_then(Value::as_array_mut) else {
            continue;
        };
        for container in containers.iter_mut().filter(|container| container["name"] != PROXY_CONTAINER) {
            rewrite_container(container, settings.status_port, &mut probers);
        }
    }
    if !probers.is_empty() {
        probers.sort_keys();
        tell_proxy(pod, &Value::Object(probers).to_string());
    }
}

fn has_proxy(pod: &Value) -> bool {
    ["containers", "initContainers"]
        .into_iter()
        .any(|list| super::containers(pod, list).any(|container| container["name"] == PROXY_CONTAINER))
}

fn rewrite_container(container: &mut Value, port: u16, probers: &mut Map<String, Value>) {
    let name = container["name"].as_str().unwrap_or_default().to_owned();
    let ports = container["ports"].clone();
    for (field, path) in PROBES {
        if let Some(probe) = container.get_mut(field).filter(|probe| probe.is_object()) {
            let url = format!("/app-health/{name}/{path}");
            if let Some(mut prober) = redirect(probe, &url, port, &ports) {
                if let Some(timeout) = probe.get("timeoutSeconds").filter(|timeout| **timeout != 0) {
                    prober["timeoutSeconds"] = timeout.clone();
                }
                probers.insert(url, prober);
            }
        }
    }
    let Some(lifecycle) = container.get_mut("lifecycle") else {
        return;
    };
    for (field, path) in HOOKS {
        if let Some(hook) = lifecycle.get_mut(field).filter(|hook| hook.is_object()) {
            let url = format!("/app-lifecycle/{name}/{path}");
            if let Some(prober) = redirect(hook, &url, port, &ports) {
                probers.insert(url, prober);
            }
        }
    }
}

/// Points an HTTP, TCP or gRPC action at the agent and returns what it was; `exec` stays.
fn redirect(action: &mut Value, url: &str, port: u16, ports: &Value) -> Option<Value> {
    let fields = action.as_object_mut()?;
    let kind = ["httpGet", "tcpSocket", "grpc"].into_iter().find(|kind| fields.contains_key(*kind))?;
    let mut asked = fields.get(kind)?.clone();
    let already_ours = asked["path"].as_str().is_some_and(|path| path.starts_with("/app-health/"));
    if already_ours {
        return None;
    }
    asked["port"] = resolve(&asked["port"], ports)?;
    let mut get = if kind == "httpGet" { fields.get(kind)?.clone() } else { json!({}) };
    get["path"] = json!(url);
    get["port"] = json!(port);
    if get["scheme"] == "HTTPS" {
        get["scheme"] = json!("HTTP");
    }
    if let Some(get) = get.as_object_mut() {
        get.remove("host");
    }
    fields.remove(kind);
    fields.insert("httpGet".into(), get);
    Some(json!({ kind: asked }))
}

/// A port by number, or by the name that the container declares. A name that nothing declares can't be probed.
fn resolve(port: &Value, ports: &Value) -> Option<Value> {
    let Some(name) = port.as_str() else {
        return Some(port.clone());
    };
    if let Ok(number) = name.parse::<u16>() {
        return Some(json!(number));
    }
    let declared = ports.as_array()?.iter().find(|declared| declared["name"] == name)?;
    Some(declared["containerPort"].clone())
}

fn tell_proxy(pod: &mut Value, probers: &str) {
    super::environment::set_on_proxy(pod, "ISTIO_KUBE_APP_PROBERS", probers);
}
