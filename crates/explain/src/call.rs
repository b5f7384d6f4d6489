//! A connection or request to ask about.

use std::net::IpAddr;

/// What the client speaks, inside TLS if there is any.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Speaks {
    /// HTTP/1.1.
    #[default]
    Http,
    /// HTTP/2.
    Http2,
    /// Anything else.
    Tcp,
}

/// How the connection is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Protection {
    /// Not at all.
    #[default]
    Plaintext,
    /// TLS that isn't the mesh's.
    Tls,
    /// The mesh's own mutual TLS.
    MutualTls,
}

/// How the connection comes to the proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Way {
    /// It is not redirected: it meets the listener that owns address and port, and for a sidecar otherwise the
    /// catch-all of what leaves the workload.
    #[default]
    Direct,
    /// Straight to the listener of a gateway.
    Gateway,
    /// Captured on its way out of the workload.
    Outbound,
    /// Captured on its way into the workload.
    Inbound,
}

/// A connection or request to ask about.
#[derive(Debug, Clone)]
pub struct Call {
    /// Destination address.
    pub address: IpAddr,
    /// Destination port.
    pub port: u16,
    /// What the client speaks.
    pub speaks: Speaks,
    /// How it is protected.
    pub protection: Protection,
    /// Identity of the client, shown with mutual TLS.
    pub principal: Option<String>,
    /// Address of the client.
    pub client: IpAddr,
    /// Method.
    pub method: String,
    /// Host the client asks for.
    pub host: String,
    /// Path with query.
    pub path: String,
    /// Further headers, names in lower case.
    pub headers: Vec<(String, String)>,
    /// Server name of the TLS handshake; `None` derives it from the host for foreign TLS.
    pub sni: Option<String>,
    /// Application protocols of the TLS handshake; `None` takes those usual for what it speaks.
    pub alpn: Option<Vec<String>>,
    /// How it comes to the proxy.
    pub way: Way,
}

impl Call {
    /// The server name that the client sends.
    pub(crate) fn server_name(&self) -> Option<&str> {
        match (&self.sni, self.protection) {
            (_, Protection::Plaintext) => None,
            (Some(sni), _) => Some(sni),
            (None, Protection::Tls) => Some(&self.host),
            (None, Protection::MutualTls) => None,
        }
    }

    /// The application protocols that a proxy learns: from the handshake, or by looking at the first bytes.
    pub(crate) fn application_protocols(&self, looks_for_http: bool) -> Vec<&str> {
        if let (Some(alpn), true) = (&self.alpn, self.protection != Protection::Plaintext) {
            return alpn.iter().map(String::as_str).collect();
        }
        match (self.protection, self.speaks) {
            (Protection::Plaintext, Speaks::Http) if looks_for_http => vec!["http/1.1"],
            (Protection::Plaintext, Speaks::Http2) if looks_for_http => vec!["h2c"],
            (Protection::Plaintext, _) | (Protection::Tls, Speaks::Tcp) => vec![],
            (Protection::Tls, Speaks::Http) => vec!["http/1.1"],
            (Protection::Tls, Speaks::Http2) => vec!["h2"],
            (Protection::MutualTls, Speaks::Http) => vec!["istio-http/1.1", "istio", "http/1.1"],
            (Protection::MutualTls, Speaks::Http2) => vec!["istio-h2", "istio", "h2"],
            (Protection::MutualTls, Speaks::Tcp) => vec!["istio-peer-exchange", "istio"],
        }
    }
}
