//! PriorityClasses and RuntimeClasses.

use serde_json::{Value, json};

use super::{Errors, Rules, immutable, list, names, set_default};
use crate::{object, status::FieldError};

/// The highest value that is not the system's own.
const HIGHEST: i64 = 1_000_000_000;

/// How important pods are.
pub struct PriorityClass;

impl Rules for PriorityClass {
    fn default(&self, object: &mut Value) {
        set_default(object, "preemptionPolicy", "PreemptLowerPriority");
    }

    fn validate(&self, object: &Value, errors: &mut Errors) {
        let (name, value) = (object::name(object), &object["value"]);
        let of_the_system = ["system-cluster-critical", "system-node-critical"].contains(&name);
        if name.starts_with("system-") && !of_the_system {
            let text = "priority class names with 'system-' prefix are reserved for system use only";
            errors.push(FieldError::forbidden("metadata.name", text));
        }
        if value.is_null() {
            errors.push(FieldError::required("value", ""));
        } else if value.as_i64().unwrap_or(0) > HIGHEST && !of_the_system {
            let text = format!("maximum allowed value of a user defined priority is {HIGHEST}");
            errors.push(FieldError::forbidden("value", &text));
        }
        let allowed = ["Never", "PreemptLowerPriority"];
        if !allowed.iter().any(|policy| object["preemptionPolicy"] == *policy) {
            errors.push(FieldError::not_supported("preemptionPolicy", &object["preemptionPolicy"], &allowed));
        }
    }

    fn validate_update(&self, new: &Value, old: &Value, errors: &mut Errors) {
        for field in ["value", "preemptionPolicy"].into_iter().filter(|field| new[*field] != old[*field]) {
            errors.push(FieldError::forbidden(field, "may not be changed in an update."));
        }
    }
}

/// What runs containers: here it is always the same.
pub struct RuntimeClass;

impl Rules for RuntimeClass {
    fn validate(&self, object: &Value, errors: &mut Errors) {
        let handler = object["handler"].as_str().unwrap_or_default();
        if handler.is_empty() {
            errors.push(FieldError::required("handler", ""));
        } else if let Some(text) = names::dns1123_label(handler) {
            errors.push(FieldError::invalid("handler", &json!(handler), text));
        }
        for (index, toleration) in list(&object["scheduling"]["tolerations"]).iter().enumerate() {
            if toleration["operator"] == "Exists" && toleration["value"].as_str().is_some_and(|v| !v.is_empty()) {
                let field = format!("scheduling.tolerations[{index}].operator");
                let text = "value must be empty when `operator` is 'Exists'";
                errors.push(FieldError::invalid(field, toleration, text));
            }
        }
    }

    fn validate_update(&self, new: &Value, old: &Value, errors: &mut Errors) {
        immutable("handler", &new["handler"], &old["handler"], errors);
    }

    fn warnings(&self, _object: &Value) -> Vec<String> {
        vec!["RuntimeClass is stored, but containers of this cluster run the same way whatever their class".into()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn priorities_are_bounded_and_fixed() {
        let class = |name: &str, value: i64| json!({"metadata": {"name": name}, "value": value});
        let wrong = |mut object: Value| {
            PriorityClass.default(&mut object);
            let mut errors = Vec::new();
            PriorityClass.validate(&object, &mut errors);
            errors.iter().map(|error| error.field.clone()).collect::<Vec<_>>()
        };
        assert_eq!(wrong(class("a", 5)), [""; 0]);
        assert_eq!(wrong(class("a", HIGHEST + 1)), ["value"]);
        assert_eq!(wrong(class("system-node-critical", 2 * HIGHEST)), [""; 0]);
        assert_eq!(wrong(class("system-a", 5)), ["metadata.name"]);
        assert_eq!(wrong(json!({"metadata": {"name": "a"}})), ["value"]);
        let mut errors = Vec::new();
        PriorityClass.validate_update(&class("a", 6), &class("a", 5), &mut errors);
        assert_eq!(errors.len(), 1);
    }
}
