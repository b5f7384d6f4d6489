//! A pod's status as the API shows it.

use std::net::IpAddr;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, PodSpec};
use serde_json::{Value, json};

use super::quantity::Quantity;
use super::unit::{Ended, RestartPolicy, Role, State, Unit};
use crate::clock::stamp;

/// What is known about a pod besides its containers.
#[derive(Debug, Clone)]
pub(crate) struct Facts {
    pub(crate) policy: RestartPolicy,
    /// The pod's addresses; none before it has a network.
    pub(crate) ips: Vec<IpAddr>,
    pub(crate) node_ips: Vec<IpAddr>,
    pub(crate) since: Timestamp,
    pub(crate) qos: &'static str,
    pub(crate) initialized: bool,
    /// The pod is over or going, whatever its containers look like.
    pub(crate) stopped: bool,
}

/// The whole status. `old` is the one before: times of conditions that stay are kept.
pub(crate) fn status(units: &[Unit], facts: &Facts, old: &Value, spec: &Value, now: Timestamp) -> Value {
    let phase = phase(units, facts);
    let mut status = json!({
        "phase": phase,
        "conditions": conditions(units, facts, phase, old, spec, now),
        "hostIP": facts.node_ips.first(),
        "hostIPs": listed(&facts.node_ips),
        "startTime": stamp(facts.since),
        "containerStatuses": statuses(units, |role| role == Role::App),
        "qosClass": facts.qos,
    });
    if let Some(ip) = facts.ips.first() {
        status["podIP"] = json!(ip);
        status["podIPs"] = listed(&facts.ips);
    }
    if units.iter().any(|unit| unit.role != Role::App) {
        status["initContainerStatuses"] = statuses(units, |role| role != Role::App);
    }
    status
}

fn listed(ips: &[IpAddr]) -> Value {
    ips.iter().map(|ip| json!({"ip": ip})).collect()
}

/// The phase that follows from the containers.
pub(crate) fn phase(units: &[Unit], facts: &Facts) -> &'static str {
    let init_failed = units.iter().any(|unit| {
        unit.role == Role::Init
            && matches!(&unit.state, State::Ended(ended)
                if ended.code != 0 && !unit.restarts_after(ended.code, facts.policy))
    });
    if init_failed {
        return "Failed";
    }
    if !facts.initialized {
        return "Pending";
    }
    let apps = || units.iter().filter(|unit| unit.role == Role::App);
    let never_ran = |unit: &Unit| matches!(unit.state, State::Waiting { .. }) && unit.last.is_none();
    if apps().any(never_ran) {
        return "Pending";
    }
    let over = |unit: &Unit| match &unit.state {
        State::Ended(ended) => facts.stopped || !unit.restarts_after(ended.code, facts.policy),
        _ => false,
    };
    if !apps().all(over) {
        "Running"
    } else if apps().all(Unit::succeeded) {
        "Succeeded"
    } else {
        "Failed"
    }
}

fn conditions(units: &[Unit], facts: &Facts, phase: &str, old: &Value, spec: &Value, now: Timestamp) -> Value {
    let names = |wanted: &dyn Fn(&Unit) -> bool| {
        units.iter().filter(|unit| wanted(unit)).map(Unit::name).collect::<Vec<_>>().join(" ")
    };
    let incomplete = names(&|unit| match unit.role {
        Role::Init => !unit.succeeded(),
        Role::Sidecar => !unit.started,
        Role::App => false,
    });
    let unready = names(&|unit| unit.role != Role::Init && !unit.ready);
    let initialized = verdict(facts.initialized, "ContainersNotInitialized", "incomplete status", &incomplete);
    let ready = if matches!(phase, "Succeeded" | "Failed") {
        let reason = if phase == "Succeeded" { "PodCompleted" } else { "PodFailed" };
        (false, Some(reason), None)
    } else {
        verdict(unready.is_empty(), "ContainersNotReady", "unready status", &unready)
    };
    let gate = unmet_gate(spec, old);
    let pod_ready = match (&ready, gate) {
        ((true, ..), Some(gate)) => {
            let message =
                format!("corresponding condition of pod readiness gate {gate:?} does not exist or is not true.");
            (false, Some("ReadinessGatesNotReady"), Some(message))
        }
        _ => ready.clone(),
    };
    let mut conditions = vec![
        condition("PodReadyToStartContainers", (!facts.ips.is_empty(), None, None), old, now),
        condition("Initialized", initialized, old, now),
        condition("Ready", pod_ready, old, now),
        condition("ContainersReady", ready, old, now),
        condition("PodScheduled", (true, None, None), old, now),
    ];
    let ours: Vec<Value> = conditions.iter().map(|c| c["type"].clone()).collect();
    let others = old["conditions"].as_array().into_iter().flatten();
    conditions.extend(others.filter(|c| !ours.contains(&c["type"])).cloned());
    Value::Array(conditions)
}

