//! Structural schemas of custom resources: what they refuse, in Kubernetes' words.

use std::collections::HashSet;

use serde_json::{Map, Value};

use super::{formats, pattern, rules::Rules};
use crate::{cel::Step, rules::metadata, status::FieldError};

const MAX_ERRORS: usize = 32;
const UNCHECKED: &str = "some validation rules were not checked because the object was invalid; correct the existing \
                         errors to complete validation";

/// Everything that the schema and its rules refuse; `metadata`, `kind` and `apiVersion` are not their business. What
/// an object has been before is not held against it.
pub fn validate(schema: &Value, rules: &Rules, object: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    check(schema, object, old, "", &mut errors);
    errors.truncate(MAX_ERRORS);
    if rules.is_empty() {
        return errors;
    }
    let blocking = [
        "FieldValueNotSupported",
        "FieldValueRequired",
        "FieldValueTooLong",
        "FieldValueTooMany",
        "FieldValueTypeInvalid",
    ];
    if errors.iter().any(|e| blocking.contains(&e.reason)) {
        errors.push(FieldError::invalid("<nil>", &Value::Null, UNCHECKED));
    } else {
        errors.extend(rules.check(schema, object, old));
    }
    errors
}

/// What a part of an object was before: parts of maps, and of lists by their keys.
pub fn correlated<'a>(schema: &Value, old: &'a Value, step: Step<'_>, new: &Value) -> Option<&'a Value> {
    match step {
        Step::Field(name) | Step::Value(name) => old.get(name),
        Step::Item(_) if schema["x-kubernetes-list-type"] == "map" => {
            let keys = schema["x-kubernetes-list-map-keys"].as_array()?;
            let same = |item: &&Value| keys.iter().filter_map(Value::as_str).all(|key| item.get(key) == new.get(key));
            old.as_array()?.iter().find(same)
        }
        Step::Item(_) => None,
    }
}

fn check(schema: &Value, value: &Value, old: Option<&Value>, path: &str, errors: &mut Vec<FieldError>) {
    let settled = old.is_some_and(|old| old == value) || (value.is_null() && schema["nullable"] == true);
    if errors.len() > MAX_ERRORS || settled {
        return;
    }
    if !check_type(schema, value, path, errors) {
        return;
    }
    check_enum(schema, value, path, errors);
    match value {
        Value::String(text) => check_string(schema, text, path, errors),
        Value::Number(_) => check_number(schema, value, path, errors),
        Value::Array(items) => check_array(schema, items, old, path, errors),
        Value::Object(map) => check_object(schema, map, old, path, errors),
        _ => {}
    }
    check_combined(schema, value, path, errors);
    if schema["x-kubernetes-embedded-resource"] == true {
        check_embedded(value, path, errors);
    }
}

fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(n) if n.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn check_type(schema: &Value, value: &Value, path: &str, errors: &mut Vec<FieldError>) -> bool {
    let found = type_of(value);
    if schema["x-kubernetes-int-or-string"] == true {
        if matches!(found, "integer" | "string") {
            return true;
        }
        let text = format!("{path} in body must be of type integer,string: {found:?}");
        errors.push(FieldError::type_invalid(path, &found.into(), text));
        return false;
    }
    let Some(wanted) = schema["type"].as_str() else {
        return true;
    };
    let fits = found == wanted
        || (wanted == "number" && found == "integer")
        || (wanted == "integer" && value.as_f64().is_some_and(|n| n.fract() == 0.0));
    if !fits {
        let text = format!("{path} in body must be of type {wanted}: {found:?}");
        errors.push(FieldError::type_invalid(path, &found.into(), text));
    }
    fits
}

fn check_enum(schema: &Value, value: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let Some(allowed) = schema["enum"].as_array() else {
        return;
    };
    if !allowed.contains(value) {
        let list = allowed.iter().map(Value::to_string).collect::<Vec<_>>().join(", ");
        let message = format!("Unsupported value: {value}: supported values: {list}");
        errors.push(FieldError { reason: "FieldValueNotSupported", field: path.into(), message });
    }
}

