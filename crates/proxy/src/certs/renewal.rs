//! Gets the first certificate and every following one.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::crypto::CryptoProvider;

use super::CertError;
use super::authority::Authority;
use super::identity::{Identity, Roots, certificates_in};
use super::request::PendingKey;
use super::store::CertStore;
use crate::backoff::Backoff;

/// How certificates are asked for.
#[derive(Clone, Debug)]
pub struct Renewal {
    /// The identity to ask for.
    pub spiffe_id: String,
    /// The lifetime to ask for.
    pub lifetime: Duration,
    /// Which part of its lifetime is left when a certificate is renewed.
    pub grace_ratio: f64,
    /// By how much that part varies, so that a fleet does not renew at once.
    pub grace_jitter: f64,
    /// File with roots to trust besides the authority's own.
    pub root_file: PathBuf,
}

/// Keeps `store` filled with a fresh certificate, for ever.
pub async fn keep_fresh(
    renewal: Renewal,
    authority: impl Authority,
    store: Arc<CertStore>,
    provider: Arc<CryptoProvider>,
) {
    let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(10));
    loop {
        match obtain(&renewal, &authority, &provider).await {
            Ok((identity, roots)) => {
                backoff.reset();
                let pause = renewal.pause(&identity, SystemTime::now(), fastrand::f64());
                tracing::info!(
                    identity = identity.spiffe_id.as_deref().unwrap_or("none"),
                    serial = identity.serial,
                    renew_in_seconds = pause.as_secs(),
                    "workload certificate obtained"
                );
                store.replace(identity, roots);
                tokio::time::sleep(pause).await;
            }
            Err(error) => {
                let pause = backoff.next();
                tracing::warn!(%error, retry_in_ms = pause.as_millis() as u64, "no workload certificate");
                tokio::time::sleep(pause).await;
            }
        }
    }
}

async fn obtain(
    renewal: &Renewal,
    authority: &impl Authority,
    provider: &CryptoProvider,
) -> Result<(Identity, Roots), CertError> {
    let pending = PendingKey::generate(&renewal.spiffe_id)?;
    let answer = authority.sign(pending.csr.clone(), renewal.lifetime).await?;
    let mut certificates = Vec::new();
    for pem in &answer {
        certificates.extend(certificates_in(pem.as_bytes())?);
    }
    if certificates.len() < 2 {
        return Err(CertError::Answer("it lacks the root certificate".to_owned()));
    }
    let mut roots: Vec<_> = certificates.pop().into_iter().collect();
    // Peers may still (or already) use a root that only the file knows.
    if let Ok(pem) = tokio::fs::read(&renewal.root_file).await {
        roots.extend(certificates_in(&pem)?);
    }
    Ok((Identity::new(certificates, pending.into_key(), provider)?, Roots::new(roots)?))
}

impl Renewal {
    /// How long to wait before the next renewal; `chance` is from 0 to 1.
    fn pause(&self, identity: &Identity, now: SystemTime, chance: f64) -> Duration {
        let ratio = (self.grace_ratio + self.grace_jitter * (chance * 2.0 - 1.0)).clamp(0.0, 1.0);
        let due = identity.not_after - identity.lifetime().mul_f64(ratio);
        due.duration_since(now).unwrap_or_default().max(Duration::from_secs(1))
    }
}

#[cfg(test)]
mod tests;
