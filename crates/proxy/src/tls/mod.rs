//! TLS of both sides: mutual authentication with SPIFFE identities, keys and roots from the certificate store.

mod client;
mod provider;
mod roots;
mod server;
#[cfg(test)]
mod tests;
mod tickets;
mod verify;

use std::cell::{OnceCell, RefCell};
use std::collections::HashMap;
use std::sync::Arc;

use lateen_proxy_core::tls::{DownstreamTls, UpstreamTls, Validation};
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, HandshakeKind, ServerConfig};

use crate::certs::{CertStore, to_pem};

use tickets::Settings;
pub use tickets::Tickets;
pub use verify::Names;

/// Why there is no TLS connection.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The workload's certificate hasn't arrived.
    #[error("this proxy has no certificate yet: it waits for the control plane to sign one")]
    NoCertificate,
    /// The roots haven't arrived.
    #[error("this proxy has no root certificates yet: it waits for the control plane to send them")]
    NoRoots,
    /// A credential hasn't arrived.
    #[error(
        "the credential {0} has not arrived: is there such a Secret with a usable certificate in this proxy's \
         namespace, and may its ServiceAccount list Secrets there?"
    )]
    NoCredential(String),
    /// A key or certificate of the configuration can't be used.
    #[error("TLS configuration can't be used: {0}")]
    Unusable(String),
    /// The handshake failed.
    #[error("TLS handshake failed: {0}")]
    Handshake(String),
    /// It took too long.
    #[error("TLS handshake took too long")]
    Timeout,
}

/// What a finished handshake tells about the peer.
#[derive(Debug, Default)]
pub struct TlsInfo {
    /// The peer's SPIFFE identity.
    pub principal: Option<Arc<str>>,
    /// Names in the peer's certificate; `None` when it showed none.
    pub peer: Option<Names>,
    /// The peer's certificate.
    certificate: Option<CertificateDer<'static>>,
    /// Its SHA-256, hexadecimal.
    hash: OnceCell<String>,
    /// The same as PEM, encoded for a header.
    encoded: OnceCell<String>,
    /// Negotiated protocol.
    pub alpn: Option<Box<str>>,
    /// Server name asked for.
    pub sni: Option<Arc<str>>,
    /// Own SPIFFE identity.
    pub local: Option<Arc<str>>,
}

impl TlsInfo {
    fn new(connection: &rustls::CommonState, local: Option<Arc<str>>) -> Self {
        let certificate = connection.peer_certificates().and_then(|chain| chain.first());
        let peer = certificate.map(|certificate| Names::of(certificate));
        Self {
            principal: peer.as_ref().and_then(Names::spiffe).map(Into::into),
            certificate: certificate.map(|certificate| certificate.clone().into_owned()),
            hash: OnceCell::new(),
            encoded: OnceCell::new(),
            peer,
            alpn: connection.alpn_protocol().map(|name| String::from_utf8_lossy(name).into()),
            sni: None,
            local,
        }
    }

    /// SHA-256 of the peer's certificate, hexadecimal; computed once.
    pub fn hash(&self) -> Option<&str> {
        let certificate = self.certificate.as_ref()?;
        Some(self.hash.get_or_init(|| hex(certificate)))
    }

    /// Refuses a session that goes on although the peer's certificate has expired since: a chain is judged only once.
    fn check_expiry(&self, connection: &rustls::CommonState, validation: &Validation) -> Result<(), TlsError> {
        let judged = validation.roots.is_some() && !validation.accept_untrusted;
        if !judged || connection.handshake_kind() != Some(HandshakeKind::Resumed) {
            return Ok(());
        }
        let now = jiff::Timestamp::now().as_second();
        if self.peer.as_ref().and_then(|names| names.not_after).is_some_and(|end| end < now) {
            let cause = "the certificate that the peer's session began with has expired";
            return Err(TlsError::Handshake(cause.to_owned()));
        }
        Ok(())
    }

    /// The peer's certificate as PEM, with what a header can't hold encoded as in URLs; made once.
    pub fn encoded_certificate(&self) -> Option<&str> {
        let certificate = self.certificate.as_ref()?;
        Some(self.encoded.get_or_init(|| url_encoded(&to_pem(std::slice::from_ref(certificate)))))
    }
}

fn url_encoded(text: &str) -> String {
    use std::fmt::Write as _;
    text.bytes().fold(String::with_capacity(text.len() * 5 / 4), |mut out, byte| {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            other => drop(write!(out, "%{other:02X}")),
        }
        out
    })
}

fn sha256(der: &[u8]) -> [u8; 32] {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, der);
    digest.as_ref().try_into().unwrap_or_default()
}

fn hex(certificate: &CertificateDer<'_>) -> String {
    sha256(certificate).iter().fold(String::with_capacity(64), |mut text, byte| {
        use std::fmt::Write as _;
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Ready configurations of one worker, made anew when certificates change.
pub struct TlsCache {
    certs: Arc<CertStore>,
    tickets: Arc<Tickets>,
    made: RefCell<Made>,
}

#[derive(Default)]
struct Made {
    generation: u64,
    server: HashMap<Settings, Arc<ServerConfig>>,
    client: HashMap<(u64, Vec<Arc<str>>), Arc<ClientConfig>>,
    local: Option<Arc<str>>,
}

impl TlsCache {
    /// Takes keys and roots from `certs`, and shares `tickets` with other workers.
    pub fn new(certs: Arc<CertStore>, tickets: Arc<Tickets>) -> Self {
        Self { certs, tickets, made: RefCell::default() }
    }

    /// Forgets everything made from certificates that changed since.
    fn refresh(&self) {
        let generation = self.certs.generation();
        let mut made = self.made.borrow_mut();
        if made.generation != generation {
            let local = self.certs.identity().and_then(|identity| identity.spiffe_id.as_deref().map(Into::into));
            *made = Made { generation, local, ..Made::default() };
        }
    }

    /// Own SPIFFE identity.
    pub fn local(&self) -> Option<Arc<str>> {
        self.refresh();
        self.made.borrow().local.clone()
    }

    fn server(&self, tls: &DownstreamTls, alpn: Option<Arc<str>>) -> Result<Arc<ServerConfig>, TlsError> {
        self.refresh();
        let key = (tls.common.id, alpn);
        if let Some(config) = self.made.borrow().server.get(&key) {
            return Ok(config.clone());
        }
        let tickets = self.tickets.of(self.made.borrow().generation, &key);
        let tickets = tickets.map_err(|error| TlsError::Unusable(error.to_string()))?;
        let config = server::config(tls, key.1.as_deref(), &self.certs, tickets)?;
        self.made.borrow_mut().server.insert(key, config.clone());
        Ok(config)
    }

    fn client(&self, tls: &UpstreamTls, alpn: &[Arc<str>], sni: Option<&str>) -> Result<Arc<ClientConfig>, TlsError> {
        self.refresh();
        // The name is part of what a certificate is checked for only when the configuration says so.
        let checked = if tls.san_from_sni { sni.map(Arc::from) } else { None };
        let key = (tls.common.id, alpn.iter().cloned().chain(checked).collect::<Vec<_>>());
        if let Some(config) = self.made.borrow().client.get(&key) {
            return Ok(config.clone());
        }
        let config = client::config(tls, alpn, sni, &self.certs)?;
        self.made.borrow_mut().client.insert(key, config.clone());
        Ok(config)
    }
}
