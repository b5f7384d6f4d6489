use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::types::LabelSelector;

/// A service that Kubernetes does not know.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("required" = ["hosts"]))]
pub struct ServiceEntry {
    /// Host names.
    #[schemars(length(min = 1, max = 256))]
    pub hosts: Vec<String>,
    /// Virtual addresses, CIDR allowed.
    #[schemars(length(max = 256))]
    pub addresses: Vec<String>,
    /// Ports.
    #[schemars(length(max = 256), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub ports: Vec<ServicePort>,
    /// Inside or outside of the mesh; default outside.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub location: Option<Location>,
    /// How endpoints are found; default NONE.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resolution: Option<Resolution>,
    /// Fixed endpoints.
    #[schemars(length(max = 4096))]
    pub endpoints: Vec<WorkloadEntry>,
    /// Pods and WorkloadEntries that are the endpoints.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workload_selector: Option<LabelSelector>,
    /// Namespaces that see this object.
    pub export_to: Vec<String>,
    /// Names the server's certificate must have one of.
    pub subject_alt_names: Vec<String>,
}

/// A port of a ServiceEntry.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("required" = ["number", "name"]))]
pub struct ServicePort {
    /// Port number.
    pub number: u32,
    /// Protocol by name.
    #[schemars(length(max = 256))]
    pub protocol: String,
    /// Name, unique in the entry.
    #[schemars(length(max = 256))]
    pub name: String,
    /// Port of the endpoints, if it differs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_port: Option<u32>,
}

/// Inside or outside of the mesh.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Location {
    /// Outside.
    MeshExternal,
    /// Inside.
    MeshInternal,
}

/// How endpoints of a ServiceEntry are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Resolution {
    /// The address the caller asked for.
    #[serde(rename = "NONE")]
    None,
    /// The listed addresses.
    #[serde(rename = "STATIC")]
    Static,
    /// Names resolved by the proxy, all answers used.
    #[serde(rename = "DNS")]
    Dns,
    /// Names resolved by the proxy, first answer used.
    #[serde(rename = "DNS_ROUND_ROBIN")]
    DnsRoundRobin,
    /// The name of each request, resolved by the proxy.
    #[serde(rename = "DYNAMIC_DNS")]
    DynamicDns,
}

/// A workload that is no pod, or an endpoint of a ServiceEntry.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct WorkloadEntry {
    /// Address or host name, or `unix://` path.
    #[schemars(length(max = 256))]
    pub address: String,
    /// Ports by the service's port names.
    #[schemars(extend("maxProperties" = 128))]
    pub ports: BTreeMap<String, u32>,
    /// Labels.
    #[schemars(extend("maxProperties" = 256))]
    pub labels: BTreeMap<String, String>,
    /// Network it is in.
    #[schemars(length(max = 2048))]
    pub network: String,
    /// `region/zone/subzone`.
    #[schemars(length(max = 2048))]
    pub locality: String,
    /// Share of the traffic relative to others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight: Option<u32>,
    /// Service account it runs as.
    #[schemars(length(max = 253))]
    pub service_account: String,
}

/// A template for workloads that register themselves.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("required" = ["template"]))]
pub struct WorkloadGroup {
    /// Labels and annotations of the entries made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata: Option<WorkloadGroupMetadata>,
    /// The entries made.
    pub template: WorkloadEntry,
    /// How to find out whether a workload is healthy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub probe: Option<ReadinessProbe>,
}

/// Labels and annotations for new entries.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct WorkloadGroupMetadata {
    /// Labels.
    #[schemars(extend("maxProperties" = 256))]
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    #[schemars(extend("maxProperties" = 256))]
    pub annotations: BTreeMap<String, String>,
}

/// A health check of a workload.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ReadinessProbe {
    /// Wait before the first check.
    pub initial_delay_seconds: i32,
    /// Time limit of a check.
    pub timeout_seconds: i32,
    /// Time between checks.
    pub period_seconds: i32,
    /// Successes in a row that make it healthy.
    pub success_threshold: i32,
    /// Failures in a row that make it unhealthy.
    pub failure_threshold: i32,
    /// Check by HTTP.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http_get: Option<HttpHealthCheck>,
    /// Check by connecting.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tcp_socket: Option<TcpHealthCheck>,
    /// Check by running a command.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exec: Option<ExecHealthCheck>,
    /// Check by gRPC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grpc: Option<GrpcHealthCheck>,
}

/// Health check by HTTP.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("required" = ["port"]))]
pub struct HttpHealthCheck {
    /// Path.
    pub path: String,
    /// Port.
    pub port: u32,
    /// Host to connect to.
    pub host: String,
    /// HTTP or HTTPS.
    pub scheme: String,
    /// Headers to send.
    pub http_headers: Vec<HttpHeader>,
}

/// A header of a health check.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct HttpHeader {
    /// Its name.
    #[schemars(regex(pattern = "^[-_A-Za-z0-9]+$"))]
    pub name: String,
    /// Its value.
    pub value: String,
}

/// Health check by connecting.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(extend("required" = ["port"]))]
pub struct TcpHealthCheck {
    /// Host to connect to.
    pub host: String,
    /// Port.
    pub port: u32,
}

/// Health check by a command.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(extend("required" = ["command"]))]
pub struct ExecHealthCheck {
    /// Command and arguments.
    pub command: Vec<String>,
}

/// Health check by gRPC.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct GrpcHealthCheck {
    /// Service to ask for.
    pub service: String,
    /// Port.
    pub port: u32,
}
