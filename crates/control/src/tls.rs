//! istiod's own certificate, replaced while connections go on.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use parking_lot::RwLock;
use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio::time::Instant;

use crate::ca::{Authority, CaError, Live};

/// Lifetime of a serving certificate.
const TTL: Duration = Duration::from_secs(24 * 3600);
/// A certificate is replaced at half of its life.
const ROTATE: Duration = Duration::from_secs(12 * 3600);
/// After a failure.
const RETRY: Duration = Duration::from_secs(60);

/// Why istiod has no certificate to serve with.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The CA did not sign.
    #[error(transparent)]
    Ca(#[from] CaError),
    /// rustls refused what the CA made.
    #[error("istiod's serving certificate: {0}")]
    Rustls(#[from] rustls::Error),
}

/// Hands the current certificate to each handshake.
#[derive(Debug)]
pub struct Serving {
    current: RwLock<Arc<CertifiedKey>>,
}

impl ResolvesServerCert for Serving {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current.read().clone())
    }
}

/// The cryptography that everything in istiod uses.
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

impl Serving {
    /// A first certificate for these names.
    pub fn new(authority: &Authority, names: &[String]) -> Result<Self, TlsError> {
        Ok(Serving { current: RwLock::new(Arc::new(certify(authority, names)?)) })
    }

    /// The configuration of a listener.
    pub fn server_config(self: &Arc<Self>) -> Result<Arc<ServerConfig>, TlsError> {
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(self.clone());
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }

    /// Replaces the certificate in time and when another CA signs, for ever.
    pub async fn rotate(self: Arc<Self>, ca: Live, names: Vec<String>) {
        let mut changes = ca.follow();
        let mut signer = ca.now().signer;
        let mut due = Instant::now() + ROTATE;
        loop {
            tokio::select! {
                () = tokio::time::sleep_until(due) => {}
                changed = changes.changed() => {
                    let now = changes.borrow_and_update().signer.clone();
                    if changed.is_err() || Arc::ptr_eq(&now, &signer) {
                        continue;
                    }
                }
            }
            signer = ca.now().signer;
            due = Instant::now()
                + match certify(&signer, &names) {
                    Ok(key) => {
                        *self.current.write() = Arc::new(key);
                        tracing::info!("replaced the serving certificate");
                        ROTATE
                    }
                    Err(error) => {
                        tracing::error!(%error, "could not replace the serving certificate");
                        RETRY
                    }
                };
        }
    }
}

fn certify(authority: &Authority, names: &[String]) -> Result<CertifiedKey, TlsError> {
    let made = authority.sign_server(names, TTL, SystemTime::now())?;
    Ok(CertifiedKey::from_der(made.chain, made.key, &provider())?)
}
