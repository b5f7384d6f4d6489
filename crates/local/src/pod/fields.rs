//! The downward API: what a pod may know about itself.

use std::net::IpAddr;

use k8s_openapi::api::core::v1::{Container, ResourceFieldSelector};
use serde_json::{Map, Value};

use super::quantity::Quantity;

/// What a pod can be asked that isn't in its object yet.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Addresses<'a> {
    pub(crate) pod: &'a [IpAddr],
    pub(crate) node: &'a [IpAddr],
}

/// What the node offers where a container has no limit of its own.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Capacity {
    pub(crate) cpus: u64,
    pub(crate) memory: u64,
}

/// The value of a `fieldRef`.
pub(crate) fn field(pod: &Value, addresses: Addresses<'_>, path: &str) -> Result<String, String> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    if let Some((map, key)) = subscript(path) {
        return match map {
            "metadata.labels" => Ok(text(&pod["metadata"]["labels"][key])),
            "metadata.annotations" => Ok(text(&pod["metadata"]["annotations"][key])),
            _ => Err(unknown(path)),
        };
    }
    match path {
        "metadata.name" => Ok(text(&pod["metadata"]["name"])),
        "metadata.namespace" => Ok(text(&pod["metadata"]["namespace"])),
        "metadata.uid" => Ok(text(&pod["metadata"]["uid"])),
        "metadata.labels" => Ok(lines(pod["metadata"]["labels"].as_object())),
        "metadata.annotations" => Ok(lines(pod["metadata"]["annotations"].as_object())),
        "spec.nodeName" => Ok(text(&pod["spec"]["nodeName"])),
        "spec.serviceAccountName" => Ok(text(&pod["spec"]["serviceAccountName"])),
        "status.podIP" => Ok(first(addresses.pod)),
        "status.podIPs" => Ok(all(addresses.pod)),
        "status.hostIP" => Ok(first(addresses.node)),
        "status.hostIPs" => Ok(all(addresses.node)),
        _ => Err(unknown(path)),
    }
}

fn first(addresses: &[IpAddr]) -> String {
    addresses.first().map(ToString::to_string).unwrap_or_default()
}

fn all(addresses: &[IpAddr]) -> String {
    addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

fn unknown(path: &str) -> String {
    format!("fieldRef {path:?} is not supported")
}

/// `metadata.labels['key']` in its two parts.
fn subscript(path: &str) -> Option<(&str, &str)> {
    let (map, rest) = path.split_once("['")?;
    Some((map, rest.strip_suffix("']")?))
}

/// A map as lines of `key="value"`, in the order of the keys.
fn lines(map: Option<&Map<String, Value>>) -> String {
    let mut entries: Vec<_> = map.into_iter().flatten().collect();
    entries.sort_by_key(|(key, _)| key.as_str());
    let line = |(key, value): (&String, &Value)| format!("{key}={:?}", value.as_str().unwrap_or(""));
    entries.into_iter().map(line).collect::<Vec<_>>().join("\n")
}

/// The value of a `resourceFieldRef` to a container.
pub(crate) fn resource(
    container: &Container,
    selector: &ResourceFieldSelector,
    capacity: Capacity,
) -> Result<String, String> {
    let unknown = || format!("resourceFieldRef {:?} is not supported", selector.resource);
    let (kind, name) = selector.resource.split_once('.').ok_or_else(unknown)?;
    let resources = container.resources.as_ref();
    let list = |kind: &str| match kind {
        "limits" => resources.and_then(|r| r.limits.as_ref()),
        _ => resources.and_then(|r| r.requests.as_ref()),
    };
    let written = list(kind).and_then(|list| list.get(name));
    let value = match (written, kind, name) {
        (Some(quantity), ..) => Quantity::parse(&quantity.0)?,
        (None, "limits", "cpu") => Quantity::whole(capacity.cpus),
        (None, "limits", "memory") => Quantity::whole(capacity.memory),
        (None, "limits" | "requests", "cpu" | "memory" | "ephemeral-storage") => Quantity::whole(0),
        _ => return Err(unknown()),
    };
    let divisor = selector.divisor.as_ref().map(|d| d.0.as_str()).filter(|d| *d != "0");
    let divisor = divisor.map_or(Ok(Quantity::whole(1)), Quantity::parse)?;
    Ok(value.divided_up(divisor).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_pod_knows_its_own_fields() {
        let pod = json!({"metadata": {"name": "p", "namespace": "n",
            "labels": {"b": "2", "a": "say \"1\""}, "annotations": {"x/y": "z"}},
            "spec": {"nodeName": "lateen"}});
        let both = ["10.244.0.2", "fd00:10:244::2"].map(|ip| ip.parse().unwrap());
        let node = ["10.244.0.1".parse().unwrap()];
        let addresses = Addresses { pod: &both, node: &node };
        for (path, expect) in [
            ("metadata.name", "p"),
            ("metadata.labels['b']", "2"),
            ("metadata.annotations['x/y']", "z"),
            ("metadata.annotations['none']", ""),
            ("metadata.labels", "a=\"say \\\"1\\\"\"\nb=\"2\""),
            ("status.podIP", "10.244.0.2"),
            ("status.podIPs", "10.244.0.2,fd00:10:244::2"),
            ("status.hostIP", "10.244.0.1"),
            ("spec.nodeName", "lateen"),
        ] {
            assert_eq!(field(&pod, addresses, path).unwrap(), expect, "{path}");
        }
        assert!(field(&pod, addresses, "spec.containers").is_err());
    }

    #[test]
    fn resources_are_rounded_up_and_default_to_the_node() {
        let container: Container = serde_json::from_value(json!({
            "name": "c", "resources": {"limits": {"cpu": "1500m"}, "requests": {"memory": "128Mi"}}
        }))
        .unwrap();
        let capacity = Capacity { cpus: 4, memory: 1 << 30 };
        for (name, divisor, expect) in [
            ("limits.cpu", "0", "2"),
            ("limits.cpu", "1m", "1500"),
            ("requests.memory", "1Mi", "128"),
            ("limits.memory", "1Mi", "1024"),
            ("requests.cpu", "1", "0"),
        ] {
            let selector = serde_json::from_value(json!({"resource": name, "divisor": divisor}));
            assert_eq!(resource(&container, &selector.unwrap(), capacity).unwrap(), expect, "{name}");
        }
    }
}
