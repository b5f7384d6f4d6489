//! The row of a pod.

use serde_json::{Value, json};

use super::{age, list, since, string};

/// What a pod's containers come to.
struct Summary {
    ready: usize,
    total: usize,
    status: String,
    restarts: i64,
    last_restart: Option<String>,
}

fn is_sidecar(container: &Value) -> bool {
    container["restartPolicy"] == "Always"
}

fn ended(terminated: &Value) -> String {
    let reason = string(&terminated["reason"]);
    if !reason.is_empty() {
        reason
    } else if terminated["signal"].as_i64().unwrap_or(0) != 0 {
        format!("Signal:{}", terminated["signal"])
    } else {
        format!("ExitCode:{}", terminated["exitCode"].as_i64().unwrap_or(0))
    }
}

impl Summary {
    fn count_restarts(&mut self, status: &Value) {
        self.restarts += status["restartCount"].as_i64().unwrap_or(0);
        if let Some(at) = status["lastState"]["terminated"]["finishedAt"].as_str()
            && self.last_restart.as_deref().is_none_or(|last| last < at)
        {
            self.last_restart = Some(at.to_owned());
        }
    }

    fn of(pod: &Value) -> Self {
        let (spec, status) = (&pod["spec"], &pod["status"]);
        let inits = list(&spec["initContainers"]);
        let sidecars = inits.iter().filter(|c| is_sidecar(c)).count();
        let mut summary = Self {
            ready: 0,
            total: list(&spec["containers"]).len() + sidecars,
            status: string(&status["phase"]),
            restarts: 0,
            last_restart: None,
        };
        if let Some(reason) = status["reason"].as_str().filter(|r| !r.is_empty()) {
            reason.clone_into(&mut summary.status);
        }
        let gated = condition(pod, "PodScheduled").is_some_and(|c| c["reason"] == "SchedulingGated");
        if gated {
            summary.status = "SchedulingGated".into();
        }
        let initializing = summary.inits(pod, inits);
        let initialized = condition(pod, "Initialized").is_some_and(|c| c["status"] == "True");
        if !initializing || initialized {
            summary.containers(pod, inits);
        }
        if pod["metadata"]["deletionTimestamp"].is_string() {
            if status["reason"] == "NodeLost" {
                summary.status = "Unknown".into();
            } else if !matches!(status["phase"].as_str(), Some("Succeeded" | "Failed")) {
                summary.status = "Terminating".into();
            }
        }
        summary
    }

    /// Goes through the init containers up to the one that holds up the pod, if one does.
    fn inits(&mut self, pod: &Value, inits: &[Value]) -> bool {
        for (index, status) in list(&pod["status"]["initContainerStatuses"]).iter().enumerate() {
            self.count_restarts(status);
            let state = &status["state"];
            let sidecar = inits.iter().any(|c| c["name"] == status["name"] && is_sidecar(c));
            if state["terminated"].is_object() && state["terminated"]["exitCode"] == 0 {
                continue;
            }
            if sidecar && status["started"] == true {
                self.ready += usize::from(status["ready"] == true);
                continue;
            }
            let waiting = state["waiting"]["reason"].as_str().unwrap_or_default();
            self.status = if state["terminated"].is_object() {
                format!("Init:{}", ended(&state["terminated"]))
            } else if !waiting.is_empty() && waiting != "PodInitializing" {
                format!("Init:{waiting}")
            } else {
                format!("Init:{index}/{}", inits.len())
            };
            return true;
        }
        false
    }

    fn containers(&mut self, pod: &Value, inits: &[Value]) {
        self.restarts = 0;
        self.last_restart = None;
        for status in list(&pod["status"]["initContainerStatuses"]) {
            if inits.iter().any(|c| c["name"] == status["name"] && is_sidecar(c)) {
                self.count_restarts(status);
            }
        }
        let mut running = false;
        for status in list(&pod["status"]["containerStatuses"]).iter().rev() {
            self.count_restarts(status);
            let state = &status["state"];
            let waiting = state["waiting"]["reason"].as_str().unwrap_or_default();
            if !waiting.is_empty() {
                waiting.clone_into(&mut self.status);
            } else if state["terminated"].is_object() {
                self.status = ended(&state["terminated"]);
            } else if status["ready"] == true && state["running"].is_object() {
                running = true;
                self.ready += 1;
            }
        }
        if self.status == "Completed" && running {
            let ready = condition(pod, "Ready").is_some_and(|c| c["status"] == "True");
            self.status = if ready { "Running".into() } else { "NotReady".into() };
        }
    }
}

fn condition<'a>(pod: &'a Value, kind: &str) -> Option<&'a Value> {
    list(&pod["status"]["conditions"]).iter().find(|c| c["type"] == kind)
}

fn gates(pod: &Value) -> String {
    let gates = list(&pod["spec"]["readinessGates"]);
    if gates.is_empty() {
        return "<none>".into();
    }
    let ready = |gate: &&Value| {
        let kind = gate["conditionType"].as_str().unwrap_or_default();
        condition(pod, kind).is_some_and(|c| c["status"] == "True")
    };
    format!("{}/{}", gates.iter().filter(ready).count(), gates.len())
}

fn or_none(value: &Value) -> Value {
    match value.as_str() {
        Some(text) if !text.is_empty() => text.into(),
        _ => "<none>".into(),
    }
}

/// Ready, status, restarts, age; wide: address, node, nominated node, readiness gates.
pub fn cells(pod: &Value) -> Vec<Value> {
    let summary = Summary::of(pod);
    let restarts = match &summary.last_restart {
        Some(at) if summary.restarts > 0 => {
            json!(format!("{} ({} ago)", summary.restarts, since(&at.as_str().into())))
        }
        _ => json!(summary.restarts.to_string()),
    };
    vec![
        format!("{}/{}", summary.ready, summary.total).into(),
        summary.status.into(),
        restarts,
        age(pod),
        or_none(&pod["status"]["podIP"]),
        or_none(&pod["spec"]["nodeName"]),
        or_none(&pod["status"]["nominatedNodeName"]),
        gates(pod).into(),
    ]
}
