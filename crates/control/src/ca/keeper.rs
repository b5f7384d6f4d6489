//! Follows the Secrets that hold the CA, and makes a new root before the old one ends.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::Secret;
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client};

use super::rotation::{Offered, Rotation};
use super::secret::{self, Kept, PLUGGED, SELF_SIGNED};
use super::{Authority, CaError, Live, expiry};

/// Pause after the API server failed.
const RETRY: Duration = Duration::from_secs(5);

/// When the CA changes.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// For how long a new root is only trusted before anything is signed under it.
    pub announce: Duration,
    /// How often ends of certificates are looked at.
    pub check: Duration,
    /// A root made by istiod is renewed when this part of its lifetime is left, from 0 to 1.
    pub grace: f64,
}

/// Keeps a [`Live`] CA as the Secrets say.
pub struct Keeper {
    /// The Kubernetes API.
    pub client: Client,
    /// istiod's namespace.
    pub namespace: String,
    /// The trust domain of new roots.
    pub trust_domain: String,
    /// The CA to keep.
    pub live: Live,
    /// When it changes.
    pub timing: Timing,
}

impl Keeper {
    /// Runs for ever.
    pub async fn run(self) {
        let secrets = |name| {
            let api: Api<Secret> = Api::namespaced(self.client.clone(), &self.namespace);
            let selected = watcher::Config::default().fields(&format!("metadata.name={name}"));
            watcher::watcher(api, selected).default_backoff().boxed()
        };
        let mut events = futures::stream::select(secrets(PLUGGED), secrets(SELF_SIGNED));
        let mut rotation = Rotation::new(self.live.now().signer);
        let mut check = tokio::time::interval(self.timing.check);
        loop {
            tokio::select! {
                Some(event) = events.next() => match event {
                    Ok(watcher::Event::Apply(_) | watcher::Event::Delete(_) | watcher::Event::InitDone) => {
                        self.look(&mut rotation).await;
                    }
                    Ok(_) => {}
                    Err(error) => tracing::debug!(%error, "watch of the CA's secrets"),
                },
                () = sleep_until(rotation.due()) => self.advance(&mut rotation),
                _ = check.tick() => self.look(&mut rotation).await,
            }
        }
    }

    /// Takes what the Secret holds now; tries again while the API server doesn't answer.
    async fn look(&self, rotation: &mut Rotation) {
        loop {
            match self.follow(rotation).await {
                Err(error @ CaError::Secret { .. }) => {
                    tracing::warn!(%error, "reading the CA; trying again");
                    tokio::time::sleep(RETRY).await;
                }
                Err(error) => {
                    tracing::error!(%error, "signing on with the CA of before");
                    return;
                }
                Ok(()) => return,
            }
        }
    }

    async fn follow(&self, rotation: &mut Rotation) -> Result<(), CaError> {
        let now = SystemTime::now();
        let Some(kept) = secret::find(&self.client, &self.namespace).await? else {
            tracing::error!("the secret with the CA's key is gone: signing on with the CA of before until istiod ends");
            return Ok(());
        };
        let authority = kept.authority()?;
        let advice = if kept.plugged { "renew secret cacerts" } else { "see why istiod can't renew istio-ca-secret" };
        expiry::warn(&authority, advice, now);
        if self.is_due(&kept, &authority, now) {
            tracing::info!("making a new root; the one of before stays trusted until it ends");
            // The change of the Secret brings it here.
            return secret::renew(&self.client, &self.namespace, &self.trust_domain, &kept, now).await;
        }
        match rotation.offer(authority, now, self.timing.announce) {
            Offered::Known => return Ok(()),
            Offered::Signs => tracing::info!("the CA changed: signing with it from now on"),
            Offered::Announced(at) => {
                let seconds = at.duration_since(now).unwrap_or_default().as_secs();
                tracing::info!(seconds, "the CA has a new root: it is trusted from now on, and signs after this time");
            }
        }
        self.live.replace(rotation.active());
        Ok(())
    }

    fn is_due(&self, kept: &Kept, authority: &Authority, now: SystemTime) -> bool {
        !kept.plugged && (kept.rotation_asked() || authority.root_left(now) <= self.timing.grace)
    }

    fn advance(&self, rotation: &mut Rotation) {
        if rotation.advance(SystemTime::now()) {
            let active = rotation.active();
            if !Arc::ptr_eq(&active.signer, &self.live.now().signer) {
                tracing::info!("signing under the new root from now on");
            }
            self.live.replace(active);
        }
    }
}

async fn sleep_until(moment: Option<SystemTime>) {
    match moment {
        Some(moment) => {
            // Certificates end at full seconds.
            let left = moment.duration_since(SystemTime::now()).unwrap_or_default();
            tokio::time::sleep(left + Duration::from_millis(10)).await;
        }
        None => std::future::pending().await,
    }
}