fn check_string(schema: &Value, text: &str, path: &str, errors: &mut Vec<FieldError>) {
    let length = text.chars().count() as u64;
    let value = Value::from(text);
    if let Some(min) = schema["minLength"].as_u64().filter(|min| length < *min) {
        let text = format!("{path} in body should be at least {min} chars long");
        errors.push(FieldError::invalid(path, &value, text));
    }
    if let Some(max) = schema["maxLength"].as_u64().filter(|max| length > *max) {
        errors.push(FieldError {
            reason: "FieldValueTooLong",
            field: path.into(),
            message: format!("Too long: may not be more than {max} bytes"),
        });
    }
    let matches = |pattern: &&str| pattern::compiled(pattern).is_none_or(|regex| regex.is_match(text));
    if let Some(pattern) = schema["pattern"].as_str().filter(|p| !matches(p)) {
        let text = format!("{path} in body should match '{pattern}'");
        errors.push(FieldError::invalid(path, &value, text));
    }
    if let Some(format) = schema["format"].as_str().filter(|format| !formats::fits(format, text)) {
        let text = format!("{path} in body must be of type {format}: {text:?}");
        errors.push(FieldError::invalid(path, &value, text));
    }
}

fn check_number(schema: &Value, value: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let Some(number) = value.as_f64() else { return };
    if let Some(factor) = schema["multipleOf"].as_f64().filter(|f| *f > 0.0 && (number / f).fract() != 0.0) {
        let text = format!("{path} in body should be a multiple of {factor}");
        errors.push(FieldError::invalid(path, value, text));
    }
    let width = match schema["format"].as_str() {
        Some("int32") if value.as_i64().is_none_or(|n| i32::try_from(n).is_err()) => "int32",
        Some("int64") if value.as_i64().is_none() && number.fract() == 0.0 && number.abs() > 9.2e18 => "int64",
        _ => "",
    };
    if !width.is_empty() {
        let text = format!("{path} in body must be of type {width}: \"{value}\"");
        errors.push(FieldError::type_invalid(path, value, text));
    }
    if let Some(min) = schema["minimum"].as_f64() {
        let exclusive = schema["exclusiveMinimum"] == true;
        if number < min || (exclusive && number == min) {
            let word = if exclusive { "greater than" } else { "greater than or equal to" };
            let text = format!("{path} in body should be {word} {}", schema["minimum"]);
            errors.push(FieldError::invalid(path, value, text));
        }
    }
    if let Some(max) = schema["maximum"].as_f64() {
        let exclusive = schema["exclusiveMaximum"] == true;
        if number > max || (exclusive && number == max) {
            let word = if exclusive { "less than" } else { "less than or equal to" };
            let text = format!("{path} in body should be {word} {}", schema["maximum"]);
            errors.push(FieldError::invalid(path, value, text));
        }
    }
}

fn check_array(schema: &Value, items: &[Value], old: Option<&Value>, path: &str, errors: &mut Vec<FieldError>) {
    let count = items.len() as u64;
    if let Some(min) = schema["minItems"].as_u64().filter(|min| count < *min) {
        let text = format!("{path} in body should have at least {min} items");
        errors.push(FieldError::invalid(path, &count.into(), text));
    }
    if let Some(max) = schema["maxItems"].as_u64().filter(|max| count > *max) {
        errors.push(FieldError {
            reason: "FieldValueTooMany",
            field: path.into(),
            message: format!("Too many: {count}: must have at most {max} items"),
        });
    }
    check_list_type(schema, items, path, errors);
    for (index, item) in items.iter().enumerate() {
        let old = old.and_then(|old| correlated(schema, old, Step::Item(index), item));
        check(&schema["items"], item, old, &format!("{path}[{index}]"), errors);
    }
}

fn check_list_type(schema: &Value, items: &[Value], path: &str, errors: &mut Vec<FieldError>) {
    let key = |item: &Value| match schema["x-kubernetes-list-type"].as_str() {
        Some("set") => Some(item.clone()),
        Some("map") => {
            let keys = schema["x-kubernetes-list-map-keys"].as_array()?;
            Some(Value::Object(
                keys.iter()
                    .filter_map(Value::as_str)
                    .filter_map(|k| Some((k.to_owned(), item.get(k)?.clone())))
                    .collect(),
            ))
        }
        _ => None,
    };
    let mut seen = HashSet::new();
    for (index, item) in items.iter().enumerate() {
        let Some(key) = key(item) else { return };
        if !seen.insert(canonical(&key)) {
            errors.push(FieldError::duplicate(format!("{path}[{index}]"), &key));
        }
    }
}

