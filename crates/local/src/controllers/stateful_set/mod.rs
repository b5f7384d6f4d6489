//! StatefulSets: pods with names of their own that keep their storage.

mod names;
mod plan;

use lateen_apiserver::{Object, Status, gvr};
use serde_json::Value;

use self::plan::{Action, Revisions};
use super::api::{Api, Key, OwnerKind};
use super::object::Meta;
use super::pods;
use super::queue::{Next, Reconcile};
use super::revisions::{self, History};
use crate::clock::Clock;
use crate::events::{Recorder, Type};

const OWNER: OwnerKind = OwnerKind { api_version: "apps/v1", kind: "StatefulSet" };

/// The StatefulSet controller.
pub struct StatefulSets {
    api: Api,
    events: Recorder,
    clock: Clock,
}

impl StatefulSets {
    /// A controller that works through `api`.
    #[must_use]
    pub fn new(api: Api, events: Recorder, clock: Clock) -> Self {
        Self { api, events, clock }
    }

    async fn sync(&self, set: &Object) -> Result<Next, Status> {
        if set.is_terminating() {
            return Ok(Next::Done);
        }
        let is_name = |pod: &Value| names::ordinal(set, pod).is_some();
        let pods = self.api.claim_if(&gvr::PODS, set, OWNER, is_name).await?;
        let history = revisions::history(&self.api, set, OWNER).await?;
        let current = history.find(set.text("/status/currentRevision")).unwrap_or(&history.present);
        let revisions = Revisions { current: current.name(), update: history.present.name() };
        let mut done = Ok(());
        for action in plan::plan(set, &pods, revisions, self.clock.now()) {
            done = self.act(set, current, &history, action).await;
            if done.is_err() {
                break;
            }
        }
        let now = self.clock.now();
        let shown = plan::status(set, &pods, revisions, now);
        let live = [shown.text("/currentRevision"), shown.text("/updateRevision")];
        let of_pods = pods.iter().filter_map(|p| p.label(revisions::HASH_LABEL));
        revisions::forget(&self.api, set, &history, &of_pods.chain(live).collect::<Vec<_>>()).await?;
        self.api.set_status(&gvr::STATEFUL_SETS, set, shown).await?;
        done?;
        Ok(pods::until_next_available(set, &pods, now).map_or(Next::Done, Next::After))
    }

    async fn act(&self, set: &Object, current: &Value, history: &History, action: Action) -> Result<(), Status> {
        match action {
            Action::Create { ordinal, updated } => {
                let revision = if updated { &history.present } else { current };
                let pod = names::pod(set, revision, ordinal);
                let made = self.create(set, ordinal, pod.clone()).await;
                self.tell(set, "Create", "create", &pod, made)
            }
            Action::Claims(pod) => self.keep_claims(set, &pod, false).await,
            Action::Shrink(pod) => {
                self.keep_claims(set, &pod, true).await?;
                self.delete(set, &pod).await
            }
            Action::Replace(pod) => self.delete(set, &pod).await,
            Action::Restart(pod) => {
                let text =
                    format!("StatefulSet {}/{} is recreating failed Pod {}", set.namespace(), set.name(), pod.name());
                self.events.record(set, Type::Warning, "RecreatingFailedPod", &text);
                self.delete(set, &pod).await
            }
        }
    }

    async fn create(&self, set: &Object, ordinal: i64, pod: Value) -> Result<(), Status> {
        for claim in names::claims(set, ordinal) {
            self.ensure_claim(set, &pod, claim, false).await?;
        }
        self.api.create(&gvr::PODS, pod).await.map(drop)
    }

    async fn delete(&self, set: &Object, pod: &Object) -> Result<(), Status> {
        let done = self.api.delete(&gvr::PODS, pod).await;
        self.tell(set, "Delete", "delete", pod, done)
    }

    /// Say how making or deleting a pod went.
    fn tell(
        &self,
        set: &Object,
        reason: &str,
        verb: &str,
        pod: &Value,
        done: Result<(), Status>,
    ) -> Result<(), Status> {
        let what = format!("{verb} Pod {} in StatefulSet {}", pod.name(), set.name());
        match &done {
            Ok(()) => {
                self.events.record(set, Type::Normal, &format!("Successful{reason}"), &format!("{what} successful"));
            }
            Err(error) => {
                let text = format!("{what} failed error: {error}");
                self.events.record(set, Type::Warning, &format!("Failed{reason}"), &text);
            }
        }
        done
    }

    async fn keep_claims(&self, set: &Object, pod: &Value, condemned: bool) -> Result<(), Status> {
        for claim in names::claims(set, names::ordinal(set, pod).unwrap_or(0)) {
            self.ensure_claim(set, pod, claim, condemned).await?;
        }
        Ok(())
    }

    /// The claim is there, and its owners say when it goes.
    async fn ensure_claim(&self, set: &Object, pod: &Value, wanted: Value, condemned: bool) -> Result<(), Status> {
        let owner = names::claim_owner(set, pod, condemned);
        let kind = &gvr::PERSISTENT_VOLUME_CLAIMS;
        let Some(found) = self.api.find(kind, set.namespace(), wanted.name()).await? else {
            let what = format!("create Claim {} Pod {} in StatefulSet {}", wanted.name(), pod.name(), set.name());
            let claim = names::owned(&wanted, set, owner).unwrap_or(wanted);
            self.api.create(kind, claim).await?;
            self.events.record(set, Type::Normal, "SuccessfulCreate", &format!("{what} success"));
            return Ok(());
        };
        if found.is_terminating() && !condemned {
            return Err(Status::conflict("", "persistentvolumeclaims", found.name(), "the claim is being deleted"));
        }
        match names::owned(&found, set, owner) {
            Some(changed) => self.api.update(kind, changed).await.map(drop),
            None => Ok(()),
        }
    }
}

impl Reconcile for StatefulSets {
    type Key = Key;
    type Error = Status;

    fn name(&self) -> &'static str {
        "statefulset"
    }

    async fn reconcile(&self, key: &Key) -> Result<Next, Status> {
        match self.api.find(&gvr::STATEFUL_SETS, &key.namespace, &key.name).await? {
            Some(set) => self.sync(&set).await,
            None => Ok(Next::Done),
        }
    }
}
