//! The EndpointSlices that a Service should have: a pure function of the Service and its pods.

use std::collections::BTreeMap;
use std::net::IpAddr;

use lateen_apiserver::Object;
use serde_json::{Map, Value, json};

use crate::controllers::object::{Meta, controller_ref};
use crate::controllers::pods;

/// Label of a slice: the Service that it belongs to.
pub const SERVICE_NAME: &str = "kubernetes.io/service-name";
/// Label of a slice: who keeps it.
pub const MANAGED_BY_LABEL: &str = "endpointslice.kubernetes.io/managed-by";
/// This controller's name in [`MANAGED_BY_LABEL`], as in Kubernetes.
pub const MANAGED_BY: &str = "endpointslice-controller.k8s.io";
/// Label of a slice of a Service without a ClusterIP.
const HEADLESS: &str = "service.kubernetes.io/headless";
/// Endpoints in one slice at most, as in Kubernetes.
const SLICE_SIZE: usize = 100;

/// The slices as they should be, without names.
#[must_use]
pub fn wanted(service: &Value, pods: &[Object], zone: Option<&str>) -> Vec<Value> {
    families(service).into_iter().flat_map(|family| of_family(service, family, pods, zone)).collect()
}

/// The families that a Service has addresses of; never empty.
pub fn families(service: &Value) -> Vec<&str> {
    let families: Vec<_> = service.items("/spec/ipFamilies").iter().filter_map(Value::as_str).collect();
    if families.is_empty() { vec!["IPv4"] } else { families }
}

/// The pod's address of a family.
pub fn address_of<'a>(pod: &'a Value, family: &str) -> Option<&'a str> {
    let more = pod.items("/status/podIPs").iter().map(|ip| ip.text("/ip"));
    let of_family = |ip: &&str| ip.parse::<IpAddr>().is_ok_and(|ip| ip.is_ipv6() == (family == "IPv6"));
    std::iter::once(pod.text("/status/podIP")).chain(more).find(of_family)
}

fn of_family(service: &Value, family: &str, pods: &[Object], zone: Option<&str>) -> Vec<Value> {
    let mut by_ports: BTreeMap<String, (Value, Vec<Value>)> = BTreeMap::new();
    for pod in pods.iter().filter(|pod| !pods::is_finished(pod)) {
        let Some(ip) = address_of(pod, family) else { continue };
        let ports = Value::Array(ports_of(service, pod));
        let group = by_ports.entry(ports.to_string()).or_insert_with(|| (ports, Vec::new()));
        group.1.push(endpoint(service, pod, ip, zone));
    }
    if by_ports.is_empty() {
        return vec![slice(service, family, &json!([]), &[])];
    }
    by_ports
        .values()
        .flat_map(|(ports, endpoints)| endpoints.chunks(SLICE_SIZE).map(|chunk| slice(service, family, ports, chunk)))
        .collect()
}

/// A port of the Service as this pod serves it; ports that the pod doesn't name are left out.
pub fn ports_of(service: &Value, pod: &Value) -> Vec<Value> {
    service
        .items("/spec/ports")
        .iter()
        .filter_map(|port| {
            let mut shown = Map::new();
            shown.insert("name".into(), port.text("/name").into());
            shown.insert("protocol".into(), protocol(port).into());
            shown.insert("port".into(), target_port(port, pod)?.into());
            if let Some(app) = port["appProtocol"].as_str() {
                shown.insert("appProtocol".into(), app.into());
            }
            Some(Value::Object(shown))
        })
        .collect()
}

fn protocol(port: &Value) -> &str {
    match port.text("/protocol") {
        "" => "TCP",
        other => other,
    }
}

fn target_port(port: &Value, pod: &Value) -> Option<i64> {
    match &port["targetPort"] {
        Value::Number(n) if n.as_i64() != Some(0) => n.as_i64(),
        Value::String(name) => named_port(pod, name, protocol(port)),
        _ => port.int("/port"),
    }
}

/// The number that a container of the pod gives to a named port; native sidecars count too.
fn named_port(pod: &Value, name: &str, wanted: &str) -> Option<i64> {
    let sidecars = pod.items("/spec/initContainers").iter().filter(|c| c["restartPolicy"] == "Always");
    pod.items("/spec/containers")
        .iter()
        .chain(sidecars)
        .flat_map(|container| container.items("/ports"))
        .find(|p| p["name"] == name && protocol(p) == wanted)?
        .int("/containerPort")
}

