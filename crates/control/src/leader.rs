//! Which istiod of several does what must be done once: the one that holds a Lease.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// How long the Lease holds unless it is renewed, as in client-go.
const HOLDS: Duration = Duration::from_secs(15);
/// How long its holder goes on without having renewed it: less, so that there are never two.
const TRUSTS: Duration = Duration::from_secs(10);
/// Pause between attempts to get or renew it.
const PAUSE: Duration = Duration::from_secs(2);

/// Takes part in the election for the Lease `name` until `shutdown`, then gives it back; the receiver tells whether
/// this istiod leads.
pub fn elect(
    client: Client,
    namespace: &str,
    name: &'static str,
    identity: &str,
    shutdown: CancellationToken,
) -> (watch::Receiver<bool>, impl Future<Output = ()> + use<>) {
    let (leads, leading) = watch::channel(false);
    let candidate = Candidate {
        api: Api::namespaced(client, namespace),
        name,
        identity: identity.to_owned(),
        leads,
        renewed: None,
        seen: None,
    };
    (leading, candidate.run(shutdown))
}

struct Candidate {
    api: Api<Lease>,
    name: &'static str,
    identity: String,
    leads: watch::Sender<bool>,
    /// When the Lease was last known to be ours.
    renewed: Option<Instant>,
    /// What another's Lease looks like, and since when: clocks of two machines are never compared.
    seen: Option<(LeaseSpec, Instant)>,
}

impl Candidate {
    async fn run(mut self, shutdown: CancellationToken) {
        loop {
            match tokio::time::timeout(TRUSTS / 2, self.attempt()).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::debug!(lease = self.name, %error, "election"),
                Err(_) => tracing::debug!(lease = self.name, "election: the API server does not answer"),
            }
            let leads = self.renewed.is_some_and(|at| at.elapsed() < TRUSTS);
            if self.leads.send_if_modified(|was| std::mem::replace(was, leads) != leads) {
                tracing::info!(lease = self.name, leads, "election");
            }
            tokio::select! {
                () = tokio::time::sleep(PAUSE) => {}
                () = shutdown.cancelled() => break,
            }
        }
        self.leads.send_replace(false);
        if self.renewed.is_some() {
            // It runs out by itself if this fails.
            let _ = tokio::time::timeout(PAUSE, self.give_back()).await;
        }
    }

    /// Renews the Lease, or takes one that nobody holds.
    async fn attempt(&mut self) -> Result<(), kube::Error> {
        let Some(found) = self.api.get_opt(self.name).await? else {
            let metadata = ObjectMeta { name: Some(self.name.to_owned()), ..Default::default() };
            let lease = Lease { metadata, spec: Some(self.spec(None)) };
            return self.claim(self.api.create(&PostParams::default(), &lease).await);
        };
        let spec = found.spec.clone().unwrap_or_default();
        if !self.may_take(&spec) {
            self.renewed = None;
            return Ok(());
        }
        let lease = Lease { spec: Some(self.spec(Some(&spec))), ..found };
        self.claim(self.api.replace(self.name, &PostParams::default(), &lease).await)
    }

    /// Another was faster when there is a conflict.
    fn claim(&mut self, result: Result<Lease, kube::Error>) -> Result<(), kube::Error> {
        match result {
            Ok(_) => self.renewed = Some(Instant::now()),
            Err(kube::Error::Api(status)) if status.code == 409 => self.renewed = None,
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn may_take(&mut self, found: &LeaseSpec) -> bool {
        let holder = found.holder_identity.as_deref().unwrap_or_default();
        if holder.is_empty() || holder == self.identity {
            return true;
        }
        match &self.seen {
            Some((seen, since)) if seen == found => since.elapsed() >= HOLDS,
            _ => {
                self.seen = Some((found.clone(), Instant::now()));
                false
            }
        }
    }

    fn spec(&self, previous: Option<&LeaseSpec>) -> LeaseSpec {
        let now = MicroTime(Timestamp::now());
        let own = previous.filter(|p| p.holder_identity.as_deref() == Some(self.identity.as_str()));
        let transitions = previous.map_or(0, |p| p.lease_transitions.unwrap_or(0) + i32::from(own.is_none()));
        LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: Some(HOLDS.as_secs() as i32),
            acquire_time: own.and_then(|p| p.acquire_time.clone()).or(Some(now.clone())),
            renew_time: Some(now),
            lease_transitions: Some(transitions),
            ..Default::default()
        }
    }

    async fn give_back(&self) -> Result<(), kube::Error> {
        let Some(found) = self.api.get_opt(self.name).await? else { return Ok(()) };
        let mut spec = found.spec.clone().unwrap_or_default();
        if spec.holder_identity.as_deref() != Some(self.identity.as_str()) {
            return Ok(());
        }
        spec.holder_identity = None;
        let lease = Lease { spec: Some(spec), ..found };
        self.api.replace(self.name, &PostParams::default(), &lease).await.map(drop)
    }
}
