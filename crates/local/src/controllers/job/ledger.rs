//! Which pods of a Job have ended, each counted once, whatever becomes of the pod.
//!
//! A pod carries a finalizer until the Job's status has it: first its uid is written there, then the finalizer goes,
//! then the uid becomes one more in a number.

use std::collections::BTreeSet;

use lateen_apiserver::Object;
use serde_json::{Value, json};

use super::index::Indexes;
use super::policy::{Verdict, verdict};
use crate::controllers::object::Meta;

/// Keeps a pod until it has been counted.
pub const FINALIZER: &str = "batch.kubernetes.io/job-tracking";
/// The index of a pod of an Indexed Job.
pub const INDEX: &str = "batch.kubernetes.io/job-completion-index";
/// How often the pods of an index failed before this one.
pub const INDEX_FAILURES: &str = "batch.kubernetes.io/job-index-failure-count";

/// The count.
#[derive(Debug, Default)]
pub struct Ledger {
    succeeded: i64,
    failed: i64,
    uncounted_succeeded: BTreeSet<String>,
    uncounted_failed: BTreeSet<String>,
    /// Indexes that are done.
    pub completed: Indexes,
    /// Indexes that failed too often.
    pub failed_indexes: Indexes,
    /// Why a pod's failure ends the Job.
    pub fatal: Option<String>,
    /// Pods that have been counted and may go.
    pub release: Vec<Object>,
}

/// The index of a pod, if it has one.
#[must_use]
pub fn index(pod: &Value) -> Option<i64> {
    pod.annotation(INDEX)?.parse().ok()
}

/// Whether a pod is still to be counted.
#[must_use]
pub fn is_tracked(pod: &Value) -> bool {
    pod.items("/metadata/finalizers").iter().any(|f| f == FINALIZER)
}

/// Whether a pod has failed; one that is being deleted has, where it is replaced at once.
#[must_use]
pub fn has_failed(job: &Value, pod: &Value) -> bool {
    match pod.text("/status/phase") {
        "Failed" => true,
        "Succeeded" => false,
        _ => pod.is_terminating() && job["spec"]["podReplacementPolicy"] != "Failed",
    }
}

impl Ledger {
    /// Count the pods on top of what the Job's status says.
    #[must_use]
    pub fn of(job: &Value, pods: &[Object]) -> Self {
        let mut ledger = Self::read(job);
        let waiting = |uid: &String| pods.iter().any(|p| p.uid() == uid && is_tracked(p));
        ledger.succeeded += settle(&mut ledger.uncounted_succeeded, &waiting);
        ledger.failed += settle(&mut ledger.uncounted_failed, &waiting);
        for pod in pods.iter().filter(|p| is_tracked(p)) {
            ledger.take(job, pod);
        }
        ledger
    }

    fn read(job: &Value) -> Self {
        let limit = job.int("/spec/completions").unwrap_or(0);
        let uids = |field: &str| {
            let list = job.items(&format!("/status/uncountedTerminatedPods/{field}"));
            list.iter().filter_map(|uid| uid.as_str().map(str::to_owned)).collect()
        };
        Self {
            succeeded: job.int("/status/succeeded").unwrap_or(0),
            failed: job.int("/status/failed").unwrap_or(0),
            uncounted_succeeded: uids("succeeded"),
            uncounted_failed: uids("failed"),
            completed: Indexes::parse(job.text("/status/completedIndexes"), limit),
            failed_indexes: Indexes::parse(job.text("/status/failedIndexes"), limit),
            ..Self::default()
        }
    }

    fn take(&mut self, job: &Value, pod: &Object) {
        let indexed = job["spec"]["completionMode"] == "Indexed";
        if pod.text("/status/phase") == "Succeeded" {
            match index(pod).filter(|_| indexed) {
                Some(index) if index < job.int("/spec/completions").unwrap_or(0) => {
                    self.completed.insert(index);
                }
                Some(_) => {}
                None => {
                    self.uncounted_succeeded.insert(pod.uid().to_owned());
                }
            }
        } else if has_failed(job, pod) {
            self.take_failed(job, pod);
        } else {
            return;
        }
        self.release.push(pod.clone());
    }

    fn take_failed(&mut self, job: &Value, pod: &Object) {
        let verdict = verdict(job, pod);
        match &verdict {
            Verdict::Ignore => return,
            Verdict::FailJob(text) => self.fatal = Some(text.clone()),
            Verdict::FailIndex | Verdict::Count => {}
        }
        self.uncounted_failed.insert(pod.uid().to_owned());
        let limit = job.int("/spec/backoffLimitPerIndex");
        let (Some(limit), Some(index)) = (limit, index(pod)) else { return };
        if verdict == Verdict::FailIndex || failures(pod) >= limit {
            self.failed_indexes.insert(index);
        }
    }

