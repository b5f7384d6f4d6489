use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::connection_pool::ConnectionPoolSettings;
use super::load_balancer::LoadBalancerSettings;
use super::types::{PortSelector, WorkloadSelector};

/// How to talk to a service once it is chosen.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("required" = ["host"]))]
pub struct DestinationRule {
    /// Host of the service; short names and `*.` wildcards are allowed.
    pub host: String,
    /// Policy for all traffic to the host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub traffic_policy: Option<TrafficPolicy>,
    /// Named parts of the service's endpoints.
    pub subsets: Vec<Subset>,
    /// Namespaces that see this object.
    pub export_to: Vec<String>,
    /// Calling workloads this applies to; all if unset.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workload_selector: Option<WorkloadSelector>,
}

/// A named part of a service's endpoints.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("required" = ["name"]))]
pub struct Subset {
    /// Name used in routes.
    pub name: String,
    /// Labels of the endpoints.
    pub labels: BTreeMap<String, String>,
    /// Policy for the subset; its fields override the host's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub traffic_policy: Option<TrafficPolicy>,
}

/// Policy for traffic to a destination.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct TrafficPolicy {
    /// How endpoints are chosen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub load_balancer: Option<LoadBalancerSettings>,
    /// Limits of connections and requests.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connection_pool: Option<ConnectionPoolSettings>,
    /// When endpoints are taken out for a while.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outlier_detection: Option<OutlierDetection>,
    /// TLS towards the destination.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<ClientTlsSettings>,
    /// Policies that replace this one for single ports.
    #[schemars(length(max = 4096))]
    pub port_level_settings: Vec<PortTrafficPolicy>,
    /// Tunnel TCP through HTTP.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tunnel: Option<TunnelSettings>,
    /// Send a PROXY protocol header.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proxy_protocol: Option<ProxyProtocol>,
    /// Limit retries to a share of active requests.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_budget: Option<RetryBudget>,
}

/// Policy for traffic to one port of a destination.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct PortTrafficPolicy {
    /// The port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<PortSelector>,
    /// How endpoints are chosen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub load_balancer: Option<LoadBalancerSettings>,
    /// Limits of connections and requests.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connection_pool: Option<ConnectionPoolSettings>,
    /// When endpoints are taken out for a while.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outlier_detection: Option<OutlierDetection>,
    /// TLS towards the destination.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<ClientTlsSettings>,
}

/// When endpoints are taken out for a while.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct OutlierDetection {
    /// 5xx answers in a row; default 5, 0 turns it off.
    #[serde(rename = "consecutive5xxErrors", skip_serializing_if = "Option::is_none")]
    pub consecutive_5xx_errors: Option<u32>,
    /// 502, 503 and 504 answers in a row.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub consecutive_gateway_errors: Option<u32>,
    /// Failures to connect in a row.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub consecutive_local_origin_failures: Option<u32>,
    /// Former name, for gateway errors.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub consecutive_errors: Option<i32>,
    /// Count failures to connect apart from answers.
    pub split_external_local_origin_errors: bool,
    /// Time between sweeps; default 10s.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interval: Option<String>,
    /// How long an endpoint stays out, times the number of times; default 30s.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub base_ejection_time: Option<String>,
    /// Most endpoints out at a time, in percent; default 10.
    pub max_ejection_percent: i32,
    /// Detection rests while fewer endpoints than this are healthy.
    pub min_health_percent: i32,
    /// Status codes that count as errors.
    pub outlier_detection_http_error_codes: Vec<u32>,
}

/// TLS towards a destination.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ClientTlsSettings {
    /// Kind of TLS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<ClientTlsMode>,
    /// File with the client certificate (MUTUAL).
    pub client_certificate: String,
    /// File with the key (MUTUAL).
    pub private_key: String,
    /// File with the roots; the system's if empty.
    pub ca_certificates: String,
    /// File with revoked certificates.
    pub ca_crl: String,
    /// Secret with certificate, key and roots.
    pub credential_name: String,
    /// Names the server's certificate must have one of.
    pub subject_alt_names: Vec<String>,
    /// Server name to send.
    pub sni: String,
    /// Do not verify the server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub insecure_skip_verify: Option<bool>,
}

/// Kind of TLS towards a destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ClientTlsMode {
    /// Plain text.
    Disable,
    /// TLS without client certificate.
    Simple,
    /// TLS with the given client certificate.
    Mutual,
    /// TLS with the workload's mesh certificate.
    IstioMutual,
}

/// Tunnel TCP through HTTP.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("required" = ["targetHost", "targetPort"]))]
pub struct TunnelSettings {
    /// CONNECT (default) or POST.
    pub protocol: String,
    /// Host to ask the tunnel for.
    pub target_host: String,
    /// Port to ask the tunnel for.
    pub target_port: u32,
}

/// PROXY protocol towards the destination.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ProxyProtocol {
    /// Version of the header.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<ProxyProtocolVersion>,
}

/// Version of the PROXY protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ProxyProtocolVersion {
    /// Text.
    V1,
    /// Binary.
    V2,
}

/// Limit of retries relative to active requests.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RetryBudget {
    /// Share of active requests, in percent; default 20.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub percent: Option<f64>,
    /// Retries that are always allowed; default 3.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_retry_concurrency: Option<u32>,
    /// Length of the window that is looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub budget_interval: Option<String>,
}
