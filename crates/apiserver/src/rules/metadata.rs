//! Validation of `metadata` and of label selectors, the same for all kinds.

use serde_json::Value;

use super::{Errors, Rules, immutable, list, names};
use crate::{object, status::FieldError};

const MAX_ANNOTATION_BYTES: usize = 256 << 10;

/// What is wrong with an object's metadata.
pub fn validate(value: &Value, rules: &dyn Rules, errors: &mut Errors) {
    let name = object::name(value);
    if name.is_empty() {
        errors.push(FieldError::required("metadata.name", "name or generateName is required"));
    } else if let Some(text) = rules.name_error(name) {
        errors.push(FieldError::invalid("metadata.name", &name.into(), text));
    }
    labels(&value["metadata"]["labels"], "metadata.labels", errors);
    annotations(&value["metadata"]["annotations"], errors);
    owners(&value["metadata"]["ownerReferences"], errors);
    for (index, finalizer) in list(&value["metadata"]["finalizers"]).iter().enumerate() {
        let text = finalizer.as_str().unwrap_or_default();
        if let Some(error) = names::qualified_name(text) {
            errors.push(FieldError::invalid(format!("metadata.finalizers[{index}]"), finalizer, error));
        }
    }
}

/// What is wrong with the metadata of an object inside of another; paths begin with `metadata`.
pub fn validate_embedded(metadata: &Value, errors: &mut Errors) {
    let text = |key: &str| metadata[key].as_str().filter(|t| !t.is_empty());
    if let Some((name, text)) = text("name").and_then(|n| Some((n, names::dns1123_subdomain(n)?))) {
        errors.push(FieldError::invalid("metadata.name", &name.into(), text));
    }
    if let Some((name, text)) = text("namespace").and_then(|n| Some((n, names::dns1123_label(n)?))) {
        errors.push(FieldError::invalid("metadata.namespace", &name.into(), text));
    }
    labels(&metadata["labels"], "metadata.labels", errors);
    annotations(&metadata["annotations"], errors);
    owners(&metadata["ownerReferences"], errors);
}

/// What is wrong with a map of labels at `path`.
pub fn labels(value: &Value, path: &str, errors: &mut Errors) {
    for (key, value) in value.as_object().into_iter().flatten() {
        if let Some(text) = names::qualified_name(key) {
            errors.push(FieldError::invalid(path, &key.as_str().into(), text));
        }
        if let Some(text) = value.as_str().and_then(names::label_value) {
            errors.push(FieldError::invalid(path, value, text));
        }
    }
}

fn annotations(value: &Value, errors: &mut Errors) {
    let mut bytes = 0;
    for (key, value) in value.as_object().into_iter().flatten() {
        if let Some(text) = names::qualified_name(&key.to_lowercase()) {
            errors.push(FieldError::invalid("metadata.annotations", &key.as_str().into(), text));
        }
        bytes += key.len() + value.as_str().map_or(0, str::len);
    }
    if bytes > MAX_ANNOTATION_BYTES {
        errors.push(FieldError {
            reason: "FieldValueTooLong",
            field: "metadata.annotations".into(),
            message: format!("Too long: may not be more than {MAX_ANNOTATION_BYTES} bytes"),
        });
    }
}

fn owners(value: &Value, errors: &mut Errors) {
    for (index, owner) in list(value).iter().enumerate() {
        for field in ["apiVersion", "kind", "name", "uid"] {
            if owner[field].as_str().is_none_or(str::is_empty) {
                let path = format!("metadata.ownerReferences[{index}].{field}");
                errors.push(FieldError::invalid(path, &"".into(), "must not be empty"));
            }
        }
    }
    let controllers = list(value).iter().filter(|o| o["controller"] == true).count();
    if controllers > 1 {
        errors.push(FieldError::invalid(
            "metadata.ownerReferences",
            value,
            "Only one reference can have Controller set to true",
        ));
    }
}

/// What is wrong with a change of metadata.
pub fn validate_update(new: &Value, old: &Value, errors: &mut Errors) {
    if object::is_deleting(old) {
        let before = list(&old["metadata"]["finalizers"]);
        let added: Vec<String> = list(&new["metadata"]["finalizers"])
            .iter()
            .filter(|finalizer| !before.contains(finalizer))
            .map(Value::to_string)
            .collect();
        if !added.is_empty() {
            let text = format!(
                "no new finalizers can be added if the object is being deleted, found new finalizers []string{{{}}}",
                added.join(", ")
            );
            errors.push(FieldError::forbidden("metadata.finalizers", &text));
        }
    }
    for field in ["name", "namespace", "uid", "creationTimestamp"] {
        immutable(&format!("metadata.{field}"), &new["metadata"][field], &old["metadata"][field], errors);
    }
}

/// What is wrong with a LabelSelector at `path`.
pub fn selector(value: &Value, path: &str, errors: &mut Errors) {
    labels(&value["matchLabels"], &format!("{path}.matchLabels"), errors);
    for (index, expression) in list(&value["matchExpressions"]).iter().enumerate() {
        let path = format!("{path}.matchExpressions[{index}]");
        let count = list(&expression["values"]).len();
        match expression["operator"].as_str().unwrap_or_default() {
            "In" | "NotIn" if count == 0 => errors.push(FieldError::required(
                format!("{path}.values"),
                "must be specified when `operator` is 'In' or 'NotIn'",
            )),
            "Exists" | "DoesNotExist" if count > 0 => errors.push(FieldError::forbidden(
                format!("{path}.values"),
                "may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
            )),
            "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
            _ => errors.push(FieldError::invalid(
                format!("{path}.operator"),
                &expression["operator"],
                "not a valid selector operator",
            )),
        }
    }
}

/// True for a selector that selects nothing in particular.
pub fn is_empty_selector(value: &Value) -> bool {
    value["matchLabels"].as_object().is_none_or(serde_json::Map::is_empty)
        && list(&value["matchExpressions"]).is_empty()
}
