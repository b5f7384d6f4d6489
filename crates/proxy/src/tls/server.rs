//! TLS towards clients.

use std::sync::Arc;
use std::time::Duration;

use lateen_proxy_core::tls::DownstreamTls;
use rustls::ServerConfig;
use rustls::server::{ClientHello, NoClientAuth, ProducesTickets, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio_rustls::TlsAcceptor;

use super::provider::{provider_for, versions};
use super::roots::{certificates, trust};
use super::verify::Verifier;
use super::{TlsCache, TlsError, TlsInfo};
use crate::certs::CertStore;
use crate::io::Io;

/// Longest handshake when the configuration sets no limit.
const HANDSHAKE: Duration = Duration::from_secs(15);

pub fn config(
    tls: &DownstreamTls,
    alpn: Option<&str>,
    certs: &CertStore,
    tickets: Arc<dyn ProducesTickets>,
) -> Result<Arc<ServerConfig>, TlsError> {
    let certificates = certificates(&tls.common, certs)?;
    if certificates.is_empty() {
        return Err(TlsError::NoCertificate);
    }
    let provider = provider_for(&tls.common)?;
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&versions(&tls.common))
        .map_err(|error| TlsError::Unusable(error.to_string()))?;
    let validation = &tls.common.validation;
    let builder = if validation.roots.is_some() || tls.require_client_certificate {
        let trust = trust(&tls.common, certs)?;
        let required = tls.require_client_certificate;
        builder.with_client_cert_verifier(Arc::new(Verifier::new(validation, trust, provider, required, false)))
    } else {
        builder.with_client_cert_verifier(Arc::new(NoClientAuth))
    };
    let mut config = builder.with_cert_resolver(Arc::new(ByScheme(certificates)));
    config.alpn_protocols = alpn.into_iter().map(|name| name.as_bytes().to_vec()).collect();
    config.send_half_rtt_data = true;
    // One for each connection: a client that opens the next one uses it up and gets another.
    (config.ticketer, config.send_tls13_tickets) = (tickets, 1);
    Ok(Arc::new(config))
}

/// Certificates of different kinds of keys: the first that the client can check.
#[derive(Debug)]
struct ByScheme(Vec<Arc<CertifiedKey>>);

impl ResolvesServerCert for ByScheme {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let fits = |one: &&Arc<CertifiedKey>| one.key.choose_scheme(hello.signature_schemes()).is_some();
        self.0.iter().find(fits).or(self.0.first()).cloned()
    }
}

impl TlsCache {
    /// Accepts TLS. The client's protocols come from its ClientHello: a protocol that both know is agreed on, and none
    /// when there is none, as BoringSSL does; refusing would break clients that offer only protocols of the mesh.
    pub async fn accept(
        &self,
        tls: &DownstreamTls,
        offered: &[String],
        limit: Option<Duration>,
        io: Io,
    ) -> Result<(Io, TlsInfo), TlsError> {
        let agreed = tls.common.alpn.iter().find(|name| offered.iter().any(|offer| **offer == ***name)).cloned();
        let config = self.server(tls, agreed)?;
        let accepting = TlsAcceptor::from(config).accept(io);
        let stream = tokio::time::timeout(limit.unwrap_or(HANDSHAKE), accepting)
            .await
            .map_err(|_| TlsError::Timeout)?
            .map_err(|error| TlsError::Handshake(error.to_string()))?;
        let connection = stream.get_ref().1;
        let mut info = TlsInfo::new(connection, self.local());
        info.check_expiry(connection, &tls.common.validation)?;
        info.sni = connection.server_name().map(Into::into);
        Ok((Io::from(tokio_rustls::TlsStream::from(stream)), info))
    }
}
