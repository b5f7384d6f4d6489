//! What a CronJob needs next: a pure decision.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use lateen_apiserver::Object;
use lateen_apiserver::cron::{self, Schedule};
use serde_json::{Value, json};

use super::{OWNER, ending};
use crate::clock::stamp;
use crate::controllers::object::{Meta, controller_ref, map_mut};
use crate::events::Type;

const SCHEDULED_AT: &str = "batch.kubernetes.io/cronjob-scheduled-timestamp";
/// Times missed after which an event says so.
const MANY: usize = 100;
/// A moment after a time is due, so that the clock has surely passed it.
const MOMENT: Duration = Duration::from_millis(100);
/// How far back the latest time that was due is looked for, step by step.
const LOOK_BACK: [i64; 6] = [60, 3600, 86_400, 32 * 86_400, 366 * 86_400, 5 * 366 * 86_400];

/// What to do.
#[derive(Debug)]
pub struct Plan {
    /// A Job to make, and the time it is for.
    pub create: Option<(Timestamp, Value)>,
    /// Jobs to delete.
    pub delete: Vec<Object>,
    /// The status, without the Job to be made.
    pub status: Value,
    /// What to tell.
    pub events: Vec<(Type, &'static str, String)>,
    /// When the next Job is due.
    pub look_again: Option<Duration>,
}

impl Plan {
    fn say(&mut self, kind: Type, reason: &'static str, text: String) {
        self.events.push((kind, reason, text));
    }

