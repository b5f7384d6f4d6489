//! `matchConditions`: expressions that must all be true for a webhook to be asked.

use serde_json::Value;

use super::{Hook, review::Review};
use crate::{
    cel::{Budget, CALL_BUDGET, OBJECT_BUDGET, Program},
    engine::Call,
    status::Status,
};

/// What expressions may use.
pub const VARIABLES: [&str; 3] = ["object", "oldObject", "request"];

/// Whether all conditions of a webhook are true of a question. One that is false decides, whatever
/// others come to; an error refuses the request unless the webhook's failures are ignored.
pub fn hold(hook: &Hook, call: &Call, review: &Review) -> Result<bool, Status> {
    let conditions = hook.settings()["matchConditions"].as_array().map_or(&[][..], Vec::as_slice);
    if conditions.is_empty() {
        return Ok(true);
    }
    let values = review.variables();
    let variables: Vec<_> = VARIABLES.into_iter().zip(values).collect();
    let all = Budget::new(OBJECT_BUDGET);
    let mut errors = Vec::new();
    for condition in conditions {
        let expression = text(&condition["expression"]);
        let one = Budget::new(CALL_BUDGET.min(all.left()));
        let before = one.left();
        let outcome = Program::compile(expression, &VARIABLES)
            .and_then(|program| program.test(&variables, &one).map_err(|fault| fault.to_string()));
        let spent = usize::try_from(before - one.left()).unwrap_or(usize::MAX);
        match (outcome, all.spend(spent)) {
            (Ok(false), _) => return Ok(false),
            (Ok(true), Ok(())) => {}
            (Err(error), _) => errors.push(format!("expression '{expression}' resulted in error: {error}")),
            (Ok(true), Err(fault)) => errors.push(format!("expression '{expression}' resulted in error: {fault}")),
        }
    }
    if errors.is_empty() {
        return Ok(true);
    }
    if hook.ignores_failure() {
        tracing::warn!(webhook = hook.name, errors = errors.join(", "), "match conditions failed; webhook not asked");
        return Ok(false);
    }
    Err(call.forbidden(errors.join(", ")))
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
