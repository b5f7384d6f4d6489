//! Coming back to a pod that ran before this cluster was started.

use jiff::Timestamp;
use serde_json::Value;

use super::Worker;
use crate::pod::unit::{Ended, Role, State};

impl Worker {
    /// Takes over what the old status says: counts go on, and what ran then has ended.
    pub(super) fn adopt(&mut self) {
        let old = &self.object["status"];
        if let Some(since) = old["startTime"].as_str().and_then(|time| time.parse().ok()) {
            self.facts.since = since;
        }
        let over = matches!(old["phase"].as_str(), Some("Succeeded" | "Failed"));
        self.facts.stopped = over;
        self.facts.initialized = over;
        let now = Timestamp::now();
        for unit in &mut self.units {
            let list = if unit.role == Role::App { "containerStatuses" } else { "initContainerStatuses" };
            let statuses = old[list].as_array().into_iter().flatten();
            let Some(status) = statuses.into_iter().find(|status| status["name"] == unit.name()) else {
                continue;
            };
            unit.restarts = status["restartCount"].as_u64().and_then(|n| u32::try_from(n).ok()).unwrap_or(0);
            unit.id = status["containerID"].as_str().unwrap_or_default().to_owned();
            let ended = terminated(&status["state"]["terminated"]);
            if over {
                unit.state = ended.map_or(lost(&unit.id, now), State::Ended);
            } else if status["state"]["running"].is_object() {
                unit.restarts += 1;
                unit.last = Some(match lost(&unit.id, now) {
                    State::Ended(ended) => ended,
                    _ => continue,
                });
            } else {
                unit.last = ended.or_else(|| terminated(&status["lastState"]["terminated"]));
            }
        }
    }
}

fn terminated(value: &Value) -> Option<Ended> {
    let time = |key: &str| value[key].as_str().and_then(|time| time.parse().ok());
    Some(Ended {
        code: i32::try_from(value["exitCode"].as_i64()?).ok()?,
        signal: value["signal"].as_i64().and_then(|n| i32::try_from(n).ok()),
        reason: if value["exitCode"] == 0 { "Completed" } else { "Error" },
        message: value["message"].as_str().unwrap_or_default().to_owned(),
        started: time("startedAt"),
        finished: time("finishedAt")?,
        id: value["containerID"].as_str().unwrap_or_default().to_owned(),
    })
}

/// How a container ended that nobody watched.
fn lost(id: &str, now: Timestamp) -> State {
    State::Ended(Ended {
        code: 255,
        signal: None,
        reason: "Unknown",
        message: "the cluster was stopped while the container ran".to_owned(),
        started: None,
        finished: now,
        id: id.to_owned(),
    })
}
