//! Gets the first certificate and every following one.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::crypto::CryptoProvider;
use rustls_pki_types::CertificateDer;
use tokio::time::Instant;

use super::CertError;
use super::authority::Authority;
use super::identity::{Identity, Roots, certificates_in};
use super::request::{KeyKind, PendingKey};
use super::store::CertStore;
use super::trusted::{Trusted, TrustedFiles};
use crate::backoff::Backoff;

/// How certificates are asked for.
#[derive(Clone, Debug)]
pub struct Renewal {
    /// The identity to ask for.
    pub spiffe_id: String,
    /// What key to make.
    pub key: KeyKind,
    /// The lifetime to ask for.
    pub lifetime: Duration,
    /// Which part of its lifetime is left when a certificate is renewed.
    pub grace_ratio: f64,
    /// By how much that part varies, so that a fleet does not renew at once.
    pub grace_jitter: f64,
    /// File with roots to trust besides the authority's own.
    pub root_file: PathBuf,
}

/// How often the files with what is trusted are looked at.
const LOOK: Duration = Duration::from_secs(5);
/// When certificates are signed under another root, all of a mesh are renewed: within this time.
const SPREAD: Duration = Duration::from_secs(20);

/// Keeps `store` filled with a fresh certificate and with what is trusted, for ever.
pub async fn keep_fresh(
    renewal: Renewal,
    authority: impl Authority,
    store: Arc<CertStore>,
    provider: Arc<CryptoProvider>,
) {
    let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(10));
    let mut watch = Watch { files: TrustedFiles::new(&renewal.root_file), under: None, look: LOOK, spread: SPREAD };
    loop {
        watch.files.changed().await;
        let pause = match obtain(&renewal, &authority, watch.files.last(), &provider).await {
            Ok(new) => {
                backoff.reset();
                let pause = renewal.pause(&new.identity, SystemTime::now(), fastrand::f64());
                tracing::info!(
                    identity = new.identity.spiffe_id.as_deref().unwrap_or("none"),
                    serial = new.identity.serial,
                    renew_in_seconds = pause.as_secs(),
                    "workload certificate obtained"
                );
                watch.under = Some(new.under);
                store.replace(new.identity, new.roots);
                pause
            }
            Err(error) => {
                let pause = backoff.next();
                let retry_in_ms = pause.as_millis() as u64;
                match store.identity().map(|now| now.not_after.duration_since(SystemTime::now())) {
                    None => tracing::warn!(%error, retry_in_ms, "no workload certificate"),
                    Some(left) => {
                        let ends_in_seconds = left.unwrap_or_default().as_secs();
                        tracing::warn!(%error, retry_in_ms, ends_in_seconds, "the workload certificate is not renewed");
                    }
                }
                pause
            }
        };
        watch.wait(pause, &store).await;
    }
}

/// Follows what is trusted while there is nothing to renew.
struct Watch {
    files: TrustedFiles,
    /// The root that the current certificate was signed under.
    under: Option<CertificateDer<'static>>,
    look: Duration,
    spread: Duration,
}

impl Watch {
    /// Waits; less when certificates are signed under another root now.
    async fn wait(&mut self, pause: Duration, store: &CertStore) {
        let mut due = Instant::now() + pause;
        loop {
            let now = Instant::now();
            if now >= due {
                return;
            }
            tokio::time::sleep_until(due.min(now + self.look)).await;
            let Some(trusted) = self.files.changed().await else { continue };
            tracing::info!(roots = trusted.roots.certificates.len(), "what is trusted changed");
            store.replace_roots(trusted.roots.clone());
            if self.under.as_ref().is_some_and(|under| *under != trusted.first) {
                due = due.min(Instant::now() + self.spread.mul_f64(fastrand::f64()));
            }
        }
    }
}

/// A new certificate.
struct Obtained {
    identity: Identity,
    roots: Roots,
    /// The root that it was signed under.
    under: CertificateDer<'static>,
}

async fn obtain(
    renewal: &Renewal,
    authority: &impl Authority,
    trusted: Option<&Trusted>,
    provider: &CryptoProvider,
) -> Result<Obtained, CertError> {
    let pending = PendingKey::generate(renewal.key, &renewal.spiffe_id)?;
    let answer = authority.sign(pending.csr.clone(), renewal.lifetime).await?;
    let (mut chain, mut roots) = split(&answer)?;
    let Some(under) = roots.first().cloned() else {
        return Err(CertError::Answer("it lacks the root certificate".to_owned()));
    };
    // Peers may still (or already) use a root that only the file knows.
    roots.extend(trusted.iter().flat_map(|trusted| trusted.roots.certificates.iter().cloned()));
    let mut roots = Roots::new(roots)?;
    roots.revoked = trusted.and_then(|trusted| trusted.roots.revoked.clone());
    // The root is nothing to send: whoever checks has it.
    chain.retain(|certificate| *certificate != under);
    Ok(Obtained { identity: Identity::new(chain, pending.into_key(), provider)?, roots, under })
}

/// The chain and the roots of an answer: the last of its texts holds the roots, or is the root if there is but one text.
fn split(answer: &[String]) -> Result<(Vec<CertificateDer<'static>>, Vec<CertificateDer<'static>>), CertError> {
    let parse = |text: &String| certificates_in(text.as_bytes());
    let Some((last, others)) = answer.split_last() else { return Ok(Default::default()) };
    let mut roots = parse(last)?;
    if others.is_empty() {
        let root = roots.pop().filter(|_| !roots.is_empty());
        return Ok((roots, root.into_iter().collect()));
    }
    let chain: Vec<Vec<_>> = others.iter().map(parse).collect::<Result<_, _>>()?;
    Ok((chain.concat(), roots))
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