fn endpoint(service: &Value, pod: &Value, ip: &str, zone: Option<&str>) -> Value {
    let publish = service["spec"]["publishNotReadyAddresses"] == true;
    let serving = pods::is_ready(pod);
    let terminating = pod.is_terminating();
    let mut endpoint = json!({
        "addresses": [ip],
        "conditions": {
            "ready": publish || (serving && !terminating),
            "serving": serving,
            "terminating": terminating,
        },
        "targetRef": {
            "kind": "Pod",
            "namespace": pod.namespace(),
            "name": pod.name(),
            "uid": pod.uid(),
        },
    });
    let hostname = pod.text("/spec/hostname");
    if !hostname.is_empty() && pod.text("/spec/subdomain") == service.name() {
        endpoint["hostname"] = hostname.into();
    }
    if let Some(node) = pod.pointer("/spec/nodeName") {
        endpoint["nodeName"] = node.clone();
        if let Some(zone) = zone {
            endpoint["zone"] = zone.into();
        }
    }
    if let Some(hints) = hints(service, &endpoint) {
        endpoint["hints"] = hints;
    }
    endpoint
}

/// For whom an endpoint is meant, where the Service wants its traffic kept close.
fn hints(service: &Value, endpoint: &Value) -> Option<Value> {
    let spread = service.text("/spec/trafficDistribution");
    let zone = endpoint["zone"].as_str()?;
    if spread.is_empty() || endpoint["conditions"]["ready"] != true {
        return None;
    }
    let mut hints = json!({"forZones": [{"name": zone}]});
    if spread == "PreferSameNode" {
        hints["forNodes"] = json!([{"name": endpoint["nodeName"]}]);
    }
    Some(hints)
}

fn slice(service: &Value, family: &str, ports: &Value, endpoints: &[Value]) -> Value {
    let mut labels = service["metadata"]["labels"].as_object().cloned().unwrap_or_default();
    labels.insert(SERVICE_NAME.into(), service.name().into());
    labels.insert(MANAGED_BY_LABEL.into(), MANAGED_BY.into());
    if service.text("/spec/clusterIP") == "None" {
        labels.insert(HEADLESS.into(), "".into());
    }
    json!({
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "generateName": format!("{}-", service.name()),
            "namespace": service.namespace(),
            "labels": labels,
            "ownerReferences": [controller_ref(service, "v1", "Service")],
        },
        "addressType": family,
        "endpoints": endpoints,
        "ports": ports,
    })
}

/// How to get from the present slices to the wanted ones.
#[derive(Debug, Default)]
pub struct Plan {
    /// Slices to write back.
    pub update: Vec<Value>,
    /// Slices to make.
    pub create: Vec<Value>,
    /// Slices to delete.
    pub delete: Vec<Object>,
}

/// Keep as many slices (by name) as possible, those with the same ports first.
#[must_use]
pub fn plan(wanted: Vec<Value>, present: &[Object]) -> Plan {
    let mut free: Vec<Object> = present.iter().filter(|s| !s.is_terminating()).cloned().collect();
    free.sort_by(|a, b| a.name().cmp(b.name()));
    let mut plan = Plan::default();
    let mut homeless = Vec::new();
    for slice in wanted {
        // The type of its addresses is part of what a slice is.
        let fits = |old: &&Object| old["addressType"] == slice["addressType"];
        match free.iter().position(|old| fits(&old) && old["ports"] == slice["ports"]) {
            Some(at) => plan.keep(&free.remove(at), slice),
            None => homeless.push(slice),
        }
    }
    for slice in homeless {
        match free.iter().rposition(|old| old["addressType"] == slice["addressType"]) {
            Some(at) => plan.keep(&free.remove(at), slice),
            None => plan.create.push(slice),
        }
    }
    plan.delete = free;
    plan
}

impl Plan {
    fn keep(&mut self, old: &Value, wanted: Value) {
        let part_same = |part: &str| old[part] == wanted[part];
        let labels_same = old["metadata"]["labels"] == wanted["metadata"]["labels"];
        if labels_same && part_same("endpoints") && part_same("ports") {
            return;
        }
        let mut new = old.clone();
        for part in ["endpoints", "ports"] {
            new[part] = wanted[part].clone();
        }
        new["metadata"]["labels"] = wanted["metadata"]["labels"].clone();
        self.update.push(new);
    }
}

#[cfg(test)]
#[path = "slices_tests.rs"]
mod tests;
