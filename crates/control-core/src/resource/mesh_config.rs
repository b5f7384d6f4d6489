use std::time::Duration;

use lateen_api::istio as api;
use lateen_mesh::duration;
use serde_json::Value;
use thiserror::Error;

use crate::topology::Topology;

/// Why settings of the mesh are refused.
#[derive(Debug, Error)]
#[error("the mesh configuration cannot be read: {0}; correct the key 'mesh' of ConfigMap istio-system/istio")]
pub struct BadMeshConfig(String);

/// Settings of the whole mesh; the accessors apply the defaults.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MeshConfig {
    /// The settings as written.
    pub raw: api::MeshConfig,
}

impl MeshConfig {
    /// Reads YAML; an empty text gives the defaults.
    pub fn parse(yaml: &str) -> Result<Self, BadMeshConfig> {
        if yaml.trim().is_empty() {
            return Ok(Self::default());
        }
        serde_saphyr::from_str(yaml).map(|raw| Self { raw }).map_err(|e| BadMeshConfig(e.to_string()))
    }

    /// Trust domain of the mesh.
    pub fn trust_domain(&self) -> &str {
        or(&self.raw.trust_domain, "cluster.local")
    }

    /// Namespace whose policies are for the whole mesh.
    pub fn root_namespace(&self) -> &str {
        or(&self.raw.root_namespace, "istio-system")
    }

    /// May traffic go to destinations that no service is known for.
    pub fn allow_any(&self) -> bool {
        self.raw.outbound_traffic_policy.as_ref().is_none_or(|p| p.mode != "REGISTRY_ONLY")
    }

    /// Does inbound traffic go to the loopback address instead of the pod's own.
    pub fn inbound_to_localhost(&self) -> bool {
        self.raw.inbound_traffic_policy.as_ref().is_some_and(|p| p.mode == "LOCALHOST")
    }

    /// Is mutual TLS used between sidecars without being asked for.
    pub fn auto_mtls(&self) -> bool {
        self.raw.enable_auto_mtls.unwrap_or(true)
    }

    /// File for access logs, if they are on.
    pub fn access_log_file(&self) -> Option<&str> {
        Some(self.raw.access_log_file.as_str()).filter(|f| !f.is_empty())
    }

    /// Are access logs written as JSON.
    pub fn access_log_json(&self) -> bool {
        self.raw.access_log_encoding.eq_ignore_ascii_case("JSON")
    }

    /// Time limit for connecting.
    pub fn connect_timeout(&self) -> Duration {
        parsed(self.raw.connect_timeout.as_deref(), Duration::from_secs(10))
    }

    /// How often names are resolved.
    pub fn dns_refresh_rate(&self) -> Duration {
        parsed(self.raw.dns_refresh_rate.as_deref(), Duration::from_secs(60))
    }

    /// How long to wait for the first bytes of a connection; zero is forever.
    pub fn protocol_detection_timeout(&self) -> Duration {
        parsed(self.raw.protocol_detection_timeout.as_deref(), Duration::ZERO)
    }

    /// Are retries limited to what does no harm, unless a rule says otherwise.
    pub fn safe_retries(&self) -> bool {
        self.raw.safe_retries.unwrap_or(true)
    }

    /// Preference by locality where no DestinationRule says otherwise; on by default.
    pub fn locality_lb_setting(&self) -> &api::LocalityLbSetting {
        static ON: api::LocalityLbSetting = api::LocalityLbSetting {
            distribute: Vec::new(),
            failover: Vec::new(),
            failover_priority: Vec::new(),
            enabled: Some(true),
        };
        self.raw.locality_lb_setting.as_ref().unwrap_or(&ON)
    }

    /// Port of the outbound listener.
    pub fn outbound_port(&self) -> u32 {
        self.raw.proxy_listen_port.filter(|p| *p != 0).unwrap_or(15001)
    }

    /// Port of the inbound listener.
    pub fn inbound_port(&self) -> u32 {
        self.raw.proxy_inbound_listen_port.filter(|p| *p != 0).unwrap_or(15006)
    }

    /// Class of Ingresses that are served, in their annotation.
    pub fn ingress_class(&self) -> &str {
        or(&self.raw.ingress_class, "istio")
    }

    /// Label `istio` of the pods that serve Ingresses.
    pub fn ingress_selector(&self) -> &str {
        or(&self.raw.ingress_selector, "ingressgateway")
    }

    /// What is in front of gateways, if it is said.
    pub fn gateway_topology(&self) -> Option<Topology> {
        self.raw.default_config.gateway_topology.as_ref().map(Topology::parse)
    }

    /// Path normalization by name.
    pub fn path_normalization(&self) -> &str {
        let wanted = self.raw.path_normalization.as_ref().map_or("", |p| p.normalization.as_str());
        match wanted {
            "" | "DEFAULT" => "BASE",
            other => other,
        }
    }

    /// Whether HTTP/1.1 becomes HTTP/2 between sidecars unless a DestinationRule says otherwise.
    pub fn upgrade_to_h2(&self) -> bool {
        self.raw.h2_upgrade_policy == "UPGRADE"
    }
}

fn or<'a>(text: &'a str, default: &'a str) -> &'a str {
    if text.is_empty() { default } else { text }
}

fn parsed(text: Option<&str>, default: Duration) -> Duration {
    text.and_then(|t| duration::parse(t).ok()).unwrap_or(default)
}

/// Reads the ConfigMap of the mesh.
pub(super) fn of_config_map(object: &Value) -> Result<MeshConfig, String> {
    let yaml = object.pointer("/data/mesh").and_then(Value::as_str).unwrap_or_default();
    MeshConfig::parse(yaml).map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_read_over_the_defaults() {
        let mesh = MeshConfig::parse("accessLogFile: /dev/stdout\noutboundTrafficPolicy:\n  mode: REGISTRY_ONLY\n");
        let mesh = mesh.expect("reads");
        assert_eq!((mesh.access_log_file(), mesh.allow_any()), (Some("/dev/stdout"), false));
        assert_eq!((mesh.trust_domain(), mesh.auto_mtls(), mesh.outbound_port()), ("cluster.local", true, 15001));
        assert_eq!(MeshConfig::parse("").expect("reads"), MeshConfig::default());
        assert!(MeshConfig::parse("accessLogFile: [").is_err());
    }
}
