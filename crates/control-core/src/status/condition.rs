//! Reports as the status of Istio's objects: a condition, and Istio's analysis messages.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use serde_json::{Value, json};

use super::Report;

/// Type of the condition that says what becomes of an object.
pub const CONDITION: &str = "InEffect";
/// Where Istio explains its messages.
const MESSAGES: &str = "https://istio.io/latest/docs/reference/config/analysis/";
/// Faults that one message tells; of more only the number.
const TOLD: usize = 5;
/// Characters of one fault that are told.
const LENGTH: usize = 400;

impl Report {
    /// The status of an object that has `current`, at the RFC 3339 time `now`: other conditions and fields stay.
    pub fn status(&self, current: &Value, now: &str) -> Value {
        let mut status = if current.is_object() { current.clone() } else { json!({}) };
        let condition = json!({
            "type": CONDITION,
            "status": if self.faults.is_empty() { "True" } else { "False" },
            "reason": self.faults.first().map_or(CONDITION, |fault| fault.reason.word),
            "message": self.message(),
            "observedGeneration": self.generation,
        });
        set_condition(&mut status["conditions"], condition, now);
        status["observedGeneration"] = json!(self.generation);
        let messages: BTreeSet<_> = self.faults.iter().filter_map(|fault| fault.reason.message).collect();
        if !messages.is_empty() {
            status["validationMessages"] = messages.into_iter().map(message).collect();
        } else if let Some(status) = status.as_object_mut() {
            status.remove("validationMessages");
        }
        status
    }

    /// One plain line.
    pub fn message(&self) -> String {
        let mut text = match self.proxies {
            0 => "not in effect".to_owned(),
            1 => "in effect on 1 proxy".to_owned(),
            many => format!("in effect on {many} proxies"),
        };
        if !self.faults.is_empty() {
            text.push_str(if self.proxies == 0 { ": " } else { ", except: " });
        }
        for (index, fault) in self.faults.iter().take(TOLD).enumerate() {
            if index > 0 {
                text.push_str("; ");
            }
            text.extend(fault.text.chars().take(LENGTH));
        }
        if self.faults.len() > TOLD {
            let _ = write!(text, "; and {} more", self.faults.len() - TOLD);
        }
        text
    }
}

fn message((code, name, level): (&str, &str, &str)) -> Value {
    json!({
        "type": { "name": name, "code": code },
        "level": level,
        "documentationUrl": format!("{MESSAGES}{}/", code.to_ascii_lowercase()),
    })
}

/// The status of objects of a kind that Lateen does not know.
pub fn unsupported(kind: &str, generation: i64, current: &Value, now: &str) -> Value {
    let mut status = if current.is_object() { current.clone() } else { json!({}) };
    let condition = json!({
        "type": CONDITION,
        "status": "False",
        "reason": "Unsupported",
        "message": format!("not in effect: Lateen does not support {kind}"),
        "observedGeneration": generation,
    });
    set_condition(&mut status["conditions"], condition, now);
    status["observedGeneration"] = json!(generation);
    status
}

/// Puts a condition into a list in place of the one of its type. The time of its last transition is `now` if its status
/// differs from before, else it stays.
pub fn set_condition(list: &mut Value, mut condition: Value, now: &str) {
    if !list.is_array() {
        *list = json!([]);
    }
    let Some(all) = list.as_array_mut() else { return };
    let place = all.iter().position(|other| other["type"] == condition["type"]);
    let before = place.map(|place| &all[place]).filter(|before| before["status"] == condition["status"]);
    let since = before.and_then(|before| before["lastTransitionTime"].as_str()).unwrap_or(now);
    condition["lastTransitionTime"] = json!(since);
    match place {
        Some(place) => all[place] = condition,
        None => all.push(condition),
    }
}