    /// The Jobs of its own that still run.
    fn active(&self) -> &[Value] {
        self.status.items("/active")
    }
}

/// Decide from the CronJob and its Jobs.
#[must_use]
pub fn plan(cron_job: &Value, jobs: &[Object], now: Timestamp) -> Plan {
    let mut plan = Plan {
        create: None,
        delete: Vec::new(),
        status: cron_job["status"].clone(),
        events: Vec::new(),
        look_again: None,
    };
    if !plan.status.is_object() {
        plan.status = json!({});
    }
    look_after(cron_job, jobs, &mut plan);
    clean_history(cron_job, jobs, &mut plan);
    if cron_job.is_terminating() || cron_job["spec"]["suspend"] == true {
        return plan;
    }
    let zone = cron::time_zone(cron_job["spec"]["timeZone"].as_str());
    match (Schedule::parse(cron_job.text("/spec/schedule")), zone) {
        (Ok(schedule), Ok(zone)) => {
            start_due(cron_job, jobs, now, &|after| schedule.next(after, &zone), &mut plan);
            let next = schedule.next(now, &zone);
            plan.look_again = next.map(|at| at.duration_since(now).unsigned_abs() + MOMENT);
        }
        (Err(error), _) => {
            let text = format!("unparseable schedule: {:?} : {error}", cron_job.text("/spec/schedule"));
            plan.say(Type::Warning, "UnparseableSchedule", text);
        }
        (_, Err(error)) => plan.say(Type::Warning, "UnknownTimeZone", format!("invalid timeZone: {error}")),
    }
    plan
}

/// Which of its Jobs have ended or are gone.
fn look_after(cron_job: &Value, jobs: &[Object], plan: &mut Plan) {
    let mut active = cron_job.items("/status/active").to_vec();
    for job in jobs {
        let known = active.iter().any(|a| a["uid"] == job.uid());
        match (known, ending(job)) {
            (true, Some(how)) => {
                active.retain(|a| a["uid"] != job.uid());
                let text = format!("Saw completed job: {}, condition: {how}", job.name());
                plan.say(Type::Normal, "SawCompletedJob", text);
            }
            (false, None) => {
                let text = format!("Saw a job that the controller did not create or forgot: {}", job.name());
                plan.say(Type::Warning, "UnexpectedJob", text);
            }
            _ => {}
        }
        let (ended, last) = (job.text("/status/completionTime"), plan.status.text("/lastSuccessfulTime"));
        if ending(job) == Some("Complete") && !ended.is_empty() && ended > last {
            plan.status["lastSuccessfulTime"] = ended.into();
        }
    }
    active.retain(|reference| {
        let there = jobs.iter().any(|job| reference["uid"] == job.uid());
        if !there {
            let text = format!("Active job went missing: {}", reference.text("/name"));
            plan.events.push((Type::Normal, "MissingJob", text));
        }
        there
    });
    set_active(&mut plan.status, active);
}

fn set_active(status: &mut Value, active: Vec<Value>) {
    let map = map_mut(status, "");
    if active.is_empty() {
        map.shift_remove("active");
    } else {
        map.insert("active".into(), active.into());
    }
}

/// Ended Jobs beyond what is to be kept go, the oldest first.
fn clean_history(cron_job: &Value, jobs: &[Object], plan: &mut Plan) {
    for (how, field, default) in [("Complete", "successful", 3), ("Failed", "failed", 1)] {
        let keep = cron_job.int(&format!("/spec/{field}JobsHistoryLimit")).unwrap_or(default).max(0);
        let mut ended: Vec<&Object> = jobs.iter().filter(|j| ending(j) == Some(how) && !j.is_terminating()).collect();
        ended.sort_by_key(|job| (job.text("/status/startTime").to_owned(), job.name().to_owned()));
        let excess = ended.len().saturating_sub(usize::try_from(keep).unwrap_or(usize::MAX));
        plan.delete.extend(ended.into_iter().take(excess).cloned());
    }
}

type NextTime<'a> = &'a dyn Fn(Timestamp) -> Option<Timestamp>;

/// The Job that is due, if its turn was not missed and the others let it run.
fn start_due(cron_job: &Value, jobs: &[Object], now: Timestamp, next: NextTime<'_>, plan: &mut Plan) {
    let Some(due) = latest_due(cron_job, now, next, plan) else { return };
    let deadline = cron_job.int("/spec/startingDeadlineSeconds");
    if deadline.is_some_and(|seconds| due.as_second() + seconds < now.as_second()) {
        let text = format!("Missed scheduled time to start a job: {}", stamp(due));
        plan.say(Type::Warning, "MissSchedule", text);
        return;
    }
    match cron_job.text("/spec/concurrencyPolicy") {
        "Forbid" if !plan.active().is_empty() => {
            let text = "Not starting job because prior execution is running and concurrency policy is Forbid";
            plan.say(Type::Normal, "JobAlreadyActive", text.to_owned());
            return;
        }
        "Replace" => {
            let running = |job: &&Object| plan.active().iter().any(|a| a["uid"] == job.uid());
            let replaced: Vec<Object> = jobs.iter().filter(running).cloned().collect();
            plan.delete.extend(replaced);
            set_active(&mut plan.status, Vec::new());
        }
        _ => {}
    }
    plan.create = Some((due, job(cron_job, due)));
}

/// The latest time that was due and has not been served.
fn latest_due(cron_job: &Value, now: Timestamp, next: NextTime<'_>, plan: &mut Plan) -> Option<Timestamp> {
    let last = cron_job.text("/status/lastScheduleTime").parse().ok();
    let mut earliest: Timestamp = last.or_else(|| cron_job.created()).unwrap_or(now);
    if let Some(seconds) = cron_job.int("/spec/startingDeadlineSeconds") {
        earliest = earliest.max(now.checked_sub(SignedDuration::from_secs(seconds)).unwrap_or(earliest));
    }
    next(earliest).filter(|first| *first <= now)?;
    let mut missed = std::iter::successors(next(earliest), |at| next(*at)).take_while(|at| *at <= now);
    if missed.nth(MANY).is_some() {
        let text = format!(
            "too many missed start times: more than {MANY}. Set or decrease .spec.startingDeadlineSeconds or check \
             clock skew"
        );
        plan.say(Type::Warning, "TooManyMissedTimes", text);
    }
    let from = LOOK_BACK.iter().map(|seconds| now.checked_sub(SignedDuration::from_secs(*seconds)).unwrap_or(earliest));
    let from = from.map(|at| at.max(earliest)).find(|at| next(*at).is_some_and(|first| first <= now))?;
    std::iter::successors(next(from), |at| next(*at)).take_while(|at| *at <= now).last()
}

/// The Job for the time at which it was due; the name is the same whenever it is made.
fn job(cron_job: &Value, due: Timestamp) -> Value {
    let template = &cron_job["spec"]["jobTemplate"];
    let mut job = json!({
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": format!("{}-{}", cron_job.name(), due.as_second() / 60),
            "namespace": cron_job.namespace(),
            "labels": template["metadata"]["labels"],
            "annotations": template["metadata"]["annotations"],
            "ownerReferences": [controller_ref(cron_job, OWNER.api_version, OWNER.kind)],
        },
        "spec": template["spec"],
    });
    map_mut(&mut job, "/metadata/annotations").insert(SCHEDULED_AT.into(), stamp(due).into());
    job
}

/// Put a Job that was made into the status.
pub fn started(status: &mut Value, job: &Value, due: Timestamp) {
    let mut active = status.items("/active").to_vec();
    if ending(job).is_none() && !active.iter().any(|a| a["uid"] == job.uid()) {
        active.push(json!({
            "apiVersion": "batch/v1",
            "kind": "Job",
            "name": job.name(),
            "namespace": job.namespace(),
            "uid": job.uid(),
            "resourceVersion": job.text("/metadata/resourceVersion"),
        }));
    }
    set_active(status, active);
    status["lastScheduleTime"] = stamp(due).into();
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
