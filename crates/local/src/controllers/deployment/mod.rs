//! Deployments: ReplicaSets for each template, rolled from one to the next.

mod plan;
mod sets;
mod status;

use lateen_apiserver::{Object, Status, gvr};
use serde_json::Value;

use self::plan::{Step, Strategy};
use self::sets::Split;
use self::status::Round;
use super::api::{Api, Key, OwnerKind};
use super::object::{Meta, map_mut};
use super::queue::{Next, Reconcile};
use super::{pods, selector, template};
use crate::clock::Clock;
use crate::events::{Recorder, Type};

const OWNER: OwnerKind = OwnerKind { api_version: "apps/v1", kind: "Deployment" };

/// The Deployment controller.
pub struct Deployments {
    api: Api,
    events: Recorder,
    clock: Clock,
}

impl Deployments {
    /// A controller that works through `api`.
    #[must_use]
    pub fn new(api: Api, events: Recorder, clock: Clock) -> Self {
        Self { api, events, clock }
    }

    async fn sync(&self, deployment: &Object) -> Result<Next, Status> {
        if selector::is_empty(&deployment["spec"]["selector"]) {
            let text = "This deployment is selecting all pods. A non-empty selector is required.";
            self.events.record(deployment, Type::Warning, "SelectingAll", text);
            return Ok(Next::Done);
        }
        let owned = self.api.claim(&gvr::REPLICA_SETS, deployment, OWNER).await?;
        let hash = template::hash(&deployment["spec"]["template"]);
        let mut split = sets::split(deployment, &hash, owned);
        let mut round = Round::Found;
        if !deployment.is_terminating() {
            round = self.roll(deployment, &hash, &mut split).await?;
        }
        let deployment = self.mark_revision(deployment, &split).await?;
        let now = self.clock.now();
        let shown = status::status(&deployment, &split, round, now);
        let later = status::look_again(&deployment, &shown, now);
        let shown = self.api.set_status(&gvr::DEPLOYMENTS, &deployment, shown).await?;
        self.clean_history(&shown, &split).await?;
        Ok(later.map_or(Next::Done, Next::After))
    }

    /// One step towards the wanted state.
    async fn roll(&self, deployment: &Object, hash: &str, split: &mut Split) -> Result<Round, Status> {
        let revision = sets::next_revision(&split.old);
        if let Some(set) = &split.new
            && let Some(refreshed) = sets::refreshed(set, deployment, revision)
        {
            split.new = Some(self.api.update(&gvr::REPLICA_SETS, refreshed).await?);
        }
        let step = self.next_step(deployment, split).await?;
        for (set, size) in split.old.iter_mut().zip(step.old) {
            *set = self.resize(deployment, set, size).await?;
        }
        match (&split.new, step.new) {
            (Some(set), size) => {
                split.new = Some(self.resize(deployment, set, size).await?);
                Ok(Round::Found)
            }
            (None, Some(size)) => {
                split.new = Some(self.create(deployment, hash, size, revision).await?);
                Ok(Round::Created)
            }
            (None, None) => Ok(Round::Found),
        }
    }

    async fn next_step(&self, deployment: &Object, split: &Split) -> Result<Step, Status> {
        let desired = sets::desired(deployment);
        let strategy = Strategy::of(deployment, desired);
        let new = split.new.as_deref().map(sets::view);
        let old: Vec<_> = split.old.iter().map(|s| sets::view(s)).collect();
        let every: Vec<_> = new.iter().chain(&old).collect();
        if deployment["spec"]["paused"] == true || plan::was_scaled(desired, &every) {
            return Ok(plan::scale(desired, strategy, new.as_ref(), &old));
        }
        if strategy == Strategy::Recreate {
            let left = self.old_pods(deployment, split).await?;
            return Ok(plan::recreate(desired, new.as_ref(), &old, left));
        }
        let Some(new) = new else {
            let first = plan::rolling(desired, strategy, &plan::Set::default(), &old);
            return Ok(Step { new: Some(first.new.unwrap_or(0)), old: vec![None; old.len()] });
        };
        Ok(plan::rolling(desired, strategy, &new, &old))
    }

