use std::sync::Arc;

use serde_json::json;

use super::*;
use crate::clock::stamp;
use crate::controllers::job::ledger::{FINALIZER, INDEX};

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn job(spec: Value) -> Value {
    json!({"metadata": {"name": "j", "namespace": "n"}, "spec": spec})
}

fn pod(uid: &str, phase: &str, ended: i64) -> Object {
    Arc::new(json!({"metadata": {"name": uid, "uid": uid, "finalizers": [FINALIZER]}, "status": {"phase": phase,
        "containerStatuses": [{"restartCount": 0, "state": {"terminated": {"finishedAt": stamp(at(ended))}}}]}}))
}

fn indexed(uid: &str, phase: &str, index: i64) -> Object {
    let mut pod = Value::clone(&pod(uid, phase, 1));
    pod["metadata"]["annotations"] = json!({INDEX: index.to_string()});
    Arc::new(pod)
}

fn reason<'a>(plan: &'a Plan, kind: &str) -> Option<&'a str> {
    plan.status["conditions"].as_array()?.iter().find(|c| c["type"] == kind)?["reason"].as_str()
}

/// Lets the controller work until nothing changes; pods that were counted are let go.
fn settled(mut job: Value, mut pods: Vec<Object>, now: Timestamp) -> Plan {
    for _ in 0..4 {
        let plan = plan(&job, &pods, now);
        job["status"] = plan.status;
        for pod in &mut pods {
            if plan.release.iter().any(|p| p.uid() == pod.uid()) {
                let mut free = Value::clone(pod);
                free["metadata"]["finalizers"] = json!([]);
                *pod = Arc::new(free);
            }
        }
        pods.retain(|p| !plan.delete.iter().any(|d| d.uid() == p.uid()));
    }
    plan(&job, &pods, now)
}

#[test]
fn pods_are_made_up_to_the_parallelism_and_the_rest_of_the_completions() {
    let spec = json!({"completions": 5, "parallelism": 3});
    let first = plan(&job(spec.clone()), &[], at(0));
    assert_eq!((first.create.len(), &first.status["active"]), (3, &json!(3)));
    let mut most: Vec<Object> = ["a", "b", "c"].iter().map(|n| pod(n, "Succeeded", 1)).collect();
    most.push(pod("d", "Running", 1));
    assert_eq!(plan(&job(spec.clone()), &most, at(2)).create.len(), 1);
    let done: Vec<Object> = ["a", "b", "c", "d", "e"].iter().map(|n| pod(n, "Succeeded", 1)).collect();
    let last = plan(&job(spec.clone()), &done, at(2));
    assert_eq!((reason(&last, "SuccessCriteriaMet"), reason(&last, "Complete")), (Some("CompletionsReached"), None));
    let over = settled(job(spec), done, at(2));
    assert_eq!(reason(&over, "Complete"), Some("CompletionsReached"));
    assert_eq!((&over.status["succeeded"], &over.status["completionTime"]), (&json!(5), &json!(stamp(at(2)))));
}

#[test]
fn failed_pods_are_replaced_later_and_later_until_the_limit() {
    let spec = json!({"completions": 1, "backoffLimit": 2});
    let failed = |times: &[i64]| -> Vec<Object> { times.iter().map(|t| pod(&t.to_string(), "Failed", *t)).collect() };
    let once = plan(&job(spec.clone()), &failed(&[100]), at(103));
    assert_eq!((once.create.len(), once.look_again), (0, Some(Duration::from_secs(7))));
    assert_eq!(plan(&job(spec.clone()), &failed(&[100]), at(110)).create.len(), 1);
    let twice = plan(&job(spec.clone()), &failed(&[100, 120]), at(121));
    assert_eq!(twice.look_again, Some(Duration::from_secs(19)));
    let over = settled(job(spec), failed(&[100, 120, 150]), at(151));
    assert_eq!(reason(&over, "Failed"), Some("BackoffLimitExceeded"));
    assert_eq!(over.status["failed"], 3);
}

#[test]
fn restarts_inside_a_pod_count_towards_the_limit() {
    let spec = json!({"completions": 1, "backoffLimit": 2, "template": {"spec": {"restartPolicy": "OnFailure"}}});
    let mut running = Value::clone(&pod("a", "Running", 1));
    running["status"]["containerStatuses"][0]["restartCount"] = json!(2);
    let failed = plan(&job(spec), &[Arc::new(running)], at(5));
    assert_eq!(reason(&failed, "FailureTarget"), Some("BackoffLimitExceeded"));
    assert_eq!((failed.delete.len(), failed.counts_deleted), (1, true));
}

#[test]
fn a_work_queue_ends_when_one_pod_succeeded_and_the_others_are_done() {
    let spec = json!({"parallelism": 2});
    assert_eq!(plan(&job(spec.clone()), &[], at(0)).create.len(), 2);
    let one_done = [pod("a", "Succeeded", 1), pod("b", "Running", 1)];
    let waiting = plan(&job(spec.clone()), &one_done, at(2));
    assert_eq!((waiting.create.len(), waiting.delete.len(), waiting.outcome), (0, 0, None));
    let all = plan(&job(spec), &[pod("a", "Succeeded", 1), pod("b", "Succeeded", 1)], at(2));
    assert!(all.outcome.is_some_and(|o| o.complete));
}

