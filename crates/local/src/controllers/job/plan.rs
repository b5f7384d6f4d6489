//! What a Job needs next: a pure decision.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use lateen_apiserver::Object;
use serde_json::Value;

use super::index::Indexes;
use super::ledger::{self, Ledger};
use super::status;
use crate::controllers::object::Meta;
use crate::controllers::pods;

/// Seconds before the pod that replaces the first failed one; doubles with each failure.
const FIRST_DELAY: i64 = 10;
const MAX_DELAY: i64 = 600;
/// Pods made in one round, so that one huge Job doesn't hold up the others.
const BURST: usize = 100;

/// How a Job ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Whether its work was done.
    pub complete: bool,
    /// Kubernetes' reason.
    pub reason: String,
    /// The same for people.
    pub message: String,
}

impl Outcome {
    fn new(complete: bool, reason: &str, message: impl Into<String>) -> Self {
        Self { complete, reason: reason.into(), message: message.into() }
    }
}

/// A pod to make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct New {
    /// Its index in an Indexed Job.
    pub index: Option<i64>,
    /// How often the pods of its index failed before it, where that is limited.
    pub failures: Option<i64>,
}

/// What to do.
#[derive(Debug, Default)]
pub struct Plan {
    /// Pods to make.
    pub create: Vec<New>,
    /// Pods to delete.
    pub delete: Vec<Object>,
    /// Whether the deleted ones count as failed.
    pub counts_deleted: bool,
    /// Pods that may go once the status is written.
    pub release: Vec<Object>,
    /// The Job's status.
    pub status: Value,
    /// How it ends, if it does.
    pub outcome: Option<Outcome>,
    /// When something is due with nothing else happening.
    pub look_again: Option<Duration>,
    /// It ended so long ago that it may go.
    pub expired: bool,
}

/// A Job, its pods, and what is known of those that ended.
pub struct View<'a> {
    /// The Job.
    pub job: &'a Value,
    /// Its pods.
    pub pods: &'a [Object],
    /// Those that ended.
    pub ledger: Ledger,
    /// The present time.
    pub now: Timestamp,
}

/// Decide from the Job and its pods.
#[must_use]
pub fn plan(job: &Value, pods: &[Object], now: Timestamp) -> Plan {
    let mut view = View { job, pods, ledger: Ledger::of(job, pods), now };
    let mut plan = Plan { outcome: view.outcome(), ..Plan::default() };
    if plan.outcome.is_some() || view.is_suspended() {
        plan.delete = view.active().cloned().collect();
        plan.counts_deleted = plan.outcome.as_ref().is_some_and(|o| !o.complete);
    } else {
        view.resize(&mut plan);
        if let Some(deadline) = job.int("/spec/activeDeadlineSeconds") {
            let left = deadline - seconds_since(view.started(), now);
            plan.look_again = sooner(plan.look_again, left.max(0) + 1);
        }
    }
    plan.release = std::mem::take(&mut view.ledger.release);
    plan.status = status::status(&view, &plan);
    expire(&mut plan, job, now);
    plan
}

impl<'a> View<'a> {
    /// Whether each pod has an index.
    pub fn is_indexed(&self) -> bool {
        self.job["spec"]["completionMode"] == "Indexed"
    }

    /// Whether it is to rest.
    pub fn is_suspended(&self) -> bool {
        self.job["spec"]["suspend"] == true
    }

