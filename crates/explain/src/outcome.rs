//! What becomes of a call.

use lateen_proxy_core::jwt::Status;
use lateen_proxy_core::rbac::Denial;
use serde::Serialize;

/// Why a call reaches no destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Failure {
    /// No listener owns the address and port.
    NoListener,
    /// The listener has no filter chain for such a connection.
    NoFilterChain,
    /// The virtual host has no route for the request.
    NoRoute,
    /// No virtual host has the host name.
    NoVirtualHost,
    /// The client is sent to https.
    TlsRedirect,
    /// What the client speaks is not what the port expects.
    ProtocolError,
    /// Plaintext where TLS is required.
    TlsError,
    /// TLS without a certificate of the mesh where one is required.
    MtlsError,
    /// The path is refused before anything decides on it.
    BadPath,
    /// Authorization denies it.
    Denied,
    /// Its token is refused.
    Unauthenticated,
}

impl Failure {
    /// The name as configuration tests write it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NoListener => "no-listener",
            Self::NoFilterChain => "no-filter-chain",
            Self::NoRoute => "no-route",
            Self::NoVirtualHost => "no-virtual-host",
            Self::TlsRedirect => "tls-redirect",
            Self::ProtocolError => "protocol-error",
            Self::TlsError => "tls-error",
            Self::MtlsError => "mtls-error",
            Self::BadPath => "bad-path",
            Self::Denied => "denied",
            Self::Unauthenticated => "unauthenticated",
        }
    }
}

/// What becomes of a call: how far it came, and why it went no further.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Outcome {
    /// Why it fails; `None` when it reaches a destination.
    pub failure: Option<Failure>,
    /// The listener that took it.
    pub listener: Option<String>,
    /// The filter chain that it matched.
    pub filter_chain: Option<String>,
    /// The route table that was asked.
    pub route_table: Option<String>,
    /// The virtual host of its host name.
    pub virtual_host: Option<String>,
    /// The route that it matched.
    pub route: Option<String>,
    /// The object that made that route.
    pub source: Option<String>,
    /// The rule that denies it, in Envoy's words and in plain ones.
    pub denied_by: Option<(String, String)>,
    /// The destinations it may go to, with their weights.
    pub clusters: Vec<(String, u32)>,
}

impl Outcome {
    pub(crate) fn denied(mut self, denial: &Denial<'_>) -> Self {
        self.denied_by = Some((denial.details.to_owned(), denial.cause.clone()));
        self.failed(Failure::Denied)
    }

    pub(crate) fn refused(mut self, status: Status) -> Self {
        self.denied_by = Some((status.details(), status.to_string()));
        self.failed(Failure::Unauthenticated)
    }

    pub(crate) fn failed(mut self, failure: Failure) -> Self {
        self.failure = Some(failure);
        self
    }
}