/// A text that is the same for equal values.
fn canonical(value: &Value) -> String {
    let mut value = value.clone();
    value.sort_all_objects();
    value.to_string()
}

/// The path of a member.
pub fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

fn check_object(
    schema: &Value,
    map: &Map<String, Value>,
    old: Option<&Value>,
    path: &str,
    errors: &mut Vec<FieldError>,
) {
    for key in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        if !map.contains_key(key) {
            errors.push(FieldError::required(join(path, key), ""));
        }
    }
    let properties = schema["properties"].as_object();
    let values = &schema["additionalProperties"];
    for (key, value) in map {
        if path.is_empty() && matches!(key.as_str(), "metadata" | "kind" | "apiVersion") {
            continue;
        }
        let known = properties.and_then(|p| p.get(key)).or_else(|| values.is_object().then_some(values));
        if let Some(schema) = known {
            check(schema, value, old.and_then(|old| old.get(key)), &join(path, key), errors);
        }
    }
    let count = map.len() as u64;
    if let Some(min) = schema["minProperties"].as_u64().filter(|min| count < *min) {
        let text = format!("{path} in body should have at least {min} properties");
        errors.push(FieldError::invalid(path, &count.into(), text));
    }
    if let Some(max) = schema["maxProperties"].as_u64().filter(|max| count > *max) {
        errors.push(FieldError {
            reason: "FieldValueTooMany",
            field: path.into(),
            message: format!("Too many: {count}: must have at most {max} items"),
        });
    }
}

fn wrong(schema: &Value, value: &Value, path: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    check(schema, value, None, path, &mut errors);
    errors
}

/// The best of several failures: the one with the fewest errors.
fn best(failures: Vec<Vec<FieldError>>) -> Vec<FieldError> {
    failures.into_iter().min_by_key(Vec::len).unwrap_or_default()
}

fn check_combined(schema: &Value, value: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let refuse = |text: String| FieldError::invalid("<nil>", &"".into(), format!("{path:?} {text}"));
    let tried = |key: &str| {
        let all = schema[key].as_array()?;
        let failures: Vec<_> = all.iter().map(|s| wrong(s, value, path)).filter(|e| !e.is_empty()).collect();
        Some((all.len(), failures))
    };
    if let Some((count, failures)) = tried("anyOf")
        && failures.len() == count
    {
        errors.push(refuse("must validate at least one schema (anyOf)".into()));
        errors.extend(best(failures));
    }
    if let Some((count, failures)) = tried("oneOf") {
        match count - failures.len() {
            1 => {}
            0 => {
                errors.push(refuse("must validate one and only one schema (oneOf). Found none valid".into()));
                errors.extend(best(failures));
            }
            valid => errors.push(refuse(format!(
                "must validate one and only one schema (oneOf). Found {valid} valid alternatives"
            ))),
        }
    }
    if let Some((count, failures)) = tried("allOf")
        && !failures.is_empty()
    {
        let none = if failures.len() == count { ". None validated" } else { "" };
        errors.push(refuse(format!("must validate all the schemas (allOf){none}")));
        errors.extend(failures.into_iter().flatten());
    }
    if schema["not"].is_object() && wrong(&schema["not"], value, path).is_empty() {
        errors.push(refuse("must not validate the schema (not)".into()));
    }
}

/// An object inside of an object says what it is, and has metadata like any other.
fn check_embedded(value: &Value, path: &str, errors: &mut Vec<FieldError>) {
    for field in ["apiVersion", "kind"] {
        match &value[field] {
            Value::Null => errors.push(FieldError::required(join(path, field), "must not be empty")),
            Value::String(text) if !text.is_empty() => {}
            other => errors.push(FieldError::invalid(join(path, field), other, "must not be empty")),
        }
    }
    let before = errors.len();
    metadata::validate_embedded(&value["metadata"], errors);
    for error in &mut errors[before..] {
        error.field = join(path, &error.field);
    }
}