#[test]
fn every_index_is_worked_on_once() {
    let spec = json!({"completions": 4, "parallelism": 3, "completionMode": "Indexed"});
    let indexes = |plan: &Plan| plan.create.iter().filter_map(|n| n.index).collect::<Vec<_>>();
    assert_eq!(indexes(&plan(&job(spec.clone()), &[], at(0))), [0, 1, 2]);
    let some = [indexed("a", "Succeeded", 0), indexed("b", "Running", 2)];
    let next = plan(&job(spec.clone()), &some, at(2));
    assert_eq!(indexes(&next), [1, 3]);
    assert_eq!((&next.status["completedIndexes"], &next.status["succeeded"]), (&json!("0"), &json!(1)));
    let twice = [indexed("a", "Running", 0), indexed("b", "Running", 0)];
    assert_eq!(plan(&job(spec.clone()), &twice, at(2)).delete.len(), 1);
    let all = (0..4).map(|i| indexed(&i.to_string(), "Succeeded", i)).collect();
    let over = settled(job(spec), all, at(2));
    assert_eq!(
        (reason(&over, "Complete"), &over.status["completedIndexes"]),
        (Some("CompletionsReached"), &json!("0-3"))
    );
}

#[test]
fn an_index_may_fail_so_often_and_the_others_go_on() {
    let spec = json!({"completions": 2, "parallelism": 2, "completionMode": "Indexed", "backoffLimitPerIndex": 0,
        "backoffLimit": 1000});
    let half = [indexed("a", "Failed", 0), indexed("b", "Running", 1)];
    let going = plan(&job(spec.clone()), &half, at(2));
    assert_eq!((&going.status["failedIndexes"], going.create.len(), going.delete.len()), (&json!("0"), 0, 0));
    let over = settled(job(spec), vec![indexed("a", "Failed", 0), indexed("b", "Succeeded", 1)], at(2));
    assert_eq!(reason(&over, "Failed"), Some("FailedIndexes"));
}

#[test]
fn a_deadline_ends_the_job_and_its_pods() {
    let mut late = job(json!({"completions": 1, "activeDeadlineSeconds": 10}));
    late["status"] = json!({"startTime": stamp(at(0))});
    let running = [pod("a", "Running", 0)];
    assert_eq!(plan(&late, &running, at(4)).look_again, Some(Duration::from_secs(7)));
    let ended = plan(&late, &running, at(10));
    assert_eq!(reason(&ended, "FailureTarget"), Some("DeadlineExceeded"));
    assert_eq!((ended.delete.len(), reason(&ended, "Failed")), (1, None));
}

#[test]
fn an_ended_job_stays_ended_until_it_may_go() {
    let mut done = job(json!({"completions": 1, "ttlSecondsAfterFinished": 60}));
    done["status"] = settled(done.clone(), vec![pod("a", "Succeeded", 1)], at(2)).status;
    let later = plan(&done, &[], at(30));
    assert_eq!((later.create.len(), later.expired), (0, false));
    assert_eq!(later.look_again, Some(Duration::from_secs(32)));
    assert_eq!(later.status, done["status"]);
    assert!(plan(&done, &[], at(62)).expired);
}

#[test]
fn a_suspended_job_rests_and_starts_again() {
    let mut resting = job(json!({"completions": 1, "suspend": true}));
    let plan_of = |job: &Value, pods: &[Object], second| plan(job, pods, at(second));
    let stopped = plan_of(&resting, &[pod("a", "Running", 0)], 1);
    assert_eq!((stopped.create.len(), stopped.delete.len(), stopped.counts_deleted), (0, 1, false));
    assert_eq!((reason(&stopped, "Suspended"), stopped.status.get("startTime")), (Some("JobSuspended"), None));
    resting["status"] = stopped.status;
    resting["spec"]["suspend"] = json!(false);
    let resumed = plan_of(&resting, &[], 9);
    assert_eq!((reason(&resumed, "Suspended"), resumed.create.len()), (Some("JobResumed"), 1));
    assert_eq!(resumed.status["startTime"], stamp(at(9)));
}

#[test]
fn some_indexes_may_be_enough() {
    let spec = json!({"completions": 3, "parallelism": 3, "completionMode": "Indexed",
        "successPolicy": {"rules": [{"succeededIndexes": "0,2", "succeededCount": 1}]}});
    let pods = [indexed("a", "Running", 0), indexed("b", "Running", 1), indexed("c", "Succeeded", 2)];
    let done = plan(&job(spec), &pods, at(2));
    assert_eq!((reason(&done, "SuccessCriteriaMet"), done.delete.len()), (Some("SuccessPolicy"), 2));
}
