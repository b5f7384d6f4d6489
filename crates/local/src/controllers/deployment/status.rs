//! A Deployment's status: what `kubectl rollout status` and `kubectl wait` read.

use std::time::Duration;

use jiff::Timestamp;
use lateen_apiserver::Object;
use serde_json::{Value, json};

use super::plan::Strategy;
use super::sets::{Split, desired, view};
use crate::clock::stamp;
use crate::controllers::object::{Meta, set_condition};

/// What the present round of work did, as far as the status tells of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Round {
    /// A set for the present template was made.
    Created,
    /// The set was there.
    Found,
}

/// The status that `deployment` should show.
#[must_use]
pub fn status(deployment: &Value, sets: &Split, round: Round, now: Timestamp) -> Value {
    let wanted = desired(deployment);
    let sum = |pointer: &str| -> i64 { all(sets).map(|s| s.int(pointer).unwrap_or(0)).sum() };
    let specified: i64 = all(sets).map(|s| view(s).replicas).sum();
    let available = sum("/status/availableReplicas");
    let updated = sets.new.as_ref().and_then(|s| s.int("/status/replicas")).unwrap_or(0);
    let mut status = json!({ "observedGeneration": deployment.int("/metadata/generation").unwrap_or(0) });
    let counts = [
        ("replicas", sum("/status/replicas")),
        ("updatedReplicas", updated),
        ("readyReplicas", sum("/status/readyReplicas")),
        ("availableReplicas", available),
        ("unavailableReplicas", (specified - available).max(0)),
    ];
    for (name, count) in counts.into_iter().filter(|(_, count)| *count > 0) {
        status[name] = count.into();
    }
    if let Some(count) = deployment.int("/status/collisionCount") {
        status["collisionCount"] = count.into();
    }
    let mut conditions = deployment.items("/status/conditions").to_vec();
    put(&mut conditions, availability(deployment, wanted, available), now);
    if let Some(progress) = progress(deployment, sets, &status, round, now) {
        put(&mut conditions, progress, now);
    }
    match failure(sets) {
        Some(failure) => put(&mut conditions, failure, now),
        None => conditions.retain(|c| c["type"] != "ReplicaFailure"),
    }
    status["conditions"] = conditions.into();
    status
}

/// After which time the progress condition may have to change, with nothing else happening.
#[must_use]
pub fn look_again(deployment: &Value, status: &Value, now: Timestamp) -> Option<Duration> {
    let deadline = deadline(deployment)?;
    let condition = status["conditions"].as_array()?.iter().find(|c| c["type"] == "Progressing")?;
    if condition["status"] != "True" || condition["reason"] == "NewReplicaSetAvailable" {
        return None;
    }
    let since: Timestamp = condition.text("/lastUpdateTime").parse().ok()?;
    let left = deadline - (now.as_second() - since.as_second());
    Some(Duration::from_secs(u64::try_from(left.max(0)).unwrap_or(0) + 1))
}

struct Condition {
    kind: &'static str,
    status: &'static str,
    reason: String,
    message: String,
    /// Whether to show the time of this round although nothing else changed.
    touched: bool,
}

fn put(conditions: &mut Vec<Value>, new: Condition, now: Timestamp) {
    let same = conditions.iter().any(|c| {
        c["type"] == new.kind
            && c["status"] == new.status
            && c["reason"] == new.reason.as_str()
            && c["message"] == new.message.as_str()
    });
    if same && !new.touched {
        return;
    }
    let condition = json!({
        "type": new.kind,
        "status": new.status,
        "lastUpdateTime": stamp(now),
        "lastTransitionTime": stamp(now),
        "reason": new.reason,
        "message": new.message,
    });
    set_condition(conditions, condition);
}

fn availability(deployment: &Value, wanted: i64, available: i64) -> Condition {
    let floor = wanted - Strategy::of(deployment, wanted).may_miss(wanted);
    let enough = available >= floor;
    Condition {
        kind: "Available",
        status: if enough { "True" } else { "False" },
        reason: format!("MinimumReplicas{}", if enough { "Available" } else { "Unavailable" }),
        message: format!("Deployment {} minimum availability.", if enough { "has" } else { "does not have" }),
        touched: false,
    }
}

fn progress(deployment: &Value, sets: &Split, status: &Value, round: Round, now: Timestamp) -> Option<Condition> {
    let deadline = deadline(deployment)?;
    let present = deployment.condition("Progressing");
    let done_before = present.is_some_and(|c| c["reason"] == "NewReplicaSetAvailable");
    let name = sets.new.as_ref().map_or(deployment.name(), |s| s.name());
    let condition = |status, reason: &str, message: String, touched| {
        Some(Condition { kind: "Progressing", status, reason: reason.into(), message, touched })
    };
    if deployment["spec"]["paused"] == true {
        return condition("Unknown", "DeploymentPaused", "Deployment is paused".into(), false);
    }
    if is_complete(deployment, sets, status) {
        let message = format!("ReplicaSet \"{name}\" has successfully progressed.");
        return condition("True", "NewReplicaSetAvailable", message, false);
    }
    if round == Round::Created {
        let message = format!("Created new replica set \"{name}\"");
        return condition("True", "NewReplicaSetCreated", message, true);
    }
    let Some(present) = present.filter(|c| c["reason"] != "DeploymentPaused") else {
        let message = format!("Found new replica set \"{name}\"");
        return condition("True", "FoundNewReplicaSet", message, true);
    };
    if progressed(&deployment["status"], status) {
        let message = format!("ReplicaSet \"{name}\" is progressing.");
        return condition("True", "ReplicaSetUpdated", message, true);
    }
    let since: Option<Timestamp> = present.text("/lastUpdateTime").parse().ok();
    let late = since.is_some_and(|s| now.as_second() - s.as_second() >= deadline);
    if late && !done_before {
        let message = format!("ReplicaSet \"{name}\" has timed out progressing.");
        return condition("False", "ProgressDeadlineExceeded", message, false);
    }
    None
}

