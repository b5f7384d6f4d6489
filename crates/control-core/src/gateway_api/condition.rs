//! Conditions of a status.

use serde_json::{Value, json};

use super::Problem;

/// A condition as it is when nothing is wrong, and what may be.
pub(super) struct Condition {
    kind: &'static str,
    reason: &'static str,
    message: String,
    problem: Option<Problem>,
    /// Is it one that is true when something is wrong.
    negative: bool,
}

impl Condition {
    /// One that is true unless there is a problem.
    pub(super) fn new(kind: &'static str, reason: &'static str, message: impl Into<String>) -> Self {
        Self { kind, reason, message: message.into(), problem: None, negative: false }
    }

    /// One that is false unless there is a problem.
    pub(super) fn negative(kind: &'static str, reason: &'static str, message: impl Into<String>) -> Self {
        Self { negative: true, ..Self::new(kind, reason, message) }
    }

    /// With a problem, if there is one.
    pub(super) fn but(self, problem: Option<Problem>) -> Self {
        Self { problem, ..self }
    }

    fn shown(self, generation: i64) -> Value {
        let wrong = self.problem.is_some();
        let (reason, message) = match self.problem {
            Some(problem) => (problem.reason, problem.message),
            None => (self.reason, self.message),
        };
        let status = if wrong == self.negative { "True" } else { "False" };
        let mut shown = json!({"type": self.kind, "status": status, "reason": reason, "message": message});
        if generation != 0 {
            shown["observedGeneration"] = json!(generation);
        }
        shown
    }
}

/// Conditions as they are shown, by type.
pub(super) fn conditions(all: impl IntoIterator<Item = Condition>, generation: i64) -> Value {
    let mut all: Vec<Condition> = all.into_iter().collect();
    all.sort_by_key(|condition| condition.kind);
    Value::Array(all.into_iter().map(|condition| condition.shown(generation)).collect())
}
