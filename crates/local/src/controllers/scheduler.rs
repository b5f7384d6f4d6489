//! The scheduler: gives each pod the one node there is, if the pod may run there.

use std::time::Duration;

use lateen_apiserver::{Object, Status, gvr};
use serde_json::{Value, json};

use super::api::{Api, Key};
use super::object::{Meta, set_condition};
use super::queue::{Next, Reconcile};
use super::{fitness, host_ports, pods, storage};
use crate::clock::{Clock, stamp};
use crate::events::{Recorder, Type};

/// The scheduler that pods ask for when they don't name one.
const NAME: &str = "default-scheduler";
/// When to try again a pod that fits nowhere; a change of a node brings it back earlier.
const TRY_AGAIN: Duration = Duration::from_secs(30);

/// The scheduler.
pub struct Scheduler {
    api: Api,
    events: Recorder,
    clock: Clock,
}

impl Scheduler {
    /// A scheduler that works through `api`.
    #[must_use]
    pub fn new(api: Api, events: Recorder, clock: Clock) -> Self {
        Self { api, events, clock }
    }

    /// Whether this pod is the scheduler's business.
    #[must_use]
    pub fn wants(pod: &Value) -> bool {
        let scheduler = pod.text("/spec/schedulerName");
        pod.text("/spec/nodeName").is_empty()
            && (scheduler.is_empty() || scheduler == NAME)
            && pod.items("/spec/schedulingGates").is_empty()
            && pods::is_active(pod)
    }

    async fn sync(&self, pod: &Object) -> Result<Next, Status> {
        let nodes = self.api.client.list(&gvr::NODES, None).await?.items;
        if let Some(why) = storage::unbound(&self.api, pod, &nodes).await? {
            self.refuse(pod, nodes.len(), &[why]).await?;
            return Ok(Next::After(TRY_AGAIN));
        }
        let pods = match host_ports::of(pod).is_empty() {
            true => Vec::new(),
            false => self.api.client.list(&gvr::PODS, None).await?.items,
        };
        let mut refusals = Vec::new();
        for node in &nodes {
            match fitness::refusal(pod, node).or_else(|| host_ports::taken(pod, node, &pods)) {
                None => return self.bind(pod, node.name()).await,
                Some(why) => refusals.push(why),
            }
        }
        self.refuse(pod, nodes.len(), &refusals).await?;
        Ok(Next::After(TRY_AGAIN))
    }

    async fn bind(&self, pod: &Object, node: &str) -> Result<Next, Status> {
        let mut bound = Value::clone(pod);
        bound["spec"]["nodeName"] = node.into();
        let bound = self.api.update(&gvr::PODS, bound).await?;
        let condition = json!({"status": "True"});
        self.set_scheduled(&bound, condition).await?;
        let who = format!("{}/{}", pod.namespace(), pod.name());
        let text = format!("Successfully assigned {who} to {node}");
        self.events.record(pod, Type::Normal, "Scheduled", &text);
        Ok(Next::Done)
    }

    async fn refuse(&self, pod: &Object, nodes: usize, why: &[String]) -> Result<(), Status> {
        let text = if nodes == 0 {
            "no nodes available to schedule pods".to_owned()
        } else {
            format!("0/{nodes} nodes are available: {}.", why.join(", "))
        };
        let condition = json!({"status": "False", "reason": "Unschedulable", "message": text});
        let before = pod.condition("PodScheduled");
        if before.is_none_or(|c| c["message"] != text.as_str()) {
            self.set_scheduled(pod, condition).await?;
            self.events.record(pod, Type::Warning, "FailedScheduling", &text);
        }
        Ok(())
    }

    async fn set_scheduled(&self, pod: &Object, mut condition: Value) -> Result<(), Status> {
        condition["type"] = "PodScheduled".into();
        condition["lastProbeTime"] = Value::Null;
        condition["lastTransitionTime"] = stamp(self.clock.now()).into();
        let mut conditions = pod.items("/status/conditions").to_vec();
        set_condition(&mut conditions, condition);
        let mut status = pod["status"].clone();
        if !status.is_object() {
            status = json!({"phase": "Pending"});
        }
        status["conditions"] = conditions.into();
        match self.api.set_status(&gvr::PODS, pod, status).await {
            // The node agent wrote its own status meanwhile, with this condition in it.
            Err(status) if status.code == 409 || status.code == 404 => Ok(()),
            other => other.map(|_| ()),
        }
    }
}

impl Reconcile for Scheduler {
    type Key = Key;
    type Error = Status;

    fn name(&self) -> &'static str {
        "scheduler"
    }

    async fn reconcile(&self, key: &Key) -> Result<Next, Status> {
        match self.api.find(&gvr::PODS, &key.namespace, &key.name).await? {
            Some(pod) if Self::wants(&pod) => self.sync(&pod).await,
            _ => Ok(Next::Done),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_waiting_pods_of_the_default_scheduler_are_taken() {
        let pod = |spec: Value| json!({"spec": spec, "status": {"phase": "Pending"}});
        assert!(Scheduler::wants(&pod(json!({}))));
        assert!(Scheduler::wants(&pod(json!({"schedulerName": "default-scheduler"}))));
        assert!(!Scheduler::wants(&pod(json!({"schedulerName": "mine"}))));
        assert!(!Scheduler::wants(&pod(json!({"nodeName": "lateen"}))));
        assert!(!Scheduler::wants(&pod(json!({"schedulingGates": [{"name": "g"}]}))));
    }
}
