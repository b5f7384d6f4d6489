//! How the proxy presents itself to discovery.

use std::collections::BTreeMap;

use lateen_api::discovery::Node;
use lateen_api::envoy::envoy::config::core::v3::node::UserAgentVersionType;
use lateen_api::envoy::envoy::config::core::v3::{Extension, Locality};
use lateen_api::google::protobuf::{ListValue, Struct, Value as ProtoValue, value::Kind};
use serde_json::{Map, Value, json};

use super::{Environment, Pod, Ports, Role};

/// The name under which the proxy says that it knows all that our control plane can send.
const EXTENSION: &str = "lateen";

pub(super) fn node(
    role: Role,
    pod: &Pod,
    domain: &str,
    proxy_config: &Map<String, Value>,
    metadata: Map<String, Value>,
) -> Node {
    let ip = pod.ips.first().map(ToString::to_string).unwrap_or_default();
    Node {
        id: format!("{}~{ip}~{}.{}~{domain}", role.node_type(), pod.name, pod.namespace),
        cluster: service_cluster(pod, proxy_config),
        metadata: Some(to_struct(metadata)),
        locality: locality(&pod.labels),
        user_agent_name: EXTENSION.to_owned(),
        user_agent_version_type: Some(UserAgentVersionType::UserAgentVersion(env!("CARGO_PKG_VERSION").to_owned())),
        extensions: vec![Extension { name: EXTENSION.to_owned(), ..Default::default() }],
        ..Default::default()
    }
}

fn service_cluster(pod: &Pod, proxy_config: &Map<String, Value>) -> String {
    if let Some(name) = proxy_config.get("serviceCluster").and_then(Value::as_str) {
        return name.to_owned();
    }
    let app = pod.labels.get("service.istio.io/canonical-name").or_else(|| pod.labels.get("app"));
    format!("{}.{}", app.map_or("istio-proxy", String::as_str), pod.namespace)
}

/// What control planes want to know.
pub(super) fn metadata(
    pod: &Pod,
    env: &Environment,
    proxy_config: &Map<String, Value>,
    ports: Ports,
) -> Map<String, Value> {
    let mut metadata = Map::new();
    for (name, value) in env.with_prefix("ISTIO_META_") {
        metadata.insert(name.to_owned(), json!(value));
    }
    for (_, value) in env.with_prefix("ISTIO_METAJSON_") {
        if let Ok(fields) = serde_json::from_str::<Map<String, Value>>(value) {
            metadata.extend(fields);
        }
    }
    let ips: Vec<String> = pod.ips.iter().map(ToString::to_string).collect();
    let own = [
        ("NAME", json!(pod.name)),
        ("NAMESPACE", json!(pod.namespace)),
        ("SERVICE_ACCOUNT", json!(pod.service_account)),
        ("INSTANCE_IPS", json!(ips.join(","))),
        ("LABELS", json!(pod.labels)),
        ("ANNOTATIONS", json!(pod.annotations)),
        ("ISTIO_VERSION", json!(env!("CARGO_PKG_VERSION"))),
        ("PROXY_CONFIG", json!(proxy_config)),
        ("ENVOY_STATUS_PORT", json!(ports.ready)),
        ("ENVOY_PROMETHEUS_PORT", json!(ports.metrics)),
    ];
    for (name, value) in own {
        metadata.insert(name.to_owned(), value);
    }
    metadata.entry("CLUSTER_ID").or_insert_with(|| json!("Kubernetes"));
    metadata.entry("WORKLOAD_NAME").or_insert_with(|| json!(pod.name));
    metadata
}

/// `region/zone/subzone`, with dots where a label cannot hold slashes.
fn locality(labels: &BTreeMap<String, String>) -> Option<Locality> {
    let text = labels.get("topology.istio.io/locality").or_else(|| labels.get("istio-locality"))?;
    let separator = if text.contains('/') { '/' } else { '.' };
    let mut parts = text.splitn(3, separator).map(str::to_owned);
    Some(Locality {
        region: parts.next().unwrap_or_default(),
        zone: parts.next().unwrap_or_default(),
        sub_zone: parts.next().unwrap_or_default(),
    })
}

fn to_struct(fields: Map<String, Value>) -> Struct {
    Struct { fields: fields.into_iter().map(|(name, value)| (name, to_value(value))).collect() }
}

fn to_value(value: Value) -> ProtoValue {
    let kind = match value {
        Value::Null => Kind::NullValue(0),
        Value::Bool(b) => Kind::BoolValue(b),
        Value::Number(n) => Kind::NumberValue(n.as_f64().unwrap_or_default()),
        Value::String(s) => Kind::StringValue(s),
        Value::Array(values) => Kind::ListValue(ListValue { values: values.into_iter().map(to_value).collect() }),
        Value::Object(fields) => Kind::StructValue(to_struct(fields)),
    };
    ProtoValue { kind: Some(kind) }
}
