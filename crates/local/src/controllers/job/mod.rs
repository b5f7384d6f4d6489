//! Jobs: pods that run to their end.

mod index;
mod ledger;
mod plan;
mod policy;
mod status;

use lateen_apiserver::{Object, Status, gvr};
use serde_json::{Value, json};

use self::ledger::{FINALIZER, INDEX, INDEX_FAILURES};
use self::plan::{New, Plan};
use super::api::{Api, Key, OwnerKind};
use super::object::{Meta, map_mut};
use super::pods;
use super::queue::{Next, Reconcile};
use crate::clock::Clock;
use crate::events::{Recorder, Type};

const OWNER: OwnerKind = OwnerKind { api_version: "batch/v1", kind: "Job" };
const JOB_NAME: &str = "batch.kubernetes.io/job-name";
const INDEX_VARIABLE: &str = "JOB_COMPLETION_INDEX";

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
        let pods = self.api.claim(&gvr::PODS, job, OWNER).await?;
        let plan = plan::plan(job, &pods, self.clock.now());
        let done = self.carry_out(job, &plan).await;
        let shown = self.api.set_status(&gvr::JOBS, job, plan.status.clone()).await?;
        self.tell(job, &shown);
        done?;
        for pod in &plan.release {
            self.release(pod).await?;
        }
        if plan.expired {
            self.api.delete_with(&gvr::JOBS, job, Some("Foreground")).await?;
        }
        Ok(plan.look_again.map_or(Next::Done, Next::After))
    }

    async fn carry_out(&self, job: &Object, plan: &Plan) -> Result<(), Status> {
        for pod in &plan.delete {
            if !plan.counts_deleted {
                self.release(pod).await?;
            }
            pods::delete(&self.api, &self.events, job, pod).await?;
        }
        for new in &plan.create {
            pods::create(&self.api, &self.events, job, pod(job, *new)).await?;
        }
        Ok(())
    }

    /// Say what changed about the Job as a whole, once.
    fn tell(&self, before: &Object, after: &Object) {
        let turned = |kind: &str, status: &str| {
            let is = |job: &Value| job.condition(kind).is_some_and(|c| c["status"] == status);
            is(after) && !is(before)
        };
        if turned("Suspended", "True") {
            self.events.record(before, Type::Normal, "Suspended", "Job suspended");
        }
        if turned("Suspended", "False") {
            self.events.record(before, Type::Normal, "Resumed", "Job resumed");
        }
        if turned("Complete", "True") {
            self.events.record(before, Type::Normal, "Completed", "Job completed");
        }
        if turned("Failed", "True")
            && let Some(failed) = after.condition("Failed")
        {
            self.events.record(before, Type::Warning, failed.text("/reason"), failed.text("/message"));
        }
    }

    /// The pod has been counted, or nobody counts it.
    async fn release(&self, pod: &Object) -> Result<(), Status> {
        if !ledger::is_tracked(pod) {
            return Ok(());
        }
        let Some(pod) = self.api.find(&gvr::PODS, pod.namespace(), pod.name()).await?.filter(|p| p.uid() == pod.uid())
        else {
            return Ok(());
        };
        let mut free = Value::clone(&pod);
        if let Some(list) = free.pointer_mut("/metadata/finalizers").and_then(Value::as_array_mut) {
            list.retain(|f| f != FINALIZER);
        }
        match self.api.update(&gvr::PODS, free).await {
            Err(error) if !error.is_not_found() => Err(error),
            _ => Ok(()),
        }
    }

    /// Lets go the pods that no Job counts: theirs is gone, or going.
    async fn release_others(&self, key: &Key, job: Option<&Object>) -> Result<(), Status> {
        for pod in self.api.list_in(&gvr::PODS, &key.namespace).await?.iter().filter(|p| ledger::is_tracked(p)) {
            let counted = pod.controller().is_some_and(|owner| job.is_some_and(|job| owner["uid"] == job.uid()));
            let named = match pod.controller() {
                Some(owner) => owner["kind"] == OWNER.kind && owner["name"] == key.name.as_str(),
                None => pod.label(JOB_NAME) == Some(&key.name),
            };
            if named && !counted {
                self.release(pod).await?;
            }
        }
        Ok(())
    }
}

