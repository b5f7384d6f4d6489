//! What a Job needs next: a pure decision.

use std::time::Duration;

use jiff::Timestamp;
use lateen_apiserver::Object;
use serde_json::{Value, json};

use crate::clock::stamp;
use crate::controllers::object::{Meta, set_condition};
use crate::controllers::pods;

/// Seconds before the pod that replaces the first failed one; doubles with each failure.
const FIRST_DELAY: i64 = 10;
const MAX_DELAY: i64 = 360;

/// How a Job ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Enough pods succeeded.
    Complete,
    /// It was given up.
    Failed {
        /// Kubernetes' reason.
        reason: &'static str,
        /// The same for people.
        message: &'static str,
    },
}

/// What to do.
#[derive(Debug, Default)]
pub struct Plan {
    /// Pods to make.
    pub create: usize,
    /// Pods to delete.
    pub delete: Vec<Object>,
    /// The Job's status.
    pub status: Value,
    /// How it ended, if it did.
    pub outcome: Option<Outcome>,
    /// When something is due with nothing else happening.
    pub look_again: Option<Duration>,
    /// It ended so long ago that it may go.
    pub expired: bool,
}

struct Counts {
    active: i64,
    ready: i64,
    succeeded: i64,
    failed: i64,
    restarts: i64,
}

/// Decide from the Job and its pods.
#[must_use]
pub fn plan(job: &Value, pods: &[Object], now: Timestamp) -> Plan {
    let counts = count(job, pods);
    let ended = job.condition_true("Complete") || job.condition_true("Failed");
    let started = start_time(job, now);
    let outcome = if ended { past_outcome(job) } else { outcome(job, &counts, started, now) };
    let suspended = job["spec"]["suspend"] == true;
    let mut plan = Plan::default();
    if outcome.is_some() || suspended {
        plan.delete = pods.iter().filter(|p| pods::is_active(p)).cloned().collect();
    } else {
        resize(&mut plan, job, pods, &counts, now);
        if let Some(deadline) = job.int("/spec/activeDeadlineSeconds") {
            let left = deadline - seconds_since(started, now);
            plan.look_again = sooner(plan.look_again, left.max(0) + 1);
        }
    }
    plan.status = status(job, &counts, &plan, outcome.as_ref(), started, now);
    expire(&mut plan, job, outcome.as_ref(), now);
    plan.outcome = outcome;
    plan
}

fn count(job: &Value, pods: &[Object]) -> Counts {
    let of = |test: &dyn Fn(&Value) -> bool| i64::try_from(pods.iter().filter(|p| test(p)).count()).unwrap_or(0);
    let phase = |phase: &'static str| of(&|p| p.text("/status/phase") == phase);
    let restarts = pods.iter().filter(|p| pods::is_active(p)).flat_map(|p| p.items("/status/containerStatuses"));
    // What was counted stays counted when its pod is deleted.
    let at_least = |found: i64, field: &str| found.max(job.int(&format!("/status/{field}")).unwrap_or(0));
    Counts {
        active: of(&pods::is_active),
        ready: of(&|p| pods::is_active(p) && pods::is_ready(p)),
        succeeded: at_least(phase("Succeeded"), "succeeded"),
        failed: at_least(phase("Failed"), "failed"),
        restarts: restarts.map(|c| c["restartCount"].as_i64().unwrap_or(0)).sum(),
    }
}

fn start_time(job: &Value, now: Timestamp) -> Timestamp {
    job.text("/status/startTime").parse().unwrap_or(now)
}

fn seconds_since(then: Timestamp, now: Timestamp) -> i64 {
    now.as_second() - then.as_second()
}

fn past_outcome(job: &Value) -> Option<Outcome> {
    if job.condition_true("Complete") {
        return Some(Outcome::Complete);
    }
    Some(Outcome::Failed { reason: "", message: "" })
}

