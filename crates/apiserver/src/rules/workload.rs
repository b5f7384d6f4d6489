//! What the kinds that carry a pod template have in common.

use serde_json::Value;

use super::{Errors, metadata, pod};
use crate::{selector::LabelSelector, status::FieldError};

/// Defaults of a pod template.
pub fn default_template(template: &mut Value) {
    if let Some(spec) = template.get_mut("spec").filter(|s| s.is_object()) {
        pod::default_spec(spec);
    }
}

/// The specification, its pod template already defaulted.
pub fn spec_of(object: &mut Value) -> Option<&mut Value> {
    let spec = object.get_mut("spec").filter(|s| s.is_object())?;
    if let Some(template) = spec.get_mut("template") {
        default_template(template);
    }
    Some(spec)
}

/// What is wrong with the selector and the template of a set of pods that always run. `kind` is its kind in small
/// letters; `claims` are volumes that come from elsewhere.
pub fn validate_selected(object: &Value, kind: &str, claims: &[&str], errors: &mut Errors) {
    let spec = &object["spec"];
    let (selector, template) = (&spec["selector"], &spec["template"]);
    if selector.is_null() {
        errors.push(FieldError::required("spec.selector", ""));
    } else {
        metadata::selector(selector, "spec.selector", errors);
        if metadata::is_empty_selector(selector) {
            let text = format!("empty selector is invalid for {kind}");
            errors.push(FieldError::invalid("spec.selector", selector, text));
        }
        let labels = &template["metadata"]["labels"];
        if LabelSelector::from_json(selector).is_ok_and(|parsed| !parsed.matches(labels.as_object())) {
            let text = "`selector` does not match template `labels`";
            errors.push(FieldError::invalid("spec.template.metadata.labels", labels, text));
        }
    }
    for field in ["replicas", "minReadySeconds", "revisionHistoryLimit"] {
        not_negative(&spec[field], &format!("spec.{field}"), errors);
    }
    validate_template(template, "spec.template", claims, errors);
    let policy = &template["spec"]["restartPolicy"];
    if policy.as_str().is_some_and(|p| p != "Always") {
        errors.push(FieldError::not_supported("spec.template.spec.restartPolicy", policy, &["Always"]));
    }
    if !template["spec"]["activeDeadlineSeconds"].is_null() {
        let text = format!("activeDeadlineSeconds in {kind} is not Supported");
        errors.push(FieldError::forbidden("spec.template.spec.activeDeadlineSeconds", &text));
    }
}

/// What is wrong with a pod template at `path`.
pub fn validate_template(template: &Value, path: &str, claims: &[&str], errors: &mut Errors) {
    metadata::labels(&template["metadata"]["labels"], &format!("{path}.metadata.labels"), errors);
    pod::validate_spec_with(&template["spec"], &format!("{path}.spec"), claims, errors);
}

/// A number that is there must not be below 0.
pub fn not_negative(value: &Value, field: &str, errors: &mut Errors) {
    if value.as_i64().is_some_and(|n| n < 0) {
        errors.push(FieldError::invalid(field, value, "must be greater than or equal to 0"));
    }
}

/// What is wrong with a number of pods, or a percentage of them.
pub fn int_or_percent(value: &Value, field: &str, errors: &mut Errors) {
    let Some(text) = value.as_str() else { return not_negative(value, field, errors) };
    let number = text.strip_suffix('%').filter(|n| !n.is_empty() && n.bytes().all(|c| c.is_ascii_digit()));
    match number.map(|n| n.parse::<u32>().unwrap_or(u32::MAX)) {
        None => {
            let text = "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or \
                        '93%', regex used for validation is '[0-9]+%')";
            errors.push(FieldError::invalid(field, value, text));
        }
        Some(number) if number > 100 && field.ends_with("maxUnavailable") => {
            errors.push(FieldError::invalid(field, value, "must not be greater than 100%"));
        }
        Some(_) => {}
    }
}

/// Whether a number of pods, or a percentage of them, is there and is none.
pub fn is_zero(value: &Value) -> bool {
    *value == 0 || value.as_str().and_then(|t| t.strip_suffix('%')).is_some_and(|n| n.trim_matches('0').is_empty())
}
