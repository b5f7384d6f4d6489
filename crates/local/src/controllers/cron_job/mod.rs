//! CronJobs: Jobs by the clock.

mod plan;

use lateen_apiserver::{Object, Status, gvr};
use serde_json::Value;

use self::plan::Plan;
use super::api::{Api, Key, OwnerKind};
use super::object::Meta;
use super::queue::{Next, Reconcile};
use crate::clock::Clock;
use crate::events::{Recorder, Type};

const OWNER: OwnerKind = OwnerKind { api_version: "batch/v1", kind: "CronJob" };

/// The CronJob controller.
pub struct CronJobs {
    api: Api,
    events: Recorder,
    clock: Clock,
}

impl CronJobs {
    /// A controller that works through `api`.
    #[must_use]
    pub fn new(api: Api, events: Recorder, clock: Clock) -> Self {
        Self { api, events, clock }
    }

    async fn sync(&self, cron_job: &Object) -> Result<Next, Status> {
        let mut jobs = self.api.list_in(&gvr::JOBS, cron_job.namespace()).await?;
        jobs.retain(|job| job.controller().is_some_and(|owner| owner["uid"] == cron_job.uid()));
        let mut plan = plan::plan(cron_job, &jobs, self.clock.now());
        for (kind, reason, text) in &plan.events {
            self.events.record(cron_job, *kind, reason, text);
        }
        for job in &plan.delete {
            self.api.delete_with(&gvr::JOBS, job, Some("Background")).await?;
            self.events.record(cron_job, Type::Normal, "SuccessfulDelete", &format!("Deleted job {}", job.name()));
        }
        let made = self.create(cron_job, &mut plan).await;
        self.api.set_status(&gvr::CRON_JOBS, cron_job, plan.status).await?;
        made?;
        Ok(plan.look_again.map_or(Next::Done, Next::After))
    }

    async fn create(&self, cron_job: &Object, plan: &mut Plan) -> Result<(), Status> {
        let Some((at, job)) = plan.create.take() else { return Ok(()) };
        match self.api.create(&gvr::JOBS, job.clone()).await {
            Ok(made) => {
                let text = format!("Created job {}", made.name());
                self.events.record(cron_job, Type::Normal, "SuccessfulCreate", &text);
                plan::started(&mut plan.status, &made, at);
                Ok(())
            }
            // It was made before the status could be written.
            Err(error) if error.is_already_exists() => {
                let found = self.api.find(&gvr::JOBS, job.namespace(), job.name()).await?;
                let own = found.filter(|j| j.controller().is_some_and(|o| o["uid"] == cron_job.uid())).ok_or(error)?;
                plan::started(&mut plan.status, &own, at);
                Ok(())
            }
            Err(error) => {
                let text = format!("Error creating job: {error}");
                self.events.record(cron_job, Type::Warning, "FailedCreate", &text);
                Err(error)
            }
        }
    }
}

impl Reconcile for CronJobs {
    type Key = Key;
    type Error = Status;

    fn name(&self) -> &'static str {
        "cronjob"
    }

    async fn reconcile(&self, key: &Key) -> Result<Next, Status> {
        match self.api.find(&gvr::CRON_JOBS, &key.namespace, &key.name).await? {
            Some(cron_job) => self.sync(&cron_job).await,
            None => Ok(Next::Done),
        }
    }
}

/// How a Job ended, if it did.
fn ending(job: &Value) -> Option<&'static str> {
    ["Complete", "Failed"].into_iter().find(|kind| job.condition_true(kind))
}