fn outcome(job: &Value, counts: &Counts, started: Timestamp, now: Timestamp) -> Option<Outcome> {
    let limit = job.int("/spec/backoffLimit").unwrap_or(6);
    let deadline = job.int("/spec/activeDeadlineSeconds");
    if counts.failed > limit || counts.restarts > limit {
        let message = "Job has reached the specified backoff limit";
        return Some(Outcome::Failed { reason: "BackoffLimitExceeded", message });
    }
    if deadline.is_some_and(|d| seconds_since(started, now) >= d) {
        let message = "Job was active longer than specified deadline";
        return Some(Outcome::Failed { reason: "DeadlineExceeded", message });
    }
    let complete = match job.int("/spec/completions") {
        Some(completions) => counts.succeeded >= completions,
        None => counts.succeeded > 0 && counts.active == 0,
    };
    complete.then_some(Outcome::Complete)
}

/// Pods there should be now, given what has succeeded.
fn resize(plan: &mut Plan, job: &Value, pods: &[Object], counts: &Counts, now: Timestamp) {
    let parallel = job.int("/spec/parallelism").unwrap_or(1).max(0);
    let wanted = match job.int("/spec/completions") {
        Some(completions) => parallel.min((completions - counts.succeeded).max(0)),
        // Once one has succeeded the others only run to their end.
        None if counts.succeeded > 0 => counts.active,
        None => parallel,
    };
    let missing = wanted - counts.active;
    if missing < 0 {
        let excess = usize::try_from(-missing).unwrap_or(0);
        plan.delete = pods.iter().filter(|p| pods::is_active(p)).rev().take(excess).cloned().collect();
    }
    if missing > 0 {
        match delay(counts.failed, last_failure(pods), now) {
            0 => plan.create = usize::try_from(missing).unwrap_or(0),
            wait => plan.look_again = sooner(plan.look_again, wait),
        }
    }
}

fn last_failure(pods: &[Object]) -> Option<Timestamp> {
    let failed = pods.iter().filter(|p| p.text("/status/phase") == "Failed");
    let ends = failed.map(|p| {
        let ends = p.items("/status/containerStatuses").iter();
        let ends = ends.filter_map(|c| c.text("/state/terminated/finishedAt").parse().ok());
        ends.max().or_else(|| p.created())
    });
    ends.flatten().max()
}

fn delay(failed: i64, last: Option<Timestamp>, now: Timestamp) -> i64 {
    let Some(last) = last.filter(|_| failed > 0) else { return 0 };
    let exponent = u32::try_from(failed - 1).unwrap_or(0).min(6);
    let wait = (FIRST_DELAY << exponent).min(MAX_DELAY);
    (wait - seconds_since(last, now)).max(0)
}

fn sooner(known: Option<Duration>, seconds: i64) -> Option<Duration> {
    let other = Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
    Some(known.map_or(other, |known| known.min(other)))
}

fn status(
    job: &Value,
    counts: &Counts,
    plan: &Plan,
    outcome: Option<&Outcome>,
    started: Timestamp,
    now: Timestamp,
) -> Value {
    let mut status = json!({"startTime": stamp(started)});
    let made = i64::try_from(plan.create).unwrap_or(0);
    let gone = i64::try_from(plan.delete.len()).unwrap_or(0);
    let active = (counts.active + made - gone).max(0);
    let ready = if outcome.is_some() { 0 } else { counts.ready };
    for (name, count) in [("active", active), ("succeeded", counts.succeeded), ("failed", counts.failed)] {
        if count > 0 {
            status[name] = count.into();
        }
    }
    status["ready"] = ready.into();
    if let Some(end) = job.pointer("/status/completionTime") {
        status["completionTime"] = end.clone();
    }
    let mut conditions = job.items("/status/conditions").to_vec();
    let ended = job.condition_true("Complete") || job.condition_true("Failed");
    if let (Some(outcome), false) = (outcome, ended) {
        let (kinds, reason, message) = match outcome {
            Outcome::Complete => {
                status["completionTime"] = stamp(now).into();
                let message = "Reached expected number of succeeded pods";
                (["SuccessCriteriaMet", "Complete"], "CompletionsReached", message)
            }
            Outcome::Failed { reason, message } => (["FailureTarget", "Failed"], *reason, *message),
        };
        for kind in kinds {
            let time = stamp(now);
            let condition = json!({"type": kind, "status": "True", "lastProbeTime": time,
                "lastTransitionTime": time, "reason": reason, "message": message});
            set_condition(&mut conditions, condition);
        }
    }
    if !conditions.is_empty() {
        status["conditions"] = conditions.into();
    }
    status
}