    /// Pods that run, or will.
    pub fn active(&self) -> impl Iterator<Item = &'a Object> {
        self.pods.iter().filter(|p| pods::is_active(p))
    }

    /// Pods that are being deleted and have not ended.
    pub fn terminating(&self) -> i64 {
        count(self.pods.iter().filter(|p| p.is_terminating() && !pods::is_finished(p)))
    }

    /// When it began, or begins now.
    pub fn started(&self) -> Timestamp {
        self.job.text("/status/startTime").parse().unwrap_or(self.now)
    }

    fn succeeded(&self) -> i64 {
        self.ledger.succeeded(self.is_indexed())
    }

    fn outcome(&self) -> Option<Outcome> {
        self.past_outcome().or_else(|| self.failure()).or_else(|| self.success())
    }

    /// What was decided before stays.
    fn past_outcome(&self) -> Option<Outcome> {
        [("Complete", true), ("SuccessCriteriaMet", true), ("Failed", false), ("FailureTarget", false)].iter().find_map(
            |(kind, complete)| {
                let condition = self.job.condition(kind).filter(|c| c["status"] == "True")?;
                Some(Outcome::new(*complete, condition.text("/reason"), condition.text("/message")))
            },
        )
    }

    fn failure(&self) -> Option<Outcome> {
        let job = self.job;
        let fail = |reason: &str, message: &str| Some(Outcome::new(false, reason, message));
        if let Some(message) = &self.ledger.fatal {
            return fail("PodFailurePolicy", message);
        }
        let limit = job.int("/spec/backoffLimit").unwrap_or(6);
        if self.ledger.failed() > limit || self.restarted_too_often(limit) {
            return fail("BackoffLimitExceeded", "Job has reached the specified backoff limit");
        }
        let deadline = job.int("/spec/activeDeadlineSeconds");
        if !self.is_suspended() && deadline.is_some_and(|d| seconds_since(self.started(), self.now) >= d) {
            return fail("DeadlineExceeded", "Job was active longer than specified deadline");
        }
        let failed = self.ledger.failed_indexes.count();
        if job.int("/spec/maxFailedIndexes").is_some_and(|most| failed > most) {
            return fail("MaxFailedIndexesExceeded", "Job has exceeded the specified maximal number of failed indexes");
        }
        let all = job.int("/spec/completions").unwrap_or(0);
        if failed > 0 && self.succeeded() + failed >= all {
            return fail("FailedIndexes", "Job has failed indexes");
        }
        None
    }

    /// Containers that start again in their pods.
    fn restarted_too_often(&self, limit: i64) -> bool {
        if self.job.text("/spec/template/spec/restartPolicy") != "OnFailure" {
            return false;
        }
        let lists = ["/status/containerStatuses", "/status/initContainerStatuses"];
        let statuses = self.active().flat_map(|p| lists.into_iter().flat_map(|list| p.items(list)));
        let restarts: i64 = statuses.map(|c| c["restartCount"].as_i64().unwrap_or(0)).sum();
        restarts >= limit.max(1)
    }

    fn success(&self) -> Option<Outcome> {
        if let Some(rule) = self.success_rule() {
            return Some(Outcome::new(true, "SuccessPolicy", format!("Matched rules at index {rule}")));
        }
        let complete = match self.job.int("/spec/completions") {
            Some(completions) => self.succeeded() >= completions,
            None => self.succeeded() > 0 && self.active().next().is_none(),
        };
        complete.then(|| Outcome::new(true, "CompletionsReached", "Reached expected number of succeeded pods"))
    }

    /// The rule of the success policy by which the work is done.
    fn success_rule(&self) -> Option<usize> {
        let completions = self.job.int("/spec/completions")?;
        self.job.items("/spec/successPolicy/rules").iter().position(|rule| {
            let wanted = rule["succeededIndexes"].as_str().map(|text| Indexes::parse(text, completions));
            let done = wanted.as_ref().map_or(self.ledger.completed.count(), |w| w.shared(&self.ledger.completed));
            let least = rule.int("/succeededCount").or(wanted.map(|w| w.count())).unwrap_or(completions);
            done >= least
        })
    }

    /// Pods there should be now, given what has succeeded.
    fn resize(&self, plan: &mut Plan) {
        let active: Vec<&Object> = self.active().collect();
        let surplus = self.surplus(&active);
        if !surplus.is_empty() {
            plan.delete = surplus;
            return;
        }
        // With this policy a pod is replaced when it has ended, not when it is to end.
        let held = if self.job["spec"]["podReplacementPolicy"] == "Failed" { self.terminating() } else { 0 };
        let missing = self.wanted(count(active.iter())) - count(active.iter()) - held;
        let missing = usize::try_from(missing).unwrap_or(0).min(BURST);
        if self.is_indexed() {
            self.create_indexes(&active, missing, plan);
        } else if missing > 0 {
            match self.delay(self.failures(|_| true)) {
                0 => plan.create = vec![New { index: None, failures: None }; missing],
                wait => plan.look_again = sooner(plan.look_again, wait),
            }
        }
    }

    fn wanted(&self, active: i64) -> i64 {
        let parallel = self.job.int("/spec/parallelism").unwrap_or(1).max(0);
        match self.job.int("/spec/completions") {
            Some(completions) => {
                let open = completions - self.succeeded() - self.ledger.failed_indexes.count();
                parallel.min(open.max(0))
            }
            // Once one has succeeded the others only run to their end.
            None if self.succeeded() > 0 => active.min(parallel),
            None => parallel,
        }
    }

    /// Active pods that are too many: those of an index that is done or taken, then the youngest.
    fn surplus(&self, active: &[&Object]) -> Vec<Object> {
        let mut kept: Vec<&Object> = Vec::new();
        let mut gone: Vec<Object> = Vec::new();
        let mut oldest = active.to_vec();
        oldest.sort_by_key(|pod| (pod.created(), pod.name().to_owned()));
        for pod in oldest {
            let taken = self.is_indexed()
                && ledger::index(pod)
                    .is_none_or(|i| !self.is_open(i) || kept.iter().any(|k| ledger::index(k) == Some(i)));
            if taken { gone.push(pod.clone()) } else { kept.push(pod) }
        }
        let wanted = usize::try_from(self.wanted(count(kept.iter()))).unwrap_or(0);
        gone.extend(kept.into_iter().skip(wanted).cloned());
        gone
    }

    /// Whether an index is still to be worked on.
    fn is_open(&self, index: i64) -> bool {
        index < self.job.int("/spec/completions").unwrap_or(0)
            && !self.ledger.completed.has(index)
            && !self.ledger.failed_indexes.has(index)
    }

    /// The lowest indexes that nobody works on.
    fn create_indexes(&self, active: &[&Object], missing: usize, plan: &mut Plan) {
        let limited = self.job.int("/spec/backoffLimitPerIndex").is_some();
        let taken: Vec<i64> = active.iter().filter_map(|p| ledger::index(p)).collect();
        let all = 0..self.job.int("/spec/completions").unwrap_or(0);
        for index in all.filter(|i| self.is_open(*i) && !taken.contains(i)) {
            if plan.create.len() >= missing {
                return;
            }
            let of_index = |pod: &Value| !limited || ledger::index(pod) == Some(index);
            match self.delay(self.failures(of_index)) {
                0 => {
                    let failures = limited.then(|| self.failures_of(index));
                    plan.create.push(New { index: Some(index), failures });
                }
                wait => plan.look_again = sooner(plan.look_again, wait),
            }
        }
    }

    /// How often the pods of an index have failed.
    fn failures_of(&self, index: i64) -> i64 {
        let of_index = self.pods.iter().filter(|p| ledger::index(p) == Some(index));
        let failed = of_index.filter(|p| ledger::has_failed(self.job, p));
        failed.map(|p| ledger::failures(p) + 1).max().unwrap_or(0)
    }

    /// How many pods failed since the last one that succeeded, and when the last of them did.
    fn failures(&self, of: impl Fn(&Value) -> bool) -> (i64, Option<Timestamp>) {
        let ended = |phase: &str| -> BTreeMap<Timestamp, i64> {
            let mut times = BTreeMap::new();
            for pod in self.pods.iter().filter(|p| p.text("/status/phase") == phase && of(p)) {
                *times.entry(end_of(pod).unwrap_or(self.now)).or_insert(0) += 1;
            }
            times
        };
        let success = ended("Succeeded").keys().next_back().copied();
        let failures: Vec<_> = ended("Failed").into_iter().filter(|(at, _)| success.is_none_or(|s| *at > s)).collect();
        (failures.iter().map(|(_, n)| n).sum(), failures.last().map(|(at, _)| *at))
    }

    /// Seconds until the next pod may be made.
    fn delay(&self, (failed, last): (i64, Option<Timestamp>)) -> i64 {
        let Some(last) = last.filter(|_| failed > 0) else { return 0 };
        let exponent = u32::try_from(failed - 1).unwrap_or(0).min(6);
        let wait = (FIRST_DELAY << exponent).min(MAX_DELAY);
        (wait - seconds_since(last, self.now)).max(0)
    }
}

