use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::types::{LabelSelector, TargetRef};

/// Patches to the generated proxy configuration.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct EnvoyFilter {
    /// Workloads this is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workload_selector: Option<LabelSelector>,
    /// Gateways or services this attaches to.
    #[schemars(length(max = 16))]
    pub target_refs: Vec<TargetRef>,
    /// The patches.
    pub config_patches: Vec<EnvoyConfigObjectPatch>,
    /// Order among filters, lower first.
    pub priority: i32,
}

/// One patch: what, where and how.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct EnvoyConfigObjectPatch {
    /// Kind of part that is patched.
    #[schemars(extend("enum" = ["INVALID", "LISTENER", "FILTER_CHAIN", "NETWORK_FILTER", "HTTP_FILTER", "ROUTE_CONFIGURATION", "VIRTUAL_HOST", "HTTP_ROUTE", "CLUSTER", "EXTENSION_CONFIG", "BOOTSTRAP", "LISTENER_FILTER"]))]
    pub apply_to: String,
    /// Which parts of that kind.
    #[serde(rename = "match", skip_serializing_if = "Option::is_none")]
    pub matcher: Option<EnvoyConfigObjectMatch>,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub patch: Option<EnvoyPatch>,
}

/// Which parts a patch applies to.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct EnvoyConfigObjectMatch {
    /// Direction of the traffic.
    #[schemars(extend("enum" = ["ANY", "SIDECAR_INBOUND", "SIDECAR_OUTBOUND", "GATEWAY", "WAYPOINT"]))]
    pub context: String,
    /// Properties of the proxy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proxy: Option<ProxyMatch>,
    /// Properties of a listener.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listener: Option<ListenerMatch>,
    /// Properties of a route configuration.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub route_configuration: Option<RouteConfigurationMatch>,
    /// Properties of a cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster: Option<ClusterMatch>,
    /// Properties of a waypoint.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waypoint: Option<WaypointMatch>,
}

/// Properties of the proxy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ProxyMatch {
    /// Regular expression for the version.
    pub proxy_version: String,
    /// Node metadata it must have.
    pub metadata: BTreeMap<String, String>,
}

/// Properties of a listener.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ListenerMatch {
    /// Port number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port_number: Option<u32>,
    /// Not used.
    pub port_name: String,
    /// One of its filter chains.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filter_chain: Option<FilterChainMatch>,
    /// One of its listener filters.
    pub listener_filter: String,
    /// Its name.
    pub name: String,
}

/// Properties of a filter chain.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct FilterChainMatch {
    /// Its name.
    pub name: String,
    /// Its server name.
    pub sni: String,
    /// Its transport protocol.
    pub transport_protocol: String,
    /// Its transport socket.
    pub transport_socket: String,
    /// Its application protocols, separated by commas.
    pub application_protocols: String,
    /// Its destination port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub destination_port: Option<u32>,
    /// One of its filters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filter: Option<FilterMatch>,
}

/// A network filter and optionally an HTTP filter in it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct FilterMatch {
    /// Name of the network filter.
    pub name: String,
    /// HTTP filter in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sub_filter: Option<NameMatch>,
}

/// A part chosen by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct NameMatch {
    /// The name.
    pub name: String,
}

/// Properties of a route configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RouteConfigurationMatch {
    /// Port number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port_number: Option<u32>,
    /// Port name (gateways).
    pub port_name: String,
    /// Gateway it belongs to, `namespace/name`.
    pub gateway: String,
    /// One of its virtual hosts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vhost: Option<VirtualHostMatch>,
    /// Its name.
    pub name: String,
}

/// Properties of a virtual host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct VirtualHostMatch {
    /// Its name.
    pub name: String,
    /// One of its domains.
    pub domain_name: String,
    /// One of its routes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub route: Option<RouteMatch>,
}

/// Properties of a route.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct RouteMatch {
    /// Its name.
    pub name: String,
    /// What it does.
    #[schemars(extend("enum" = ["ANY", "ROUTE", "REDIRECT", "DIRECT_RESPONSE"]))]
    pub action: String,
}

/// Properties of a cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ClusterMatch {
    /// Port of its service.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port_number: Option<u32>,
    /// Host of its service.
    pub service: String,
    /// Its subset.
    pub subset: String,
    /// Its name.
    pub name: String,
}

/// Properties of a waypoint.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct WaypointMatch {
    /// Port number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port_number: Option<u32>,
    /// One of its filters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filter: Option<FilterMatch>,
    /// One of its routes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub route: Option<NameMatch>,
}

/// What a patch does.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct EnvoyPatch {
    /// Merge, add, remove or insert.
    #[schemars(extend("enum" = ["INVALID", "MERGE", "ADD", "REMOVE", "INSERT_BEFORE", "INSERT_AFTER", "INSERT_FIRST", "REPLACE", "MERGE_AND_REPLACE_LIST"]))]
    pub operation: String,
    /// Configuration in Envoy's JSON form.
    pub value: Map<String, Value>,
    /// Place in the order of filters.
    #[schemars(extend("enum" = ["UNSPECIFIED", "AUTHN", "AUTHZ", "STATS"]))]
    pub filter_class: String,
}