    /// Pods (or indexes) that succeeded.
    #[must_use]
    pub fn succeeded(&self, indexed: bool) -> i64 {
        if indexed { self.completed.count() } else { self.succeeded + self.uncounted_succeeded.len() as i64 }
    }

    /// Pods that failed.
    #[must_use]
    pub fn failed(&self) -> i64 {
        self.failed + self.uncounted_failed.len() as i64
    }

    /// Whether all that ended has become a number.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.uncounted_failed.is_empty() && self.uncounted_succeeded.is_empty() && self.release.is_empty()
    }

    /// Write the count into a status.
    pub fn write(&self, job: &Value, status: &mut Value) {
        let indexed = job["spec"]["completionMode"] == "Indexed";
        let succeeded = if indexed { self.completed.count() } else { self.succeeded };
        for (name, count) in [("succeeded", succeeded), ("failed", self.failed)] {
            if count > 0 {
                status[name] = count.into();
            }
        }
        let mut uncounted = json!({});
        for (name, uids) in [("succeeded", &self.uncounted_succeeded), ("failed", &self.uncounted_failed)] {
            if !uids.is_empty() {
                uncounted[name] = json!(uids);
            }
        }
        status["uncountedTerminatedPods"] = uncounted;
        if self.completed.count() > 0 {
            status["completedIndexes"] = self.completed.to_string().into();
        }
        if job.int("/spec/backoffLimitPerIndex").is_some() {
            status["failedIndexes"] = self.failed_indexes.to_string().into();
        }
    }
}

/// How often the pods of this pod's index failed before it.
#[must_use]
pub fn failures(pod: &Value) -> i64 {
    pod.annotation(INDEX_FAILURES).and_then(|count| count.parse().ok()).unwrap_or(0)
}

/// Drop the uids whose pods have been let go; how many they are.
fn settle(uids: &mut BTreeSet<String>, waiting: &impl Fn(&String) -> bool) -> i64 {
    let before = uids.len();
    uids.retain(|uid| waiting(uid));
    (before - uids.len()) as i64
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    fn pod(uid: &str, phase: &str, tracked: bool) -> Object {
        let finalizers: &[&str] = if tracked { &[FINALIZER] } else { &[] };
        Arc::new(json!({"metadata": {"uid": uid, "finalizers": finalizers}, "status": {"phase": phase}}))
    }

    #[test]
    fn a_pod_is_counted_once_even_when_it_is_deleted_meanwhile() {
        let mut job = json!({"spec": {"completionMode": "NonIndexed"}});
        let seen = Ledger::of(&job, &[pod("a", "Succeeded", true)]);
        assert_eq!((seen.succeeded(false), seen.is_settled(), seen.release.len()), (1, false, 1));
        let mut status = json!({});
        seen.write(&job, &mut status);
        assert_eq!(status, json!({"uncountedTerminatedPods": {"succeeded": ["a"]}}));
        job["status"] = status;
        // Not let go yet: still the same.
        assert_eq!(Ledger::of(&job, &[pod("a", "Succeeded", true)]).succeeded(false), 1);
        for left in [vec![pod("a", "Succeeded", false)], vec![]] {
            let settled = Ledger::of(&job, &left);
            assert_eq!((settled.succeeded(false), settled.is_settled()), (1, true));
            let mut status = json!({});
            settled.write(&job, &mut status);
            assert_eq!(status, json!({"succeeded": 1, "uncountedTerminatedPods": {}}));
        }
    }

    #[test]
    fn indexes_are_completed_once_and_fail_after_their_limit() {
        let job = json!({"spec": {"completionMode": "Indexed", "completions": 3, "backoffLimitPerIndex": 1}});
        let indexed = |uid: &str, phase: &str, index: i64, failures: i64| {
            let mut pod = Value::clone(&pod(uid, phase, true));
            pod["metadata"]["annotations"] = json!({INDEX: index.to_string(), INDEX_FAILURES: failures.to_string()});
            Arc::new(pod)
        };
        let pods = [
            indexed("a", "Succeeded", 0, 0),
            indexed("b", "Succeeded", 0, 0),
            indexed("c", "Failed", 1, 0),
            indexed("d", "Failed", 2, 1),
        ];
        let ledger = Ledger::of(&job, &pods);
        assert_eq!((ledger.succeeded(true), ledger.failed()), (1, 2));
        assert_eq!(ledger.failed_indexes.to_string(), "2");
    }
}
