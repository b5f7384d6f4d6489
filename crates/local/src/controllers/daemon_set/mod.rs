//! DaemonSets: one pod on every node.

mod plan;

use lateen_apiserver::{Object, Status, gvr};
use serde_json::{Value, json};

use self::plan::{Gone, Plan};
use super::api::{Api, Key, OwnerKind};
use super::object::{Meta, map_mut};
use super::queue::{Next, Reconcile};
use super::{pods, revisions};
use crate::clock::Clock;
use crate::events::{Recorder, Type};

const OWNER: OwnerKind = OwnerKind { api_version: "apps/v1", kind: "DaemonSet" };
const GENERATION: &str = "deprecated.daemonset.template.generation";
const GENERATION_LABEL: &str = "pod-template-generation";

/// What a daemon puts up with: whatever is wrong with its node.
const TOLERATED: [(&str, &str); 6] = [
    ("node.kubernetes.io/not-ready", "NoExecute"),
    ("node.kubernetes.io/unreachable", "NoExecute"),
    ("node.kubernetes.io/disk-pressure", "NoSchedule"),
    ("node.kubernetes.io/memory-pressure", "NoSchedule"),
    ("node.kubernetes.io/pid-pressure", "NoSchedule"),
    ("node.kubernetes.io/unschedulable", "NoSchedule"),
];

/// The DaemonSet controller.
pub struct DaemonSets {
    api: Api,
    events: Recorder,
    clock: Clock,
}

impl DaemonSets {
    /// A controller that works through `api`.
    #[must_use]
    pub fn new(api: Api, events: Recorder, clock: Clock) -> Self {
        Self { api, events, clock }
    }

    async fn sync(&self, set: &Object) -> Result<Next, Status> {
        if set.is_terminating() {
            return Ok(Next::Done);
        }
        let pods = self.api.claim(&gvr::PODS, set, OWNER).await?;
        let history = revisions::history(&self.api, set, OWNER).await?;
        let hash = revisions::hash(&history.present).to_owned();
        let nodes = self.api.client.list(&gvr::NODES, None).await?.items;
        let sample = self.pod(set, &hash, "");
        let now = self.clock.now();
        let plan = plan::plan(set, &sample, &nodes, &pods, &hash, now);
        let done = self.carry_out(set, &hash, &plan).await;
        self.api.set_status(&gvr::DAEMON_SETS, set, plan.status).await?;
        done?;
        let live: Vec<&str> = pods.iter().filter_map(|p| p.label(revisions::HASH_LABEL)).collect();
        let used = history.all.iter().filter(|r| live.contains(&revisions::hash(r))).map(|r| r.name());
        revisions::forget(&self.api, set, &history, &used.collect::<Vec<_>>()).await?;
        Ok(plan.look_again.map_or(Next::Done, Next::After))
    }

    async fn carry_out(&self, set: &Object, hash: &str, plan: &Plan) -> Result<(), Status> {
        for (pod, why) in &plan.delete {
            if *why == Gone::Failed {
                let node = pod.text("/spec/nodeName");
                let text = format!(
                    "Found failed daemon pod {}/{} on node {node}, will try to kill it",
                    pod.namespace(),
                    pod.name()
                );
                self.events.record(set, Type::Warning, "FailedDaemonPod", &text);
            }
            pods::delete(&self.api, &self.events, set, pod).await?;
        }
        for node in &plan.create {
            pods::create(&self.api, &self.events, set, self.pod(set, hash, node)).await?;
        }
        Ok(())
    }

    /// The pod for one node.
    fn pod(&self, set: &Value, hash: &str, node: &str) -> Value {
        let mut pod = pods::by_template(set, OWNER);
        let labels = map_mut(&mut pod, "/metadata/labels");
        labels.insert(revisions::HASH_LABEL.into(), hash.into());
        labels.insert(GENERATION_LABEL.into(), set.annotation(GENERATION).unwrap_or("1").into());
        tolerate(&mut pod);
        if !node.is_empty() {
            bind(&mut pod, node);
        }
        pod
    }
}

fn tolerate(pod: &mut Value) {
    let mut all = pod.items("/spec/tolerations").to_vec();
    for (key, effect) in TOLERATED {
        if !all.iter().any(|t| t["key"] == key && t["effect"] == effect) {
            all.push(json!({"key": key, "operator": "Exists", "effect": effect}));
        }
    }
    map_mut(pod, "/spec").insert("tolerations".into(), all.into());
}

/// Tie the pod to its node, whatever else its affinity asks of nodes.
fn bind(pod: &mut Value, node: &str) {
    let term = json!({"matchFields": [{"key": "metadata.name", "operator": "In", "values": [node]}]});
    map_mut(pod, "/spec/affinity/nodeAffinity")
        .insert("requiredDuringSchedulingIgnoredDuringExecution".into(), json!({"nodeSelectorTerms": [term]}));
}

impl Reconcile for DaemonSets {
    type Key = Key;
    type Error = Status;

    fn name(&self) -> &'static str {
        "daemonset"
    }

    async fn reconcile(&self, key: &Key) -> Result<Next, Status> {
        match self.api.find(&gvr::DAEMON_SETS, &key.namespace, &key.name).await? {
            Some(set) => self.sync(&set).await,
            None => Ok(Next::Done),
        }
    }
}
