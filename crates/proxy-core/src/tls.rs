//! TLS settings of both sides, as configured. Keys and roots are named here and held by the shell.

use std::sync::Arc;

use crate::pattern::StringMatch;

/// Where a certificate with its key comes from.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum CertificateSource {
    /// A secret by its discovery name (`default`, `kubernetes://credential`).
    Sds(Arc<str>),
    /// Files of the proxy's machine.
    Files {
        /// PEM chain.
        chain: Arc<str>,
        /// PEM key.
        key: Arc<str>,
    },
    /// In the configuration itself.
    Inline {
        /// PEM chain.
        chain: Arc<[u8]>,
        /// PEM key.
        key: Arc<[u8]>,
    },
}

/// Where the roots of trust come from.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum RootSource {
    /// A secret by its discovery name (`ROOTCA`).
    Sds(Arc<str>),
    /// A PEM file.
    File(Arc<str>),
    /// PEM in the configuration itself.
    Inline(Arc<[u8]>),
    /// The machine's own.
    System,
}

/// Which kind of name in the peer's certificate a matcher looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SanKind {
    /// URI (SPIFFE identities).
    Uri,
    /// DNS name.
    Dns,
    /// IP address.
    Ip,
    /// Mail address.
    Email,
    /// Whichever.
    Any,
}

/// A condition on the names in the peer's certificate.
#[derive(Debug, Clone)]
pub struct SanMatch {
    /// Kind of name.
    pub kind: SanKind,
    /// How it must look.
    pub matcher: StringMatch,
}

/// How the peer's certificate is judged.
#[derive(Debug, Clone, Default)]
pub struct Validation {
    /// Roots; `None` accepts any certificate unread.
    pub roots: Option<RootSource>,
    /// One of them must match, when there are any.
    pub sans: Vec<SanMatch>,
    /// Accept a certificate that doesn't chain to the roots.
    pub accept_untrusted: bool,
    /// SHA-256 of the certificate, one of which must be equal, when there are any.
    pub hashes: Vec<[u8; 32]>,
    /// SHA-256 of the public key, one of which must be equal, when there are any.
    pub keys: Vec<[u8; 32]>,
    /// PEM revocation lists: a file, or inline.
    pub revoked: Option<RootSource>,
}

/// TLS versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TlsVersion {
    /// 1.2
    V12,
    /// 1.3
    V13,
}

impl CommonTls {
    /// Secrets by their discovery names.
    pub fn secrets(&self) -> impl Iterator<Item = &Arc<str>> {
        let certificates = self.certificates.iter().filter_map(|source| match source {
            CertificateSource::Sds(name) => Some(name),
            _ => None,
        });
        let roots = match &self.validation.roots {
            Some(RootSource::Sds(name)) => Some(name),
            _ => None,
        };
        certificates.chain(roots)
    }
}

/// What both sides have.
#[derive(Debug, Clone)]
pub struct CommonTls {
    /// Distinguishes configurations that behave differently; equal for equal ones.
    pub id: u64,
    /// Own certificates.
    pub certificates: Vec<CertificateSource>,
    /// How the peer is judged.
    pub validation: Validation,
    /// Application protocols, best first.
    pub alpn: Vec<Arc<str>>,
    /// Lowest version.
    pub min: TlsVersion,
    /// Highest version.
    pub max: TlsVersion,
    /// Cipher suites for TLS 1.2, by OpenSSL's names; the proxy's own choice if there are none.
    pub ciphers: Vec<Arc<str>>,
    /// Groups of the key exchange, best first; the proxy's own choice if there are none.
    pub curves: Vec<Arc<str>>,
}

/// TLS towards clients.
#[derive(Debug, Clone)]
pub struct DownstreamTls {
    /// What both sides have.
    pub common: CommonTls,
    /// Refuse clients without certificate.
    pub require_client_certificate: bool,
}

/// TLS towards endpoints.
#[derive(Debug, Clone)]
pub struct UpstreamTls {
    /// What both sides have.
    pub common: CommonTls,
    /// Server name to ask for.
    pub sni: Option<Arc<str>>,
    /// Ask for the request's host instead, when `sni` is unset.
    pub sni_from_host: bool,
    /// The certificate must name the server name asked for.
    pub san_from_sni: bool,
}
