use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::connection_pool::ConnectionPoolSettings;
use super::gateway::ServerTlsSettings;
use super::types::{DeclaredPort, LabelSelector};
use super::virtual_service::Destination;

/// What sidecars of some workloads accept and reach.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Sidecar {
    /// Workloads this is for; all of the namespace if unset.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workload_selector: Option<LabelSelector>,
    /// Inbound listeners; replace those from Services.
    pub ingress: Vec<IstioIngressListener>,
    /// What may be reached.
    pub egress: Vec<IstioEgressListener>,
    /// Limits for inbound connections.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inbound_connection_pool: Option<ConnectionPoolSettings>,
    /// What happens to traffic for unknown destinations.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outbound_traffic_policy: Option<SidecarOutboundTrafficPolicy>,
}

/// One inbound listener.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("required" = ["port"]))]
pub struct IstioIngressListener {
    /// Port and protocol.
    pub port: DeclaredPort,
    /// Address to listen on.
    pub bind: String,
    /// How traffic gets to the listener.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capture_mode: Option<CaptureMode>,
    /// Where it forwards to: `127.0.0.1:port`, `0.0.0.0:port` or `unix://path`.
    pub default_endpoint: String,
    /// TLS to terminate instead of mesh TLS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<ServerTlsSettings>,
    /// Limits for this listener.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connection_pool: Option<ConnectionPoolSettings>,
}

/// One outbound listener.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("required" = ["hosts"]))]
pub struct IstioEgressListener {
    /// Port; without it the listener covers all other ports.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<DeclaredPort>,
    /// Address to listen on.
    pub bind: String,
    /// How traffic gets to the listener.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capture_mode: Option<CaptureMode>,
    /// Hosts that may be reached, `namespace/host`.
    pub hosts: Vec<String>,
}

/// How traffic gets to a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum CaptureMode {
    /// As the proxy was set up.
    Default,
    /// By redirection.
    Iptables,
    /// By connecting to the listener.
    None,
}

/// What happens to traffic for unknown destinations.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct SidecarOutboundTrafficPolicy {
    /// Drop it or let it pass.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<SidecarOutboundMode>,
    /// Where to send it instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub egress_proxy: Option<Destination>,
}

/// Drop unknown traffic or let it pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum SidecarOutboundMode {
    /// Drop.
    RegistryOnly,
    /// Let pass.
    AllowAny,
}
