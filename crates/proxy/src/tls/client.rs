//! TLS towards endpoints.

use std::net::IpAddr;
use std::sync::Arc;

use lateen_proxy_core::tls::UpstreamTls;
use rustls::ClientConfig;
use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use rustls::sign::SingleCertAndKey;
use tokio_rustls::TlsConnector;

use super::provider::{provider_for, versions};
use super::roots::{certificates, trust};
use super::verify::Verifier;
use super::{TlsCache, TlsError, TlsInfo};
use crate::certs::CertStore;
use crate::io::Io;

/// Sessions remembered for resumption, for each configuration.
const SESSIONS: usize = 256;

pub fn config(
    tls: &UpstreamTls,
    alpn: &[Arc<str>],
    sni: Option<&str>,
    certs: &CertStore,
) -> Result<Arc<ClientConfig>, TlsError> {
    let provider = provider_for(&tls.common)?;
    let trust = trust(&tls.common, certs)?;
    let check_name = tls.san_from_sni && sni.is_some() && trust.roots.is_some();
    let verifier = Verifier::new(&tls.common.validation, trust, provider.clone(), true, check_name);
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&versions(&tls.common))
        .map_err(|error| TlsError::Unusable(error.to_string()))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    let mut config = match certificates(&tls.common, certs)?.into_iter().next() {
        Some(certificate) => builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(certificate))),
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    config.resumption = Resumption::in_memory_sessions(SESSIONS);
    Ok(Arc::new(config))
}

impl TlsCache {
    /// Begins TLS with an endpoint at `ip`, asking for `sni`.
    pub async fn connect(
        &self,
        tls: &UpstreamTls,
        alpn: &[Arc<str>],
        sni: Option<&str>,
        ip: IpAddr,
        io: Io,
    ) -> Result<(Io, TlsInfo), TlsError> {
        let config = self.client(tls, alpn, sni)?;
        let name = match sni {
            Some(name) => ServerName::try_from(name.to_owned())
                .map_err(|_| TlsError::Unusable(format!("{name:?} can't be asked for as server name")))?,
            None => ServerName::IpAddress(ip.into()),
        };
        let stream = TlsConnector::from(config)
            .connect(name, io)
            .await
            .map_err(|error| TlsError::Handshake(error.to_string()))?;
        let connection = stream.get_ref().1;
        let info = TlsInfo::new(connection, self.local());
        info.check_expiry(connection, &tls.common.validation)?;
        Ok((Io::from(tokio_rustls::TlsStream::from(stream)), info))
    }
}
