use std::{sync::Arc, time::Duration};

use super::*;

const BOTH: Revisions<'static> = Revisions { current: "db-old", update: "db-new" };

fn set(replicas: i64, more: Value) -> Value {
    let mut set = json!({"metadata": {"name": "db", "uid": "u"}, "spec": {"replicas": replicas}});
    for (key, value) in more.as_object().into_iter().flatten() {
        set["spec"][key] = value.clone();
    }
    set
}

fn pod(ordinal: i64, state: &str, revision: &str) -> Object {
    let ready = if state == "ready" { "True" } else { "False" };
    let mut pod = json!({
        "metadata": {"name": format!("db-{ordinal}"), "uid": format!("p{ordinal}"),
            "labels": {revisions::HASH_LABEL: revision}},
        "status": {
            "phase": match state { "failed" => "Failed", "pending" => "Pending", _ => "Running" },
            "conditions": [{"type": "Ready", "status": ready, "lastTransitionTime": "1970-01-01T00:00:10Z"}],
        },
    });
    if state == "going" {
        pod["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    }
    Arc::new(pod)
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

/// What is done, in short; claims are left out.
fn acts(set: &Value, pods: &[Object]) -> Vec<String> {
    let name = |verb: &str, pod: &Object| format!("{verb} {}", pod.name());
    let shown = plan(set, pods, BOTH, at(100)).into_iter().filter_map(|action| match action {
        Action::Create { ordinal, updated } => Some(format!("create {ordinal}{}", if updated { "" } else { " old" })),
        Action::Claims(_) => None,
        Action::Replace(pod) => Some(name("replace", &pod)),
        Action::Restart(pod) => Some(name("restart", &pod)),
        Action::Shrink(pod) => Some(name("shrink", &pod)),
    });
    shown.collect()
}

#[test]
fn pods_come_one_after_the_other() {
    let three = set(3, json!({}));
    assert_eq!(acts(&three, &[]), ["create 0"]);
    assert_eq!(acts(&three, &[pod(0, "pending", "db-new")]), [""; 0]);
    assert_eq!(acts(&three, &[pod(0, "ready", "db-new")]), ["create 1"]);
    assert_eq!(acts(&three, &[pod(0, "ready", "db-new"), pod(2, "ready", "db-new")]), ["create 1"]);
    assert_eq!(acts(&three, &[pod(0, "failed", "db-new"), pod(1, "ready", "db-new")]), ["restart db-0"]);
    let parallel = set(3, json!({"podManagementPolicy": "Parallel"}));
    assert_eq!(acts(&parallel, &[pod(1, "pending", "db-new")]), ["create 0", "create 2"]);
    let from_five = set(2, json!({"ordinals": {"start": 5}}));
    assert_eq!(acts(&from_five, &[pod(5, "ready", "db-new")]), ["create 6"]);
}

#[test]
fn pods_go_one_after_the_other_from_the_end() {
    let one = set(1, json!({}));
    let ready = |n| pod(n, "ready", "db-new");
    assert_eq!(acts(&one, &[ready(0), ready(1), ready(2)]), ["shrink db-2"]);
    assert_eq!(acts(&one, &[ready(0), ready(1), pod(2, "going", "db-new")]), [""; 0]);
    // A broken pod below waits for nobody, one above waits for it.
    assert_eq!(acts(&one, &[ready(0), pod(1, "pending", "db-new"), ready(2)]), ["shrink db-2"]);
    assert_eq!(acts(&one, &[ready(0), pod(1, "pending", "db-new"), pod(2, "pending", "db-new")]), [""; 0]);
    assert_eq!(acts(&one, &[ready(0), pod(1, "pending", "db-new")]), ["shrink db-1"]);
    let parallel = set(1, json!({"podManagementPolicy": "Parallel"}));
    assert_eq!(acts(&parallel, &[ready(0), ready(1), ready(2)]), ["shrink db-2", "shrink db-1"]);
}

#[test]
fn a_new_template_reaches_one_pod_at_a_time_from_the_end() {
    let three = set(3, json!({}));
    let (old, new) = (|n| pod(n, "ready", "db-old"), |n| pod(n, "ready", "db-new"));
    assert_eq!(acts(&three, &[old(0), old(1), old(2)]), ["replace db-2"]);
    assert_eq!(acts(&three, &[old(0), old(1), new(2)]), ["replace db-1"]);
    assert_eq!(acts(&three, &[new(0), new(1), new(2)]), [""; 0]);
    let parallel = set(3, json!({"podManagementPolicy": "Parallel"}));
    assert_eq!(acts(&parallel, &[old(0), old(1), pod(2, "pending", "db-new")]), [""; 0]);
}

#[test]
fn a_partition_keeps_the_pods_below_it() {
    let split = set(3, json!({"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 2}}}));
    let (old, new) = (|n| pod(n, "ready", "db-old"), |n| pod(n, "ready", "db-new"));
    assert_eq!(acts(&split, &[old(0), old(1), old(2)]), ["replace db-2"]);
    assert_eq!(acts(&split, &[old(0), old(1), new(2)]), [""; 0]);
    assert_eq!(acts(&split, &[old(0), new(2)]), ["create 1 old"]);
    let by_hand = set(2, json!({"updateStrategy": {"type": "OnDelete"}}));
    assert_eq!(acts(&by_hand, &[old(0), old(1)]), [""; 0]);
    assert_eq!(acts(&by_hand, &[old(0)]), ["create 1"]);
}

#[test]
fn a_pod_counts_once_it_was_ready_long_enough() {
    let patient = set(2, json!({"minReadySeconds": 120}));
    let first = [pod(0, "ready", "db-new")];
    assert_eq!(acts(&patient, &first), [""; 0]);
    assert_eq!(pods::until_next_available(&patient, &first, at(100)), Some(Duration::from_secs(30)));
    let create = Action::Create { ordinal: 1, updated: true };
    assert!(plan(&patient, &first, BOTH, at(131)).contains(&create));
}

#[test]
fn the_status_shows_how_far_the_rollout_is() {
    let (old, new) = (|n| pod(n, "ready", "db-old"), |n| pod(n, "ready", "db-new"));
    let half = status(&set(2, json!({})), &[old(0), new(1)], BOTH, at(100));
    assert_eq!((&half["currentReplicas"], &half["updatedReplicas"]), (&json!(1), &json!(1)));
    assert_eq!(half["currentRevision"], "db-old");
    let done = status(&set(2, json!({})), &[new(0), new(1)], BOTH, at(100));
    assert_eq!((&done["currentRevision"], &done["currentReplicas"]), (&json!("db-new"), &json!(2)));
    assert_eq!((&done["readyReplicas"], &done["availableReplicas"]), (&json!(2), &json!(2)));
}
