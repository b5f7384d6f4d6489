//! What is wrong with an Istio resource beyond its schema: the answer of the validating webhook, and of `analyze`.

mod authorization_policy;
mod cursor;
mod destination_rule;
mod extension;
mod gateway;
mod header;
mod http_route;
mod jwt;
mod load_balancer;
mod names;
mod port;
mod proxy_config;
mod route;
mod selector;
mod server_tls;
mod service_entry;
mod sidecar;
mod telemetry;
mod time;
mod traffic_policy;
mod unreachable;
mod virtual_service;
mod workload;

use std::fmt;

use serde_json::Value;

use cursor::{At, Report};

/// One thing that is wrong, or doubtful, about a resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The path of the field: `spec.http[0].timeout`.
    pub field: String,
    /// What is wrong with it, and what would be right.
    pub message: String,
    /// Whether the resource is refused for it.
    pub severity: Severity,
}

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// The resource is refused.
    Error,
    /// The resource is accepted, and its author told.
    Warning,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.message)
    }
}

/// Examines a resource of one of Istio's API groups. Others have no findings.
pub fn validate(object: &Value) -> Vec<Finding> {
    let mut report = Report::default();
    let group = object["apiVersion"].as_str().and_then(|version| version.split_once('/')).map(|(group, _)| group);
    let Some(check) = check_of(group.unwrap_or_default(), object["kind"].as_str().unwrap_or_default()) else {
        return Vec::new();
    };
    let root = At::root(object);
    let spec = root.get("spec");
    match object.get("spec") {
        None | Some(Value::Object(_) | Value::Null) => check(&root, &spec, &mut report),
        Some(_) => report.error(&spec, "is not a mapping of fields"),
    }
    report.findings()
}

/// The checks of one kind: the resource, its spec.
type Check = fn(&At<'_>, &At<'_>, &mut Report);

fn check_of(group: &str, kind: &str) -> Option<Check> {
    Some(match (group, kind) {
        ("networking.istio.io", "VirtualService") => virtual_service::check,
        ("networking.istio.io", "DestinationRule") => destination_rule::check,
        ("networking.istio.io", "Gateway") => gateway::check,
        ("networking.istio.io", "ServiceEntry") => service_entry::check,
        ("networking.istio.io", "WorkloadEntry") => workload::check_entry,
        ("networking.istio.io", "WorkloadGroup") => workload::check_group,
        ("networking.istio.io", "Sidecar") => sidecar::check,
        ("networking.istio.io", "ProxyConfig") => proxy_config::check,
        ("security.istio.io", "PeerAuthentication") => jwt::check_peer,
        ("security.istio.io", "RequestAuthentication") => jwt::check_request,
        ("security.istio.io", "AuthorizationPolicy") => authorization_policy::check,
        ("telemetry.istio.io", "Telemetry") => telemetry::check,
        ("extensions.istio.io", "WasmPlugin") => extension::check_wasm_plugin,
        ("extensions.istio.io", "TrafficExtension") => extension::check_traffic_extension,
        _ => return None,
    })
}

#[cfg(test)]
mod tests;
