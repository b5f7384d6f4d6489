//! In which order containers start, and when a pod is over.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::PodSpec;
use serde_json::json;
use tokio::time::Instant;

use super::unit::{Ended, Next, RestartPolicy, State, Unit, initialized, next, units};

fn pod(policy: &str) -> Vec<Unit> {
    let spec: PodSpec = serde_json::from_value(json!({
        "restartPolicy": policy,
        "initContainers": [
            {"name": "setup"},
            {"name": "proxy", "restartPolicy": "Always", "startupProbe": {"tcpSocket": {"port": 1}}},
        ],
        "containers": [{"name": "one"}, {"name": "two"}],
    }))
    .unwrap();
    units(&spec)
}

fn ended(code: i32) -> Ended {
    Ended {
        code,
        signal: None,
        reason: "Completed",
        message: String::new(),
        started: Some(Timestamp::UNIX_EPOCH),
        finished: Timestamp::UNIX_EPOCH,
        id: String::new(),
    }
}

fn run(unit: &mut Unit, started: bool) {
    unit.state = State::Running { since: Timestamp::UNIX_EPOCH };
    unit.started = started;
}

const ALWAYS: RestartPolicy = RestartPolicy::Always;
const NEVER: RestartPolicy = RestartPolicy::Never;

#[test]
fn containers_start_one_after_the_other_and_wait_for_the_sidecar() {
    let now = Instant::now();
    let mut pod = pod("Always");
    let check = |pod: &[Unit], expect| assert_eq!(next(pod, ALWAYS, initialized(pod), now), expect);
    check(&pod, Next::Start(0));
    run(&mut pod[0], true);
    check(&pod, Next::Wait(None));
    pod[0].end(ended(0), ALWAYS, now);
    check(&pod, Next::Start(1));
    run(&mut pod[1], false);
    check(&pod, Next::Wait(None));
    pod[1].started = true;
    check(&pod, Next::Start(2));
    run(&mut pod[2], true);
    check(&pod, Next::Start(3));
    run(&mut pod[3], true);
    check(&pod, Next::Wait(None));
}

#[test]
fn a_sidecar_that_ends_is_started_again_and_holds_up_nobody_who_runs() {
    let now = Instant::now();
    let mut pod = pod("Never");
    pod[0].end(ended(0), NEVER, now);
    pod[1].end(ended(1), NEVER, now);
    run(&mut pod[2], true);
    assert_eq!(next(&pod, NEVER, true, now), Next::Start(1));
    run(&mut pod[1], false);
    assert_eq!(next(&pod, NEVER, true, now), Next::Start(3));
}

#[test]
fn a_crashing_container_waits_longer_each_time() {
    let now = Instant::now();
    let mut pod = pod("Always");
    pod[0].end(ended(1), ALWAYS, now);
    assert_eq!(next(&pod, ALWAYS, false, now), Next::Start(0));
    let wait = pod[0].end(ended(1), ALWAYS, now).unwrap();
    assert_eq!(wait.as_secs(), 10);
    assert_eq!(next(&pod, ALWAYS, false, now), Next::Wait(Some(now + wait)));
}

#[test]
fn a_pod_is_over_when_its_apps_or_an_init_container_say_so() {
    let now = Instant::now();
    let mut failed = pod("Never");
    failed[0].end(ended(1), NEVER, now);
    assert_eq!(next(&failed, NEVER, false, now), Next::Finished);

    let mut done = pod("Never");
    done[0].end(ended(0), NEVER, now);
    run(&mut done[1], true);
    done[2].end(ended(0), NEVER, now);
    assert_eq!(next(&done, NEVER, true, now), Next::Start(3));
    done[3].end(ended(1), NEVER, now);
    assert_eq!(next(&done, NEVER, true, now), Next::Finished);
}

#[test]
fn on_failure_restarts_only_what_failed() {
    let now = Instant::now();
    let policy = RestartPolicy::OnFailure;
    let mut pod = pod("OnFailure");
    assert!(pod[2].end(ended(0), policy, now).is_none());
    assert!(pod[3].end(ended(2), policy, now).is_some());
}
