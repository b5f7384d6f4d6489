//! ResourceQuotas and LimitRanges: checked and kept, but nothing counts or limits by them.

use serde_json::{Value, json};

use super::{Errors, Rules, list};
use crate::{cel::Quantity, status::FieldError};

/// Amounts of resources may not be below nothing.
pub fn quantities(map: &Value, path: &str, errors: &mut Errors) {
    for (resource, quantity) in map.as_object().into_iter().flatten() {
        if amount(quantity).is_some_and(|amount| amount.is_negative()) {
            let field = format!("{path}[{resource}]");
            errors.push(FieldError::invalid(field, quantity, "must be greater than or equal to 0"));
        }
    }
}

/// What a container, or a pod as a whole, asks for and may use.
pub fn requirements(resources: &Value, path: &str, errors: &mut Errors) {
    for field in ["limits", "requests"] {
        quantities(&resources[field], &format!("{path}.{field}"), errors);
    }
    for (resource, request) in resources["requests"].as_object().into_iter().flatten() {
        let limit = &resources["limits"][resource];
        if amount(limit).is_some_and(|limit| amount(request).is_some_and(|request| request > limit)) {
            let text =
                format!("must be less than or equal to {resource} limit of {}", limit.as_str().unwrap_or_default());
            errors.push(FieldError::invalid(format!("{path}.requests"), request, text));
        }
    }
}

fn amount(value: &Value) -> Option<Quantity> {
    Quantity::parse(value.as_str()?)
}

/// How much a namespace may use.
pub struct ResourceQuota;

impl Rules for ResourceQuota {
    fn prepare_create(&self, object: &mut Value) {
        object["status"] = json!({});
    }

    fn validate(&self, object: &Value, errors: &mut Errors) {
        quantities(&object["spec"]["hard"], "spec.hard", errors);
    }

    fn warnings(&self, _object: &Value) -> Vec<String> {
        vec!["ResourceQuota is stored, but not enforced: namespaces of this cluster may use as much as there is".into()]
    }
}

/// How much one pod, container or claim may ask for.
pub struct LimitRange;

impl Rules for LimitRange {
    fn validate(&self, object: &Value, errors: &mut Errors) {
        for (index, limit) in list(&object["spec"]["limits"]).iter().enumerate() {
            let path = format!("spec.limits[{index}]");
            if limit["type"].as_str().is_none_or(str::is_empty) {
                errors.push(FieldError::required(format!("{path}.type"), ""));
            }
            for field in ["max", "min", "default", "defaultRequest", "maxLimitRequestRatio"] {
                quantities(&limit[field], &format!("{path}.{field}"), errors);
            }
        }
    }

    fn warnings(&self, _object: &Value) -> Vec<String> {
        vec!["LimitRange is stored, but pods of this cluster get no defaults and no limits from it".into()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_not_negative_and_requests_fit_their_limits() {
        let errors = |check: &dyn Fn(&mut Errors)| {
            let mut errors = Vec::new();
            check(&mut errors);
            errors.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        let quota = |pods: &str| {
            let quota = json!({"spec": {"hard": {"pods": pods}}});
            errors(&|errors| ResourceQuota.validate(&quota, errors))
        };
        assert_eq!(quota("3"), [""; 0]);
        assert_eq!(quota("-1"), ["spec.hard[pods]: Invalid value: \"-1\": must be greater than or equal to 0"]);
        let resources = |request: &str, limit: &str| {
            let resources = json!({"requests": {"cpu": request}, "limits": {"cpu": limit}});
            errors(&|errors| requirements(&resources, "resources", errors))
        };
        assert_eq!(resources("500m", "1"), [""; 0]);
        let expected = "resources.requests: Invalid value: \"2\": must be less than or equal to cpu limit of 1";
        assert_eq!(resources("2", "1"), [expected]);
    }
}