fn deadline(deployment: &Value) -> Option<i64> {
    let seconds = deployment.int("/spec/progressDeadlineSeconds").unwrap_or(600);
    (seconds != i64::from(i32::MAX)).then_some(seconds)
}

fn is_complete(deployment: &Value, sets: &Split, status: &Value) -> bool {
    let wanted = desired(deployment);
    let count = |name: &str| status[name].as_i64().unwrap_or(0);
    sets.new.is_some()
        && count("updatedReplicas") == wanted
        && count("replicas") == wanted
        && count("availableReplicas") == wanted
}

fn progressed(before: &Value, after: &Value) -> bool {
    let count = |status: &Value, name: &str| status[name].as_i64().unwrap_or(0);
    let grew = |name: &str| count(after, name) > count(before, name);
    let old = |status: &Value| count(status, "replicas") - count(status, "updatedReplicas");
    grew("updatedReplicas") || grew("readyReplicas") || grew("availableReplicas") || old(after) < old(before)
}

fn failure(sets: &Split) -> Option<Condition> {
    let failed = all(sets).find_map(|s| s.condition("ReplicaFailure").cloned())?;
    Some(Condition {
        kind: "ReplicaFailure",
        status: "True",
        reason: failed.text("/reason").into(),
        message: failed.text("/message").into(),
        touched: false,
    })
}

fn all(sets: &Split) -> impl Iterator<Item = &Object> {
    sets.new.iter().chain(&sets.old)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    fn set(name: &str, spec: i64, status: i64, available: i64) -> Object {
        Arc::new(json!({
            "metadata": {"name": name},
            "spec": {"replicas": spec},
            "status": {"replicas": status, "readyReplicas": available, "availableReplicas": available},
        }))
    }

    fn reason(status: &Value, kind: &str) -> (String, String) {
        let c = status["conditions"].as_array().unwrap().iter().find(|c| c["type"] == kind).unwrap();
        (c.text("/status").into(), c.text("/reason").into())
    }

    fn pair(a: &str, b: &str) -> (String, String) {
        (a.into(), b.into())
    }

    #[test]
    fn a_rollout_shows_its_progress_from_creation_to_the_end() {
        let t0 = Timestamp::from_second(1_000).unwrap();
        let mut deployment = json!({
            "metadata": {"name": "web", "generation": 1},
            "spec": {"replicas": 1, "progressDeadlineSeconds": 10},
        });
        let sets = Split { new: Some(set("web-a", 1, 0, 0)), old: vec![] };
        let first = status(&deployment, &sets, Round::Created, t0);
        assert_eq!(reason(&first, "Progressing"), pair("True", "NewReplicaSetCreated"));
        assert_eq!(reason(&first, "Available"), pair("False", "MinimumReplicasUnavailable"));
        assert_eq!(first["unavailableReplicas"], 1);
        assert_eq!(look_again(&deployment, &first, t0), Some(Duration::from_secs(11)));

        deployment["status"] = first;
        let late = Timestamp::from_second(1_011).unwrap();
        let stuck = status(&deployment, &sets, Round::Found, late);
        assert_eq!(reason(&stuck, "Progressing"), pair("False", "ProgressDeadlineExceeded"));

        let sets = Split { new: Some(set("web-a", 1, 1, 1)), old: vec![] };
        deployment["status"] = stuck;
        let done = status(&deployment, &sets, Round::Found, late);
        assert_eq!(reason(&done, "Progressing"), pair("True", "NewReplicaSetAvailable"));
        assert_eq!(reason(&done, "Available"), pair("True", "MinimumReplicasAvailable"));
        assert_eq!(done["updatedReplicas"], 1);
        assert_eq!(done.get("unavailableReplicas"), None);

        deployment["status"] = done.clone();
        let much_later = Timestamp::from_second(9_000).unwrap();
        assert_eq!(status(&deployment, &sets, Round::Found, much_later), done);
    }

    #[test]
    fn why_pods_could_not_be_made_is_shown() {
        let now = Timestamp::from_second(0).unwrap();
        let deployment = json!({"metadata": {"name": "web"}, "spec": {"replicas": 1}});
        let mut failing = Value::clone(&set("web-a", 1, 0, 0));
        failing["status"]["conditions"] =
            json!([{"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": "no"}]);
        let sets = Split { new: Some(Arc::new(failing)), old: vec![] };
        let shown = status(&deployment, &sets, Round::Found, now);
        assert_eq!(reason(&shown, "ReplicaFailure"), pair("True", "FailedCreate"));
    }
}
