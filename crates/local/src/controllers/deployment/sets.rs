//! A Deployment's ReplicaSets: how they are made, marked and told apart.

use lateen_apiserver::Object;
use serde_json::{Map, Value, json};

use super::plan::{Set, Strategy};
use crate::controllers::object::{Meta, controller_ref, map_mut};
use crate::controllers::template;

/// Numbers the templates of a Deployment in the order in which they were rolled out.
pub const REVISION: &str = "deployment.kubernetes.io/revision";
const DESIRED: &str = "deployment.kubernetes.io/desired-replicas";
const MAX: &str = "deployment.kubernetes.io/max-replicas";
const HISTORY: &str = "deployment.kubernetes.io/revision-history";

/// Annotations of a Deployment that its sets don't take over.
const NOT_TAKEN: [&str; 6] = [
    "kubectl.kubernetes.io/last-applied-configuration",
    "deprecated.deployment.rollback.to",
    REVISION,
    HISTORY,
    DESIRED,
    MAX,
];

/// The set of the present template (if there is one yet) and the others, oldest first.
pub struct Split {
    /// The set whose template is the Deployment's.
    pub new: Option<Object>,
    /// All others.
    pub old: Vec<Object>,
}

/// Tell the set of the present template from the others.
#[must_use]
pub fn split(deployment: &Value, hash: &str, mut sets: Vec<Object>) -> Split {
    sets.sort_by(|a, b| (a.created(), a.name()).cmp(&(b.created(), b.name())));
    let wanted = &deployment["spec"]["template"];
    let at = sets.iter().position(|set| {
        set.label(template::HASH_LABEL) == Some(hash) || template::same(&set["spec"]["template"], wanted)
    });
    let new = at.map(|at| sets.remove(at));
    Split { new, old: sets }
}

/// What the rollout plan looks at.
#[must_use]
pub fn view(set: &Value) -> Set {
    let number = |key| set.annotation(key).and_then(|v| v.parse().ok());
    Set {
        replicas: set.int("/spec/replicas").unwrap_or(1),
        available: set.int("/status/availableReplicas").unwrap_or(0),
        desired_seen: number(DESIRED),
        max_seen: number(MAX),
    }
}

/// The revision that a set (or a Deployment) is marked with; 0 where it isn't.
#[must_use]
pub fn revision(object: &Value) -> i64 {
    object.annotation(REVISION).and_then(|r| r.parse().ok()).unwrap_or(0)
}

/// The revision that the present template has: above all others.
#[must_use]
pub fn next_revision(old: &[Object]) -> i64 {
    old.iter().map(|s| revision(s)).max().unwrap_or(0) + 1
}

/// A new set for the Deployment's present template.
#[must_use]
pub fn fresh(deployment: &Value, hash: &str, replicas: i64, revision: i64) -> Value {
    let desired = desired(deployment);
    let template = template::with_hash(&deployment["spec"]["template"], hash);
    let mut selector = deployment["spec"]["selector"].clone();
    map_mut(&mut selector, "/matchLabels").insert(template::HASH_LABEL.into(), hash.into());
    let mut set = json!({
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {
            "name": format!("{}-{hash}", deployment.name()),
            "namespace": deployment.namespace(),
            "labels": template["metadata"]["labels"],
            "annotations": {},
            "ownerReferences": [controller_ref(deployment, "apps/v1", "Deployment")],
        },
        "spec": {
            "replicas": replicas,
            "minReadySeconds": deployment.int("/spec/minReadySeconds").unwrap_or(0),
            "selector": selector,
            "template": template,
        },
    });
    let annotations = map_mut(&mut set, "/metadata/annotations");
    take_annotations(annotations, deployment);
    annotations.insert(REVISION.into(), revision.to_string().into());
    mark_scale(annotations, desired, Strategy::of(deployment, desired));
    set
}

/// The set of the present template brought up to date with its Deployment, if anything changed.
#[must_use]
pub fn refreshed(set: &Value, deployment: &Value, next_revision: i64) -> Option<Value> {
    let mut new = set.clone();
    let annotations = map_mut(&mut new, "/metadata/annotations");
    take_annotations(annotations, deployment);
    let present = revision(set);
    if present < next_revision {
        annotations.insert(REVISION.into(), next_revision.to_string().into());
        if present > 0 {
            let past = set.annotation(HISTORY).filter(|h| !h.is_empty());
            let history = past.map_or(present.to_string(), |h| format!("{h},{present}"));
            annotations.insert(HISTORY.into(), history.into());
        }
    }
    let wait = deployment.int("/spec/minReadySeconds").unwrap_or(0);
    if set.int("/spec/minReadySeconds").unwrap_or(0) != wait {
        map_mut(&mut new, "/spec").insert("minReadySeconds".into(), wait.into());
    }
    (new != *set).then_some(new)
}