fn count<T>(items: impl Iterator<Item = T>) -> i64 {
    i64::try_from(items.count()).unwrap_or(i64::MAX)
}

fn end_of(pod: &Value) -> Option<Timestamp> {
    let ends = pod.items("/status/containerStatuses").iter();
    let ends = ends.filter_map(|c| c.text("/state/terminated/finishedAt").parse().ok());
    ends.max().or_else(|| pod.created())
}

fn seconds_since(then: Timestamp, now: Timestamp) -> i64 {
    now.as_second() - then.as_second()
}

fn sooner(known: Option<Duration>, seconds: i64) -> Option<Duration> {
    let other = Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
    Some(known.map_or(other, |known| known.min(other)))
}

fn expire(plan: &mut Plan, job: &Value, now: Timestamp) {
    let Some(keep) = job.int("/spec/ttlSecondsAfterFinished") else { return };
    let conditions = plan.status.items("/conditions").iter();
    let ended = conditions.filter(|c| c["type"] == "Complete" || c["type"] == "Failed");
    let Some(end) = ended.filter_map(|c| c.text("/lastTransitionTime").parse().ok()).max() else { return };
    let left = keep - seconds_since(end, now);
    if left > 0 {
        plan.look_again = sooner(plan.look_again, left);
    } else {
        plan.expired = true;
    }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
