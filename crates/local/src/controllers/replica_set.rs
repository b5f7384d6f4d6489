//! ReplicaSets: so many pods of one template.

use std::cmp::Reverse;

use jiff::Timestamp;
use lateen_apiserver::{Object, Status, gvr};
use serde_json::{Value, json};

use super::api::{Api, Key, OwnerKind};
use super::object::{Meta, set_condition};
use super::pods;
use super::queue::{Next, Reconcile};
use crate::clock::{Clock, stamp};
use crate::events::Recorder;

const OWNER: OwnerKind = OwnerKind { api_version: "apps/v1", kind: "ReplicaSet" };
/// Pods made or deleted in one round, so that one huge set doesn't hold up the others.
const BURST: usize = 100;
const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";

/// The ReplicaSet controller.
pub struct ReplicaSets {
    api: Api,
    events: Recorder,
    clock: Clock,
}

impl ReplicaSets {
    /// A controller that works through `api`.
    #[must_use]
    pub fn new(api: Api, events: Recorder, clock: Clock) -> Self {
        Self { api, events, clock }
    }

    async fn sync(&self, set: &Object) -> Result<Next, Status> {
        let mut owned = self.api.claim(&gvr::PODS, set, OWNER).await?;
        owned.retain(|pod| pods::is_active(pod));
        let result = if set.is_terminating() { Ok(()) } else { self.resize(set, &mut owned).await };
        let now = self.clock.now();
        let shown = status(set, &owned, result.as_ref().err(), now);
        self.api.set_status(&gvr::REPLICA_SETS, set, shown).await?;
        result?;
        Ok(pods::until_next_available(set, &owned, now).map_or(Next::Done, Next::After))
    }

    async fn resize(&self, set: &Object, owned: &mut Vec<Object>) -> Result<(), Status> {
        let wanted = usize::try_from(wanted(set)).unwrap_or(0);
        if owned.len() < wanted {
            for _ in 0..(wanted - owned.len()).min(BURST) {
                owned.push(pods::create(&self.api, &self.events, set, pods::by_template(set, OWNER)).await?);
            }
        } else if owned.len() > wanted {
            let excess = (owned.len() - wanted).min(BURST);
            owned.sort_by_key(|pod| last_to_go(pod));
            let gone: Vec<Object> = owned.drain(..excess).collect();
            for pod in gone {
                pods::delete(&self.api, &self.events, set, &pod).await?;
            }
        }
        Ok(())
    }
}

impl Reconcile for ReplicaSets {
    type Key = Key;
    type Error = Status;

    fn name(&self) -> &'static str {
        "replicaset"
    }

    async fn reconcile(&self, key: &Key) -> Result<Next, Status> {
        match self.api.find(&gvr::REPLICA_SETS, &key.namespace, &key.name).await? {
            Some(set) => self.sync(&set).await,
            None => Ok(Next::Done),
        }
    }
}

fn wanted(set: &Value) -> i64 {
    set.int("/spec/replicas").unwrap_or(1)
}

/// Orders pods by who goes first: those that serve least, then the youngest.
fn last_to_go(pod: &Value) -> impl Ord + use<> {
    let bound = !pod.text("/spec/nodeName").is_empty();
    let running = match pod.text("/status/phase") {
        "Running" => 2,
        "Unknown" => 1,
        _ => 0,
    };
    let cost: i64 = pod.annotation(DELETION_COST).and_then(|c| c.parse().ok()).unwrap_or(0);
    let restarts: i64 =
        pod.items("/status/containerStatuses").iter().map(|c| c["restartCount"].as_i64().unwrap_or(0)).sum();
    (
        bound,
        running,
        pods::is_ready(pod),
        cost,
        Reverse(pods::ready_since(pod)),
        Reverse(restarts),
        Reverse(pod.created()),
    )
}

fn status(set: &Value, owned: &[Object], failure: Option<&Status>, now: Timestamp) -> Value {
    let template_labels = &set["spec"]["template"]["metadata"]["labels"];
    let count = |test: &dyn Fn(&Value) -> bool| owned.iter().filter(|p| test(p)).count();
    let labelled = count(&|p| super::selector::matches_map(template_labels, &p["metadata"]["labels"]));
    let available = count(&|p| pods::is_available(set, p, now));
    let mut status = json!({
        "replicas": owned.len(),
        "observedGeneration": set.int("/metadata/generation").unwrap_or(0),
    });
    for (name, value) in [
        ("fullyLabeledReplicas", labelled),
        ("readyReplicas", count(&pods::is_ready)),
        ("availableReplicas", available),
    ] {
        if value > 0 {
            status[name] = value.into();
        }
    }
    let mut conditions = set.items("/status/conditions").to_vec();
    match failure {
        Some(failure) => set_condition(
            &mut conditions,
            json!({
                "type": "ReplicaFailure",
                "status": "True",
                "lastTransitionTime": stamp(now),
                "reason": "FailedCreate",
                "message": failure.message,
            }),
        ),
        None => conditions.retain(|c| c["type"] != "ReplicaFailure"),
    }
    if !conditions.is_empty() {
        status["conditions"] = conditions.into();
    }
    status
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(name: &str, phase: &str, ready_at: Option<&str>) -> Value {
        let mut pod = json!({
            "metadata": {"name": name, "creationTimestamp": "2026-01-01T00:00:00Z"},
            "spec": {"nodeName": "lateen"},
            "status": {"phase": phase},
        });
        if let Some(at) = ready_at {
            pod["status"]["conditions"] = json!([{"type": "Ready", "status": "True", "lastTransitionTime": at}]);
        }
        pod
    }

    #[test]
    fn the_pods_that_serve_least_go_first() {
        let mut all = [
            pod("old", "Running", Some("2026-01-01T00:00:01Z")),
            pod("young", "Running", Some("2026-01-01T00:00:09Z")),
            pod("unready", "Running", None),
            pod("pending", "Pending", None),
        ];
        all.sort_by_key(last_to_go);
        let names: Vec<_> = all.iter().map(|p| p.name()).collect();
        assert_eq!(names, ["pending", "unready", "young", "old"]);
    }

    #[test]
    fn a_pod_takes_its_template_and_its_owner() {
        let set = json!({
            "metadata": {"name": "web-abc", "namespace": "n", "uid": "u"},
            "spec": {"template": {
                "metadata": {"labels": {"app": "web"}, "annotations": {"a": "b"}},
                "spec": {"containers": [{"name": "c"}]},
            }},
        });
        let pod = pods::by_template(&set, OWNER);
        assert_eq!(pod["metadata"]["generateName"], "web-abc-");
        assert_eq!(pod.label("app"), Some("web"));
        assert_eq!(pod.annotation("a"), Some("b"));
        assert_eq!(pod.controller().unwrap()["uid"], "u");
        assert_eq!(pod["spec"]["containers"][0]["name"], "c");
    }
}
