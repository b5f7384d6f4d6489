use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A condition on a string; exactly one field is set. No field set means: present.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct StringMatch {
    /// The whole string.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exact: Option<String>,
    /// The beginning of the string.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    /// An RE2 expression that must match the whole string.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub regex: Option<String>,
}

/// A share of requests.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Percent {
    /// 0 to 100, fractions allowed.
    pub value: f64,
}

/// A port chosen by its number.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct PortSelector {
    /// Number of the service port.
    #[schemars(range(min = 0, max = 4294967295u64))]
    pub number: u32,
}

/// A port as declared by a server or listener.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct DeclaredPort {
    /// Port number.
    pub number: u32,
    /// Protocol by name: HTTP, HTTPS, HTTP2, GRPC, GRPC-WEB, MONGO, TCP, TLS.
    pub protocol: String,
    /// Name of the port.
    pub name: String,
    /// Port on the endpoint, if it differs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_port: Option<u32>,
}

/// Workloads chosen by `matchLabels`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("x-kubernetes-validations" = [{"message": "wildcard not allowed in label key or value match", "rule": "!has(self.matchLabels) || self.matchLabels.all(key, !key.contains('*') && !self.matchLabels[key].contains('*'))"}, {"message": "key must not be empty", "rule": "!has(self.matchLabels) || self.matchLabels.all(key, key.size() != 0)"}]))]
pub struct WorkloadSelector {
    /// Labels that a workload must all have.
    #[schemars(extend("maxProperties" = 4096, "additionalProperties" = {"type": "string", "maxLength": 63}))]
    pub match_labels: BTreeMap<String, String>,
}

/// Workloads chosen by `labels`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct LabelSelector {
    /// Labels that a workload must all have.
    #[schemars(extend("maxProperties" = 256, "additionalProperties" = {"type": "string", "maxLength": 63}))]
    pub labels: BTreeMap<String, String>,
}

/// The object that a policy attaches to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(extend("required" = ["kind", "name"]))]
pub struct TargetRef {
    /// API group; empty for the core group.
    #[schemars(length(max = 253))]
    pub group: String,
    /// Kind, such as Gateway or Service.
    #[schemars(length(min = 1, max = 63))]
    pub kind: String,
    /// Name of the object.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Must be empty: other namespaces cannot be targeted.
    pub namespace: String,
}