fn expire(plan: &mut Plan, job: &Value, outcome: Option<&Outcome>, now: Timestamp) {
    let (Some(keep), Some(_)) = (job.int("/spec/ttlSecondsAfterFinished"), outcome) else { return };
    let end = ["Complete", "Failed"]
        .iter()
        .filter_map(|kind| job.condition(kind)?.text("/lastTransitionTime").parse().ok())
        .max()
        .unwrap_or(now);
    let left = keep - seconds_since(end, now);
    if left > 0 {
        plan.look_again = sooner(plan.look_again, left);
    } else {
        plan.expired = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn job(spec: Value) -> Value {
        json!({"metadata": {"name": "j", "namespace": "n"}, "spec": spec})
    }

    fn pod(phase: &str, ended: i64) -> Object {
        Arc::new(json!({"metadata": {"name": phase}, "status": {"phase": phase, "containerStatuses": [
            {"restartCount": 0, "state": {"terminated": {"finishedAt": stamp(at(ended))}}}]}}))
    }

    fn condition<'a>(plan: &'a Plan, kind: &str) -> Option<&'a str> {
        plan.status["conditions"].as_array()?.iter().find(|c| c["type"] == kind)?["reason"].as_str()
    }

    #[test]
    fn pods_are_made_up_to_the_parallelism_and_the_rest_of_the_completions() {
        let spec = json!({"completions": 5, "parallelism": 3});
        let first = plan(&job(spec.clone()), &[], at(0));
        assert_eq!((first.create, &first.status["active"]), (3, &json!(3)));
        let most = [pod("Succeeded", 1), pod("Succeeded", 1), pod("Succeeded", 1), pod("Running", 1)];
        assert_eq!(plan(&job(spec.clone()), &most, at(2)).create, 1);
        let done = vec![pod("Succeeded", 1); 5];
        let last = plan(&job(spec), &done, at(2));
        assert_eq!(last.outcome, Some(Outcome::Complete));
        assert_eq!(condition(&last, "Complete"), Some("CompletionsReached"));
        assert_eq!(last.status["completionTime"], stamp(at(2)));
    }

    #[test]
    fn failed_pods_are_replaced_later_and_later_until_the_limit() {
        let spec = json!({"completions": 1, "backoffLimit": 2});
        let once = plan(&job(spec.clone()), &[pod("Failed", 100)], at(103));
        assert_eq!((once.create, once.look_again), (0, Some(Duration::from_secs(7))));
        assert_eq!(plan(&job(spec.clone()), &[pod("Failed", 100)], at(110)).create, 1);
        let twice = [pod("Failed", 100), pod("Failed", 110)];
        assert_eq!(plan(&job(spec.clone()), &twice, at(110)).look_again, Some(Duration::from_secs(20)));
        let often = plan(&job(spec), &vec![pod("Failed", 100); 3], at(300));
        assert_eq!(condition(&often, "Failed"), Some("BackoffLimitExceeded"));
    }

    #[test]
    fn a_deadline_ends_the_job_and_its_pods() {
        let mut late = job(json!({"completions": 1, "activeDeadlineSeconds": 10}));
        late["status"] = json!({"startTime": stamp(at(0))});
        let running = [pod("Running", 0)];
        assert_eq!(plan(&late, &running, at(4)).look_again, Some(Duration::from_secs(7)));
        let ended = plan(&late, &running, at(10));
        assert_eq!(condition(&ended, "Failed"), Some("DeadlineExceeded"));
        assert_eq!(ended.delete.len(), 1);
    }

    #[test]
    fn an_ended_job_stays_ended_until_it_may_go() {
        let mut done = job(json!({"completions": 1, "ttlSecondsAfterFinished": 60}));
        done["status"] = plan(&done, &[pod("Succeeded", 1)], at(2)).status;
        let later = plan(&done, &[], at(30));
        assert_eq!((later.create, later.expired), (0, false));
        assert_eq!(later.look_again, Some(Duration::from_secs(32)));
        assert_eq!(later.status, done["status"]);
        assert!(plan(&done, &[], at(62)).expired);
    }

    #[test]
    fn a_suspended_job_runs_nothing() {
        let plan = plan(&job(json!({"completions": 1, "suspend": true})), &[pod("Running", 0)], at(1));
        assert_eq!((plan.create, plan.delete.len()), (0, 1));
    }
}
