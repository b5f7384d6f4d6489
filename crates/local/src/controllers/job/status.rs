//! A Job's status.

use serde_json::{Value, json};

use super::plan::{Outcome, Plan, View};
use crate::clock::stamp;
use crate::controllers::object::{Meta, set_condition};
use crate::controllers::pods;

/// The status that the Job should show.
#[must_use]
pub fn status(view: &View<'_>, plan: &Plan) -> Value {
    let mut status = json!({});
    if !view.is_suspended() || plan.outcome.is_some() {
        status["startTime"] = stamp(view.started()).into();
    }
    if let Some(end) = view.job.pointer("/status/completionTime") {
        status["completionTime"] = end.clone();
    }
    let number = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
    let active = number(view.active().count()) + number(plan.create.len()) - number(plan.delete.len());
    if active > 0 {
        status["active"] = active.into();
    }
    let ready = if plan.outcome.is_some() { 0 } else { view.active().filter(|p| pods::is_ready(p)).count() };
    status["ready"] = ready.into();
    status["terminating"] = (view.terminating() + number(plan.delete.len())).into();
    view.ledger.write(view.job, &mut status);
    let mut conditions = view.job.items("/status/conditions").to_vec();
    suspension(view, plan, &mut conditions);
    if let Some(outcome) = &plan.outcome {
        ending(view, plan, outcome, &mut status, &mut conditions);
    }
    if !conditions.is_empty() {
        status["conditions"] = conditions.into();
    }
    status
}

/// First it is settled how it ends; it has ended when its last pod has.
fn ending(view: &View<'_>, plan: &Plan, outcome: &Outcome, status: &mut Value, conditions: &mut Vec<Value>) {
    let (settled, ended) =
        if outcome.complete { ("SuccessCriteriaMet", "Complete") } else { ("FailureTarget", "Failed") };
    put(view, conditions, settled, "True", &outcome.reason, &outcome.message);
    let over = view.active().next().is_none()
        && view.terminating() == 0
        && plan.release.is_empty()
        && view.ledger.is_settled();
    if over && put(view, conditions, ended, "True", &outcome.reason, &outcome.message) && outcome.complete {
        status["completionTime"] = stamp(view.now).into();
    }
}

fn suspension(view: &View<'_>, plan: &Plan, conditions: &mut Vec<Value>) {
    let was = view.job.condition_true("Suspended");
    if plan.outcome.is_some() {
        return;
    }
    if view.is_suspended() {
        put(view, conditions, "Suspended", "True", "JobSuspended", "Job suspended");
    } else if was {
        put(view, conditions, "Suspended", "False", "JobResumed", "Job resumed");
    }
}

/// Set a condition; answers whether that changed it.
fn put(view: &View<'_>, all: &mut Vec<Value>, kind: &str, status: &str, reason: &str, message: &str) -> bool {
    if all.iter().any(|c| c["type"] == kind && c["status"] == status) {
        return false;
    }
    let time = stamp(view.now);
    set_condition(
        all,
        json!({"type": kind, "status": status, "lastProbeTime": time, "lastTransitionTime": time,
            "reason": reason, "message": message}),
    );
    true
}
