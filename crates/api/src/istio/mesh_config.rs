use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::connection_pool::TcpKeepalive;
use super::load_balancer::LocalityLbSetting;
use super::virtual_service::HttpRetry;

/// Settings of the whole mesh, as kept in the ConfigMap `istio` under the key `mesh`.
///
/// The default value has no setting at all: defaults that Istio documents are applied by the accessor methods of the
/// reader, so that a fragment can be merged over them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MeshConfig {
    /// Port of the outbound listener; 15001.
    pub proxy_listen_port: Option<u32>,
    /// Port of the inbound listener; 15006.
    pub proxy_inbound_listen_port: Option<u32>,
    /// File for access logs; empty turns them off.
    pub access_log_file: String,
    /// Format of access logs.
    pub access_log_format: String,
    /// TEXT or JSON.
    pub access_log_encoding: String,
    /// Log connections that no filter chain matches.
    pub disable_envoy_listener_log: bool,
    /// Traces on.
    pub enable_tracing: Option<bool>,
    /// Settings that each proxy starts with.
    pub default_config: MeshProxyConfig,
    /// Traffic to unknown destinations; ALLOW_ANY.
    pub outbound_traffic_policy: Option<TrafficMode>,
    /// Traffic to the workload; PASSTHROUGH.
    pub inbound_traffic_policy: Option<TrafficMode>,
    /// Mutual TLS without DestinationRules; true.
    pub enable_auto_mtls: Option<bool>,
    /// Trust domain; `cluster.local`.
    pub trust_domain: String,
    /// Other names of the trust domain.
    pub trust_domain_aliases: Vec<String>,
    /// Namespaces that see services by default.
    pub default_service_export_to: Vec<String>,
    /// Namespaces that see VirtualServices by default.
    pub default_virtual_service_export_to: Vec<String>,
    /// Namespaces that see DestinationRules by default.
    pub default_destination_rule_export_to: Vec<String>,
    /// Namespace whose policies are for the whole mesh; `istio-system`.
    pub root_namespace: String,
    /// Preference by locality.
    pub locality_lb_setting: Option<LocalityLbSetting>,
    /// How often names are resolved when the answer has no time to live; 60s.
    pub dns_refresh_rate: Option<String>,
    /// Turn HTTP/1.1 into HTTP/2: UPGRADE or DO_NOT_UPGRADE.
    pub h2_upgrade_policy: String,
    /// Names of inbound clusters in statistics.
    pub inbound_cluster_stat_name: String,
    /// Names of outbound clusters in statistics.
    pub outbound_cluster_stat_name: String,
    /// TCP keep-alive.
    pub tcp_keepalive: Option<TcpKeepalive>,
    /// Merge the application's metrics into the proxy's; true.
    pub enable_prometheus_merge: Option<bool>,
    /// External authorizers, log sinks, tracers.
    pub extension_providers: Vec<Value>,
    /// Providers used when none is named.
    pub default_providers: Value,
    /// Namespaces that the mesh sees.
    pub discovery_selectors: Vec<Value>,
    /// Path normalization; BASE.
    pub path_normalization: Option<PathNormalization>,
    /// Retries of routes that do not say otherwise.
    pub default_http_retry_policy: Option<HttpRetry>,
    /// Lateen's own: retry only what surely had no effect or can be repeated without harm, unless a route says when to
    /// retry, and keep retries within 20 % of the requests; true. `false` restores Istio's behaviour.
    pub safe_retries: Option<bool>,
    /// TLS between workloads.
    #[serde(rename = "meshMTLS")]
    pub mesh_mtls: Option<TlsConfig>,
    /// TLS towards others.
    pub tls_defaults: Option<TlsConfig>,
    /// Time limit for connecting; 10s.
    pub connect_timeout: Option<String>,
    /// How long to wait for the first bytes of a connection; 0s is forever.
    pub protocol_detection_timeout: Option<String>,
    /// Visibility of services across clusters.
    pub service_settings: Vec<Value>,
    /// Further trusted roots.
    pub ca_certificates: Vec<Value>,
    /// Class of Ingress objects that are served; `istio`.
    pub ingress_class: String,
    /// Service whose address Ingress objects get.
    pub ingress_service: String,
    /// Labels of the ingress gateway's pods.
    pub ingress_selector: String,
    /// OFF, DEFAULT or STRICT.
    pub ingress_controller_mode: String,
}

/// A mode.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TrafficMode {
    /// Its name.
    pub mode: String,
}

/// Path normalization.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PathNormalization {
    /// NONE, BASE, MERGE_SLASHES, DECODE_AND_MERGE_SLASHES or DEFAULT.
    pub normalization: String,
}

/// TLS versions, curves and ciphers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TlsConfig {
    /// Lowest version.
    pub min_protocol_version: String,
    /// Key exchange curves.
    pub ecdh_curves: Vec<String>,
    /// Cipher suites.
    pub cipher_suites: Vec<String>,
}

/// Settings that a proxy starts with (`defaultConfig`, annotation `proxy.istio.io/config`).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MeshProxyConfig {
    /// Address of the control plane; `istiod.istio-system.svc:15012`.
    pub discovery_address: String,
    /// Port of the proxy's admin interface; 15000.
    pub proxy_admin_port: Option<u32>,
    /// Port of merged metrics and health; 15020.
    pub status_port: Option<u32>,
    /// Worker threads.
    pub concurrency: Option<i32>,
    /// How long old listeners drain.
    pub drain_duration: Option<String>,
    /// How long a terminating proxy drains.
    pub termination_drain_duration: Option<String>,
    /// Start the application after the proxy.
    pub hold_application_until_proxy_starts: Option<bool>,
    /// Environment of the proxy.
    pub proxy_metadata: BTreeMap<String, String>,
    /// REDIRECT, TPROXY or NONE.
    pub interception_mode: String,
    /// Directory of the proxy's files.
    pub config_path: String,
    /// Path of the proxy's binary.
    pub binary_path: String,
    /// Name given to the proxy's service.
    pub service_cluster: Value,
    /// Traces.
    pub tracing: Option<Value>,
    /// Trusted hops in front of a gateway.
    pub gateway_topology: Option<Value>,
    /// Image of the proxy.
    pub image: Option<Value>,
    /// Headers that the proxy adds.
    pub proxy_headers: Option<Value>,
    /// Readiness of the workload.
    pub readiness_probe: Option<Value>,
    /// Statistics that are kept.
    pub proxy_stats_matcher: Option<Value>,
    /// Further tags in statistics.
    pub extra_stat_tags: Vec<String>,
}