/// The key of a Job whose pod has lost it, so that someone lets the pod go.
pub fn left_behind(pod: &Value) -> Option<Key> {
    let name = pod.label(JOB_NAME).filter(|_| ledger::is_tracked(pod) && pod.controller().is_none())?;
    Some(Key::new(pod.namespace(), name))
}

/// A pod of the Job.
fn pod(job: &Value, new: New) -> Value {
    let mut pod = pods::by_template(job, OWNER);
    let metadata = map_mut(&mut pod, "/metadata");
    metadata.insert("finalizers".into(), json!([FINALIZER]));
    let Some(index) = new.index else { return pod };
    let name = format!("{}-{index}", job.name());
    metadata.insert("generateName".into(), format!("{name}-").into());
    for kind in ["labels", "annotations"] {
        map_mut(&mut pod, &format!("/metadata/{kind}")).insert(INDEX.into(), index.to_string().into());
    }
    if let Some(failures) = new.failures {
        map_mut(&mut pod, "/metadata/annotations").insert(INDEX_FAILURES.into(), failures.to_string().into());
    }
    map_mut(&mut pod, "/spec").insert("hostname".into(), name.into());
    for list in ["/spec/containers", "/spec/initContainers"] {
        let containers = pod.pointer_mut(list).and_then(Value::as_array_mut);
        containers.into_iter().flatten().for_each(tell_index);
    }
    pod
}

/// The container's programs find their index in the environment.
fn tell_index(container: &mut Value) {
    let mut variables = container.items("/env").to_vec();
    if variables.iter().any(|v| v["name"] == INDEX_VARIABLE) {
        return;
    }
    let field = format!("metadata.labels['{INDEX}']");
    variables
        .push(json!({"name": INDEX_VARIABLE, "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": field}}}));
    map_mut(container, "").insert("env".into(), variables.into());
}

impl Reconcile for Jobs {
    type Key = Key;
    type Error = Status;

    fn name(&self) -> &'static str {
        "job"
    }

    async fn reconcile(&self, key: &Key) -> Result<Next, Status> {
        let job = self.api.find(&gvr::JOBS, &key.namespace, &key.name).await?.filter(|job| !job.is_terminating());
        self.release_others(key, job.as_ref()).await?;
        match job {
            Some(job) => self.sync(&job).await,
            None => Ok(Next::Done),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_with_an_index_knows_it() {
        let job = json!({
            "metadata": {"name": "work", "namespace": "n", "uid": "u"},
            "spec": {"template": {"metadata": {}, "spec": {"containers": [{"name": "a"}]}}},
        });
        let pod = pod(&job, New { index: Some(2), failures: Some(1) });
        assert_eq!(pod["metadata"]["generateName"], "work-2-");
        assert_eq!((pod.label(INDEX), pod.annotation(INDEX)), (Some("2"), Some("2")));
        assert_eq!((ledger::failures(&pod), pod.text("/spec/hostname")), (1, "work-2"));
        assert_eq!(pod["spec"]["containers"][0]["env"][0]["name"], INDEX_VARIABLE);
        assert!(ledger::is_tracked(&pod));
    }

    #[test]
    fn a_pod_without_its_job_is_let_go() {
        let mut pod = json!({"metadata": {"namespace": "n", "labels": {JOB_NAME: "work"}, "finalizers": [FINALIZER]}});
        assert_eq!(left_behind(&pod), Some(Key::new("n", "work")));
        pod["metadata"]["ownerReferences"] = json!([{"kind": "Job", "name": "work", "uid": "u", "controller": true}]);
        assert_eq!(left_behind(&pod), None);
    }
}
