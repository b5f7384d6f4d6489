use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::types::{TargetRef, WorkloadSelector};

/// A WebAssembly module to run in proxies.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("required" = ["url"]))]
pub struct WasmPlugin {
    /// Workloads this is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selector: Option<WorkloadSelector>,
    /// Object this attaches to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_ref: Option<TargetRef>,
    /// Objects this attaches to.
    #[schemars(length(max = 16))]
    pub target_refs: Vec<TargetRef>,
    /// Where the module is.
    #[schemars(length(min = 1))]
    pub url: String,
    /// Its checksum.
    #[schemars(regex(pattern = "(^$|^[a-f0-9]{64}$)"))]
    pub sha256: String,
    /// When to fetch it.
    #[schemars(extend("enum" = ["UNSPECIFIED_POLICY", "IfNotPresent", "Always"]))]
    pub image_pull_policy: String,
    /// Secret for fetching it.
    #[schemars(length(min = 1, max = 253))]
    pub image_pull_secret: String,
    /// Not used.
    pub verification_key: String,
    /// Its configuration.
    pub plugin_config: Map<String, Value>,
    /// Name given to the module.
    #[schemars(length(min = 1, max = 256))]
    pub plugin_name: String,
    /// Place in the order of filters.
    #[schemars(extend("enum" = ["UNSPECIFIED_PHASE", "AUTHN", "AUTHZ", "STATS"]))]
    pub phase: String,
    /// Order within the phase, higher first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority: Option<i32>,
    /// What happens when it fails.
    #[schemars(extend("enum" = ["FAIL_CLOSE", "FAIL_OPEN", "FAIL_RELOAD"]))]
    pub fail_strategy: String,
    /// Its environment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vm_config: Option<VmConfig>,
    /// Traffic it sees.
    #[serde(rename = "match")]
    pub matches: Vec<TrafficSelector>,
    /// Kind of filter.
    #[serde(rename = "type")]
    #[schemars(extend("enum" = ["UNSPECIFIED_PLUGIN_TYPE", "HTTP", "NETWORK"]))]
    pub plugin_type: String,
}

/// A WebAssembly module or Lua script to run in proxies.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct TrafficExtension {
    /// Workloads this is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selector: Option<WorkloadSelector>,
    /// Objects this attaches to.
    #[schemars(length(max = 16))]
    pub target_refs: Vec<TargetRef>,
    /// Place in the order of filters.
    #[schemars(extend("enum" = ["UNSPECIFIED", "AUTHN", "AUTHZ", "STATS"]))]
    pub phase: String,
    /// Order within the phase, higher first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority: Option<i32>,
    /// Traffic it sees.
    #[serde(rename = "match")]
    pub matches: Vec<TrafficSelector>,
    /// A WebAssembly module.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wasm: Option<WasmExtension>,
    /// A Lua script.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lua: Option<LuaExtension>,
}

/// A WebAssembly module.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("required" = ["url"]))]
pub struct WasmExtension {
    /// Where the module is.
    #[schemars(length(min = 1))]
    pub url: String,
    /// Its checksum.
    #[schemars(regex(pattern = "(^$|^[a-f0-9]{64}$)"))]
    pub sha256: String,
    /// When to fetch it.
    #[schemars(extend("enum" = ["UNSPECIFIED_POLICY", "IfNotPresent", "Always"]))]
    pub image_pull_policy: String,
    /// Secret for fetching it.
    #[schemars(length(min = 1, max = 253))]
    pub image_pull_secret: String,
    /// Not used.
    pub verification_key: String,
    /// Its configuration.
    pub plugin_config: Map<String, Value>,
    /// Name given to the module.
    #[schemars(length(min = 1, max = 256))]
    pub plugin_name: String,
    /// What happens when it fails.
    #[schemars(extend("enum" = ["FAIL_CLOSE", "FAIL_OPEN", "FAIL_RELOAD"]))]
    pub fail_strategy: String,
    /// Its environment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vm_config: Option<VmConfig>,
    /// Kind of filter.
    #[serde(rename = "type")]
    #[schemars(extend("enum" = ["UNSPECIFIED_PLUGIN_TYPE", "HTTP", "NETWORK"]))]
    pub plugin_type: String,
}

/// A Lua script.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("required" = ["inlineCode"]))]
pub struct LuaExtension {
    /// The script.
    #[schemars(length(min = 1, max = 65536))]
    pub inline_code: String,
}

/// Environment of a module.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct VmConfig {
    /// Environment variables.
    #[schemars(length(max = 256), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub env: Vec<EnvVar>,
}

/// An environment variable of a module.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("required" = ["name"]))]
pub struct EnvVar {
    /// Its name.
    #[schemars(length(min = 1, max = 256))]
    pub name: String,
    /// Where its value comes from.
    #[schemars(extend("enum" = ["INLINE", "HOST"]))]
    pub value_from: String,
    /// Its value.
    #[schemars(length(max = 2048))]
    pub value: String,
}

/// Traffic that an extension sees.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct TrafficSelector {
    /// Direction.
    #[schemars(extend("enum" = ["UNDEFINED", "CLIENT", "SERVER", "CLIENT_AND_SERVER"]))]
    pub mode: String,
    /// Ports.
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["number"]))]
    pub ports: Vec<PortNumber>,
}

/// A port.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(extend("required" = ["number"]))]
pub struct PortNumber {
    /// Its number.
    #[schemars(range(min = 1, max = 65535))]
    pub number: u32,
}
