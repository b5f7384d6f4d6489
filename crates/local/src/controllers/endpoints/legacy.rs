//! The older `Endpoints` object of a Service: one list per set of ports.

use std::collections::BTreeMap;

use lateen_apiserver::Object;
use serde_json::{Value, json};

use super::slices::{address_of, families, ports_of};
use crate::controllers::object::Meta;
use crate::controllers::pods;

/// Label that marks objects of this controller.
pub const MANAGED_BY_LABEL: &str = "endpoints.kubernetes.io/managed-by";
/// This controller's name in [`MANAGED_BY_LABEL`].
pub const MANAGED_BY: &str = "endpoint-controller";
/// Addresses in one object at most, as in Kubernetes.
const LIMIT: usize = 1000;

/// The object's labels: the Service's and our mark.
#[must_use]
pub fn labels(service: &Value) -> Value {
    let mut labels = service["metadata"]["labels"].as_object().cloned().unwrap_or_default();
    labels.insert(MANAGED_BY_LABEL.into(), MANAGED_BY.into());
    if service.text("/spec/clusterIP") == "None" {
        labels.insert("service.kubernetes.io/headless".into(), "".into());
    }
    Value::Object(labels)
}

#[derive(Default)]
struct Subset {
    ports: Value,
    ready: Vec<Value>,
    not_ready: Vec<Value>,
}

/// The object's `subsets`.
#[must_use]
pub fn subsets(service: &Value, pods: &[Object]) -> Value {
    let publish = service["spec"]["publishNotReadyAddresses"] == true;
    let mut subsets: BTreeMap<String, Subset> = BTreeMap::new();
    // The object is older than second families: it shows the first.
    let family = families(service)[0];
    let shown = pods.iter().filter(|p| is_shown(p, publish)).filter_map(|p| Some((p, address_of(p, family)?)));
    for (pod, ip) in shown.take(LIMIT) {
        let ports = ports_of(service, pod);
        if ports.is_empty() && !service.items("/spec/ports").is_empty() {
            continue;
        }
        let ports = Value::Array(ports);
        let subset = subsets.entry(ports.to_string()).or_default();
        subset.ports = ports;
        let address = address(service, pod, ip);
        if publish || pods::is_ready(pod) {
            subset.ready.push(address);
        } else {
            subset.not_ready.push(address);
        }
    }
    subsets.into_values().map(Subset::into_value).collect()
}

fn is_shown(pod: &Value, publish: bool) -> bool {
    !pods::is_finished(pod) && (publish || !pod.is_terminating())
}

fn address(service: &Value, pod: &Value, ip: &str) -> Value {
    let mut address = json!({
        "ip": ip,
        "targetRef": {
            "kind": "Pod",
            "namespace": pod.namespace(),
            "name": pod.name(),
            "uid": pod.uid(),
        },
    });
    if let Some(node) = pod.pointer("/spec/nodeName") {
        address["nodeName"] = node.clone();
    }
    let hostname = pod.text("/spec/hostname");
    if !hostname.is_empty() && pod.text("/spec/subdomain") == service.name() {
        address["hostname"] = hostname.into();
    }
    address
}

impl Subset {
    fn into_value(self) -> Value {
        let mut value = json!({});
        for (name, list) in [("addresses", self.ready), ("notReadyAddresses", self.not_ready)] {
            if !list.is_empty() {
                value[name] = list.into();
            }
        }
        if self.ports.as_array().is_some_and(|p| !p.is_empty()) {
            value["ports"] = self.ports;
            for port in value["ports"].as_array_mut().into_iter().flatten() {
                if port["name"] == ""
                    && let Some(port) = port.as_object_mut()
                {
                    port.shift_remove("name");
                }
            }
        }
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn ready_and_unready_addresses_stand_apart() {
        let service = json!({
            "metadata": {"name": "db", "namespace": "n"},
            "spec": {"ports": [{"port": 80, "targetPort": 5678}]},
        });
        let pod = |name: &str, ready: &str| {
            Arc::new(json!({
                "metadata": {"name": name, "namespace": "n"},
                "status": {"podIP": format!("10.0.0.{name}"), "conditions": [{"type": "Ready", "status": ready}]},
            }))
        };
        let subsets = subsets(&service, &[pod("1", "True"), pod("2", "False")]);
        assert_eq!(subsets[0]["addresses"][0]["ip"], "10.0.0.1");
        assert_eq!(subsets[0]["notReadyAddresses"][0]["ip"], "10.0.0.2");
        assert_eq!(subsets[0]["ports"], json!([{"protocol": "TCP", "port": 5678}]));
    }
}
