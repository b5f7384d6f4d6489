//! What is in front of a gateway (`gatewayTopology` of ProxyConfig).

use serde_json::Value;

/// What happens to `x-forwarded-client-cert`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ClientCert {
    /// Removed.
    Sanitize,
    /// Passed on over mutual TLS.
    ForwardOnly,
    /// Appended to over mutual TLS.
    AppendForward,
    /// Replaced over mutual TLS, else removed.
    #[default]
    SanitizeSet,
    /// Passed on.
    AlwaysForwardOnly,
}

/// What is in front of a gateway.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Topology {
    /// Proxies in front whose `x-forwarded-for` is believed.
    pub trusted_proxies: u32,
    /// What happens to `x-forwarded-client-cert`.
    pub client_cert: ClientCert,
    /// Connections begin with the PROXY protocol.
    pub proxy_protocol: bool,
}

impl Topology {
    /// Reads the setting; what it doesn't say has its default.
    pub fn parse(value: &Value) -> Self {
        let proxies = value.get("numTrustedProxies").and_then(Value::as_f64).unwrap_or(0.0);
        let client_cert = match value.get("forwardClientCertDetails").and_then(Value::as_str) {
            Some("SANITIZE") => ClientCert::Sanitize,
            Some("FORWARD_ONLY") => ClientCert::ForwardOnly,
            Some("APPEND_FORWARD") => ClientCert::AppendForward,
            Some("ALWAYS_FORWARD_ONLY") => ClientCert::AlwaysForwardOnly,
            _ => ClientCert::default(),
        };
        Self {
            trusted_proxies: proxies.clamp(0.0, 100.0) as u32,
            client_cert,
            proxy_protocol: value.get("proxyProtocol").is_some_and(|p| !p.is_null()),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_not_said_has_its_default() {
        assert_eq!(Topology::parse(&json!({})), Topology::default());
        let said = json!({"numTrustedProxies": 2, "forwardClientCertDetails": "APPEND_FORWARD", "proxyProtocol": {}});
        let expected = Topology { trusted_proxies: 2, client_cert: ClientCert::AppendForward, proxy_protocol: true };
        assert_eq!(Topology::parse(&said), expected);
    }
}
