use serde_json::{Value, json};

use super::pod;

fn check(what: &str, pod_value: Value, expected: [&str; 3]) {
    let cells = pod::cells(&pod_value);
    let found: Vec<&str> = cells.iter().take(3).filter_map(Value::as_str).collect();
    assert_eq!(found, expected, "{what}");
}

fn running(name: &str, ready: bool) -> Value {
    json!({"name": name, "ready": ready, "started": true, "restartCount": 0, "state": {"running": {}}})
}

fn spec() -> Value {
    json!({
        "initContainers": [{"name": "init"}, {"name": "proxy", "restartPolicy": "Always"}],
        "containers": [{"name": "app"}],
    })
}

#[test]
fn pods_that_start() {
    check("fresh", json!({"spec": spec(), "status": {"phase": "Pending"}}), ["0/2", "Pending", "0"]);
    check(
        "first init container runs",
        json!({"spec": spec(), "status": {"phase": "Pending", "initContainerStatuses": [running("init", false)]}}),
        ["0/2", "Init:0/2", "0"],
    );
    check(
        "init container fails",
        json!({"spec": spec(), "status": {"phase": "Pending", "initContainerStatuses": [
            {"name": "init", "restartCount": 2, "state": {"waiting": {"reason": "CrashLoopBackOff"}}}]}}),
        ["0/2", "Init:CrashLoopBackOff", "2"],
    );
    check(
        "sidecar runs, main container starts",
        json!({"spec": spec(), "status": {"phase": "Pending",
            "conditions": [{"type": "Initialized", "status": "True"}],
            "initContainerStatuses": [
                {"name": "init", "restartCount": 0, "state": {"terminated": {"exitCode": 0}}},
                running("proxy", true)],
            "containerStatuses": [{"name": "app", "ready": false, "restartCount": 0,
                "state": {"waiting": {"reason": "PodInitializing"}}}]}}),
        ["1/2", "PodInitializing", "0"],
    );
}

#[test]
fn pods_that_run_and_end() {
    let with = |state: Value, ready: bool, count: i64| {
        json!({"spec": {"containers": [{"name": "app"}]}, "status": {"phase": "Running", "containerStatuses": [
            {"name": "app", "ready": ready, "restartCount": count, "state": state}]}})
    };
    check("running", with(json!({"running": {}}), true, 0), ["1/1", "Running", "0"]);
    check(
        "backing off",
        with(json!({"waiting": {"reason": "CrashLoopBackOff"}}), false, 3),
        ["0/1", "CrashLoopBackOff", "3"],
    );
    check(
        "completed",
        with(json!({"terminated": {"exitCode": 0, "reason": "Completed"}}), false, 0),
        ["0/1", "Completed", "0"],
    );
    check("killed", with(json!({"terminated": {"signal": 9}}), false, 0), ["0/1", "Signal:9", "0"]);
    let mut going = with(json!({"running": {}}), true, 0);
    going["metadata"] = json!({"deletionTimestamp": "2026-01-01T00:00:00Z"});
    check("going", going, ["1/1", "Terminating", "0"]);
}

#[test]
fn restarts_say_how_long_ago() {
    let finished = crate::clock::stamp(crate::clock::in_seconds(-5));
    let value = json!({"spec": {"containers": [{"name": "app"}]}, "status": {"phase": "Running",
        "containerStatuses": [{"name": "app", "ready": true, "restartCount": 1, "state": {"running": {}},
            "lastState": {"terminated": {"finishedAt": finished}}}]}});
    let restarts = pod::cells(&value)[2].as_str().unwrap_or_default().to_owned();
    assert!(matches!(restarts.as_str(), "1 (5s ago)" | "1 (6s ago)"), "{restarts}");
}
