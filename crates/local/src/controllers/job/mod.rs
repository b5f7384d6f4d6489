//! Jobs: pods that run to their end.

mod plan;

use lateen_apiserver::{Object, Status, gvr};

use self::plan::{Outcome, Plan};
use super::api::{Api, Key, OwnerKind};
use super::object::Meta;
use super::pods;
use super::queue::{Next, Reconcile};
use crate::clock::Clock;
use crate::events::{Recorder, Type};

const OWNER: OwnerKind = OwnerKind { api_version: "batch/v1", kind: "Job" };

/// The Job controller.
pub struct Jobs {
    api: Api,
    events: Recorder,
    clock: Clock,
}

impl Jobs {
    /// A controller that works through `api`.
    #[must_use]
    pub fn new(api: Api, events: Recorder, clock: Clock) -> Self {
        Self { api, events, clock }
    }

    async fn sync(&self, job: &Object) -> Result<Next, Status> {
        if job.is_terminating() {
            return Ok(Next::Done);
        }
        let pods = self.api.claim(&gvr::PODS, job, OWNER).await?;
        let plan = plan::plan(job, &pods, self.clock.now());
        for _ in 0..plan.create {
            let pod = self.api.create(&gvr::PODS, pods::by_template(job, OWNER)).await?;
            let text = format!("Created pod: {}", pod.name());
            self.events.record(job, Type::Normal, "SuccessfulCreate", &text);
        }
        for pod in &plan.delete {
            self.api.delete(&gvr::PODS, pod).await?;
            let text = format!("Deleted pod: {}", pod.name());
            self.events.record(job, Type::Normal, "SuccessfulDelete", &text);
        }
        self.api.set_status(&gvr::JOBS, job, plan.status.clone()).await?;
        self.tell(job, &plan);
        if plan.expired {
            self.api.delete_with(&gvr::JOBS, job, Some("Foreground")).await?;
        }
        Ok(plan.look_again.map_or(Next::Done, Next::After))
    }

    /// Say how it ended, once.
    fn tell(&self, job: &Object, plan: &Plan) {
        let told = |kind: &str| job.condition_true(kind);
        match &plan.outcome {
            Some(Outcome::Complete) if !told("Complete") => {
                self.events.record(job, Type::Normal, "Completed", "Job completed");
            }
            Some(Outcome::Failed { reason, message }) if !told("Failed") => {
                self.events.record(job, Type::Warning, reason, message);
            }
            _ => {}
        }
    }
}

impl Reconcile for Jobs {
    type Key = Key;
    type Error = Status;

    fn name(&self) -> &'static str {
        "job"
    }

    async fn reconcile(&self, key: &Key) -> Result<Next, Status> {
        match self.api.find(&gvr::JOBS, &key.namespace, &key.name).await? {
            Some(job) => self.sync(&job).await,
            None => Ok(Next::Done),
        }
    }
}