type Verdict = (bool, Option<&'static str>, Option<String>);

fn verdict(fine: bool, reason: &'static str, what: &str, names: &str) -> Verdict {
    if fine { (true, None, None) } else { (false, Some(reason), Some(format!("containers with {what}: [{names}]"))) }
}

/// The first readiness gate whose condition isn't true.
fn unmet_gate(spec: &Value, old: &Value) -> Option<String> {
    let gates = spec["readinessGates"].as_array().into_iter().flatten();
    let conditions = old["conditions"].as_array();
    let met =
        |kind: &str| conditions.is_some_and(|list| list.iter().any(|c| c["type"] == kind && c["status"] == "True"));
    gates.filter_map(|gate| gate["conditionType"].as_str()).find(|kind| !met(kind)).map(str::to_owned)
}

fn condition(kind: &str, (fine, reason, message): Verdict, old: &Value, now: Timestamp) -> Value {
    let status = if fine { "True" } else { "False" };
    let before = old["conditions"].as_array().into_iter().flatten();
    let same = before.into_iter().find(|c| c["type"] == kind && c["status"] == status);
    let since = same.map(|c| c["lastTransitionTime"].clone()).filter(Value::is_string);
    let mut condition = json!({
        "type": kind,
        "status": status,
        "lastProbeTime": null,
        "lastTransitionTime": since.unwrap_or_else(|| stamp(now).into()),
    });
    if let Some(reason) = reason {
        condition["reason"] = reason.into();
    }
    if let Some(message) = message {
        condition["message"] = message.into();
    }
    condition
}

fn statuses(units: &[Unit], wanted: impl Fn(Role) -> bool) -> Value {
    units.iter().filter(|unit| wanted(unit.role)).map(container_status).collect()
}

fn container_status(unit: &Unit) -> Value {
    let image = unit.container.image.as_deref().unwrap_or_default();
    let state = match &unit.state {
        State::Waiting { reason, message } if message.is_empty() => json!({"waiting": {"reason": reason}}),
        State::Waiting { reason, message } => json!({"waiting": {"reason": reason, "message": message}}),
        State::Running { since } => json!({"running": {"startedAt": stamp(*since)}}),
        State::Ended(ended) => json!({"terminated": terminated(ended)}),
    };
    let last = unit.last.as_ref().map_or(json!({}), |ended| json!({"terminated": terminated(ended)}));
    let image_id = if unit.id.is_empty() { String::new() } else { format!("lateen://{image}") };
    json!({
        "name": unit.name(),
        "state": state,
        "lastState": last,
        "ready": unit.ready,
        "restartCount": unit.restarts,
        "image": image,
        "imageID": image_id,
        "containerID": unit.id,
        "started": unit.is_running() && unit.started,
    })
}

fn terminated(ended: &Ended) -> Value {
    let mut value = json!({
        "exitCode": ended.code,
        "reason": ended.reason,
        "startedAt": ended.started.map(stamp),
        "finishedAt": stamp(ended.finished),
        "containerID": ended.id,
    });
    if let Some(signal) = ended.signal {
        value["signal"] = signal.into();
    }
    if !ended.message.is_empty() {
        value["message"] = ended.message.as_str().into();
    }
    value
}

/// The quality-of-service class that follows from the containers' resources.
pub(crate) fn qos(spec: &PodSpec) -> &'static str {
    let containers = || spec.containers.iter().chain(spec.init_containers.iter().flatten());
    let amount = |container: &Container, limits: bool, name: &str| {
        let resources = container.resources.as_ref()?;
        let list = if limits { resources.limits.as_ref() } else { resources.requests.as_ref() };
        Quantity::parse(&list?.get(name)?.0).ok().filter(|quantity| !quantity.is_zero())
    };
    let names = ["cpu", "memory"];
    let any = |c: &Container| names.iter().any(|n| amount(c, true, n).or(amount(c, false, n)).is_some());
    let all = |c: &Container| {
        names.iter().all(|n| {
            let limit = amount(c, true, n);
            limit.is_some() && amount(c, false, n).is_none_or(|request| Some(request) == limit)
        })
    };
    if containers().all(all) {
        "Guaranteed"
    } else if containers().any(any) {
        "Burstable"
    } else {
        "BestEffort"
    }
}