    async fn old_pods(&self, deployment: &Object, split: &Split) -> Result<usize, Status> {
        let pods = self.api.list_in(&gvr::PODS, deployment.namespace()).await?;
        let of_old =
            |pod: &Object| pod.controller().is_some_and(|owner| split.old.iter().any(|set| owner["uid"] == set.uid()));
        Ok(pods.iter().filter(|p| of_old(p) && !pods::is_finished(p)).count())
    }

    async fn create(&self, deployment: &Object, hash: &str, size: i64, revision: i64) -> Result<Object, Status> {
        let set = sets::fresh(deployment, hash, size, revision);
        let made = self.api.create(&gvr::REPLICA_SETS, set).await?;
        if size > 0 {
            self.scaled(deployment, &made, 0, size);
        }
        Ok(made)
    }

    async fn resize(&self, deployment: &Object, set: &Object, size: Option<i64>) -> Result<Object, Status> {
        let from = sets::view(set).replicas;
        let Some(size) = size.filter(|size| *size != from) else {
            return match sets::remarked(set, deployment) {
                Some(marked) if from > 0 => self.api.update(&gvr::REPLICA_SETS, marked).await,
                _ => Ok(set.clone()),
            };
        };
        let resized = sets::resized(set, deployment, size);
        let resized = self.api.update(&gvr::REPLICA_SETS, resized).await?;
        self.scaled(deployment, &resized, from, size);
        Ok(resized)
    }

    fn scaled(&self, deployment: &Object, set: &Object, from: i64, to: i64) {
        let way = if to > from { "up" } else { "down" };
        let text = format!("Scaled {way} replica set {} from {from} to {to}", set.name());
        self.events.record(deployment, Type::Normal, "ScalingReplicaSet", &text);
    }

    async fn mark_revision(&self, deployment: &Object, split: &Split) -> Result<Object, Status> {
        let Some(revision) = split.new.as_deref().map(sets::revision) else {
            return Ok(deployment.clone());
        };
        if deployment.is_terminating() || sets::revision(deployment) == revision {
            return Ok(deployment.clone());
        }
        let mut marked = Value::clone(deployment);
        map_mut(&mut marked, "/metadata/annotations").insert(sets::REVISION.into(), revision.to_string().into());
        self.api.update(&gvr::DEPLOYMENTS, marked).await
    }

    async fn clean_history(&self, deployment: &Object, split: &Split) -> Result<(), Status> {
        let complete = deployment.condition("Progressing").is_some_and(|c| c["reason"] == "NewReplicaSetAvailable");
        if !complete || deployment.is_terminating() {
            return Ok(());
        }
        for set in sets::beyond_history(deployment, &split.old) {
            self.api.delete(&gvr::REPLICA_SETS, &set).await?;
        }
        Ok(())
    }
}

/// The Deployment that a pod was made for, by the name that its ReplicaSet got from us.
#[must_use]
pub fn of_pod(pod: &Value) -> Option<Key> {
    let owner = pod.controller().filter(|owner| owner["kind"] == "ReplicaSet")?;
    let hash = pod.label(template::HASH_LABEL)?;
    let name = owner.text("/name").strip_suffix(hash)?.strip_suffix('-')?;
    Some(Key::new(pod.namespace(), name))
}

impl Reconcile for Deployments {
    type Key = Key;
    type Error = Status;

    fn name(&self) -> &'static str {
        "deployment"
    }

    async fn reconcile(&self, key: &Key) -> Result<Next, Status> {
        match self.api.find(&gvr::DEPLOYMENTS, &key.namespace, &key.name).await? {
            Some(deployment) => self.sync(&deployment).await,
            None => Ok(Next::Done),
        }
    }
}
