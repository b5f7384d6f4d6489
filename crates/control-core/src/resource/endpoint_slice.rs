use serde_json::Value;

use super::metadata::Meta;

/// Addresses and ports behind a Service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EndpointSlice {
    /// Namespace.
    pub namespace: String,
    /// Service they belong to.
    pub service: String,
    /// Ports by the Service's port names.
    pub ports: Vec<(String, u16)>,
    /// Endpoints.
    pub endpoints: Vec<SliceEndpoint>,
}

/// One endpoint of a slice.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SliceEndpoint {
    /// Its first address; the others are its alternatives.
    pub addresses: Vec<String>,
    /// Accepts requests.
    pub ready: bool,
    /// Is about to end.
    pub terminating: bool,
    /// Node it is on.
    pub node: String,
    /// Zone it is in.
    pub zone: String,
    /// Host name of its own.
    pub hostname: String,
    /// Pod behind it, if it is one: namespace and name.
    pub pod: Option<(String, String)>,
}

/// Reads an EndpointSlice.
pub(super) fn parse(object: Value) -> Result<EndpointSlice, String> {
    let meta = Meta::of(&object);
    let service = meta.labels.get("kubernetes.io/service-name").cloned().unwrap_or_default();
    let list = |key: &str| object.get(key).and_then(Value::as_array).into_iter().flatten();
    let ports = list("ports").filter_map(port).collect();
    let endpoints = list("endpoints").map(|e| endpoint(e, &meta.namespace)).collect();
    Ok(EndpointSlice { namespace: meta.namespace, service, ports, endpoints })
}

fn port(value: &Value) -> Option<(String, u16)> {
    let number = u16::try_from(value.get("port")?.as_u64()?).ok()?;
    Some((value.get("name").and_then(Value::as_str).unwrap_or_default().to_owned(), number))
}

fn endpoint(value: &Value, namespace: &str) -> SliceEndpoint {
    let text = |key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let flag =
        |key: &str, default| value.pointer(&format!("/conditions/{key}")).and_then(Value::as_bool).unwrap_or(default);
    let addresses = value.get("addresses").and_then(Value::as_array).into_iter().flatten();
    let target = value.get("targetRef").filter(|t| t.get("kind").and_then(Value::as_str) == Some("Pod"));
    SliceEndpoint {
        addresses: addresses.filter_map(|a| Some(a.as_str()?.to_owned())).collect(),
        ready: flag("ready", true),
        terminating: flag("terminating", false),
        node: text("nodeName"),
        zone: text("zone"),
        hostname: text("hostname"),
        pod: target.and_then(|t| {
            let ns = t.get("namespace").and_then(Value::as_str).unwrap_or(namespace);
            Some((ns.to_owned(), t.get("name")?.as_str()?.to_owned()))
        }),
    }
}