/// `set` with this number of replicas, marked with what its Deployment wanted.
#[must_use]
pub fn resized(set: &Value, deployment: &Value, replicas: i64) -> Value {
    let mut set = set.clone();
    let desired = desired(deployment);
    let annotations = map_mut(&mut set, "/metadata/annotations");
    mark_scale(annotations, desired, Strategy::of(deployment, desired));
    map_mut(&mut set, "/spec").insert("replicas".into(), replicas.into());
    set
}

/// `set` marked with what its Deployment wants now, if that changes anything.
#[must_use]
pub fn remarked(set: &Value, deployment: &Value) -> Option<Value> {
    let new = resized(set, deployment, view(set).replicas);
    (new["metadata"] != set["metadata"]).then_some(new)
}

/// The number of pods that a Deployment wants.
#[must_use]
pub fn desired(deployment: &Value) -> i64 {
    deployment.int("/spec/replicas").unwrap_or(1).max(0)
}

/// Old sets that the history has no room for; only those that are done with.
#[must_use]
pub fn beyond_history(deployment: &Value, old: &[Object]) -> Vec<Object> {
    let limit = deployment.int("/spec/revisionHistoryLimit").unwrap_or(10).max(0);
    let mut done: Vec<Object> = old.iter().filter(|s| is_done_with(s)).cloned().collect();
    done.sort_by_key(|set| revision(set));
    let excess = old.len().saturating_sub(usize::try_from(limit).unwrap_or(usize::MAX));
    done.truncate(excess);
    done
}

fn is_done_with(set: &Value) -> bool {
    view(set).replicas == 0
        && set.int("/status/replicas").unwrap_or(0) == 0
        && set.int("/status/observedGeneration") >= set.int("/metadata/generation")
        && !set.is_terminating()
}

fn take_annotations(annotations: &mut Map<String, Value>, deployment: &Value) {
    let given = deployment["metadata"]["annotations"].as_object();
    for (key, value) in given.into_iter().flatten() {
        if !NOT_TAKEN.contains(&key.as_str()) {
            annotations.insert(key.clone(), value.clone());
        }
    }
}

fn mark_scale(annotations: &mut Map<String, Value>, desired: i64, strategy: Strategy) {
    annotations.insert(DESIRED.into(), desired.to_string().into());
    annotations.insert(MAX.into(), strategy.ceiling(desired).to_string().into());
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    fn deployment() -> Value {
        json!({
            "metadata": {
                "name": "web", "namespace": "default", "uid": "u1",
                "annotations": {"kubernetes.io/change-cause": "first", REVISION: "7"},
            },
            "spec": {
                "replicas": 3,
                "selector": {"matchLabels": {"app": "web"}},
                "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": []}},
            },
        })
    }

    #[test]
    fn a_new_set_carries_hash_owner_revision_and_the_cause_of_the_change() {
        let set = fresh(&deployment(), "abc", 2, 4);
        assert_eq!(set.name(), "web-abc");
        assert_eq!(set["spec"]["selector"]["matchLabels"], json!({"app": "web", "pod-template-hash": "abc"}));
        assert_eq!(set["spec"]["template"]["metadata"]["labels"]["pod-template-hash"], "abc");
        assert_eq!(set["metadata"]["labels"]["pod-template-hash"], "abc");
        assert_eq!(set.controller().unwrap()["kind"], "Deployment");
        assert_eq!(revision(&set), 4);
        assert_eq!(set.annotation("kubernetes.io/change-cause"), Some("first"));
        assert_eq!(view(&set).max_seen, Some(4));
    }

    #[test]
    fn rolling_back_renumbers_the_old_set_and_keeps_its_history() {
        let set = fresh(&deployment(), "abc", 0, 1);
        let again = refreshed(&set, &deployment(), 3).unwrap();
        assert_eq!(revision(&again), 3);
        assert_eq!(again.annotation(HISTORY), Some("1"));
        assert_eq!(refreshed(&again, &deployment(), 3), None);
        let third = refreshed(&again, &deployment(), 5).unwrap();
        assert_eq!(third.annotation(HISTORY), Some("1,3"));
    }

    #[test]
    fn the_present_set_is_found_by_template_even_under_another_hash() {
        let set = Arc::new(fresh(&deployment(), "other", 1, 1));
        let split = split(&deployment(), "abc", vec![set]);
        assert!(split.new.is_some());
    }

    #[test]
    fn history_drops_the_oldest_finished_sets_only() {
        let set = |revision: i64, replicas: i64| {
            let mut set = fresh(&deployment(), &format!("h{revision}"), replicas, revision);
            set["status"] = json!({"replicas": replicas});
            Arc::new(set)
        };
        let mut deployment = deployment();
        deployment["spec"]["revisionHistoryLimit"] = json!(1);
        let old = [set(3, 0), set(1, 1), set(2, 0)];
        let gone: Vec<i64> = beyond_history(&deployment, &old).iter().map(|s| revision(s)).collect();
        assert_eq!(gone, [2, 3]);
    }
}
