//! Structural schemas of custom resources: defaults and validation, in Kubernetes' words.

use std::{cell::RefCell, collections::HashMap};

use regex::Regex;
use serde_json::{Map, Value};

use crate::status::FieldError;

const MAX_ERRORS: usize = 32;

/// Fills in defaults wherever the parent object is there.
pub fn default(schema: &Value, value: &mut Value) {
    match value {
        Value::Object(map) => {
            if let Some(properties) = schema["properties"].as_object() {
                default_properties(properties, map);
            }
            let values = &schema["additionalProperties"];
            if values.is_object() {
                map.values_mut().for_each(|v| default(values, v));
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|i| default(&schema["items"], i)),
        _ => {}
    }
}

fn default_properties(properties: &Map<String, Value>, map: &mut Map<String, Value>) {
    for (key, schema) in properties {
        let fallback = schema.get("default");
        let absent = match map.get(key) {
            None => true,
            Some(value) => value.is_null() && schema["nullable"] != true,
        };
        if absent && let Some(fallback) = fallback {
            map.insert(key.clone(), fallback.clone());
        }
        if let Some(value) = map.get_mut(key) {
            default(schema, value);
        }
    }
}

/// Everything that the schema refuses; `metadata`, `kind` and `apiVersion` are not its business.
pub fn validate(schema: &Value, object: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    check(schema, object, "", &mut errors);
    errors.truncate(MAX_ERRORS);
    errors
}

fn check(schema: &Value, value: &Value, path: &str, errors: &mut Vec<FieldError>) {
    if errors.len() > MAX_ERRORS || (value.is_null() && schema["nullable"] == true) {
        return;
    }
    if !check_type(schema, value, path, errors) {
        return;
    }
    check_enum(schema, value, path, errors);
    match value {
        Value::String(text) => check_string(schema, text, path, errors),
        Value::Number(_) => check_number(schema, value, path, errors),
        Value::Array(items) => check_array(schema, items, path, errors),
        Value::Object(map) => check_object(schema, map, path, errors),
        _ => {}
    }
    check_combined(schema, value, path, errors);
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
        let allowed: Vec<&str> = allowed.iter().filter_map(Value::as_str).collect();
        errors.push(FieldError::not_supported(path, value, &allowed));
    }
}

thread_local! {
    static PATTERNS: RefCell<HashMap<String, Option<Regex>>> = RefCell::new(HashMap::new());
}

fn matches(pattern: &str, text: &str) -> bool {
    const MAX_PATTERNS: usize = 512;
    PATTERNS.with_borrow_mut(|patterns| {
        if patterns.len() > MAX_PATTERNS {
            patterns.clear();
        }
        patterns
            .entry(pattern.to_owned())
            .or_insert_with(|| Regex::new(pattern).ok())
            .as_ref()
            .is_none_or(|regex| regex.is_match(text))
    })
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
    if let Some(pattern) = schema["pattern"].as_str().filter(|p| !matches(p, text)) {
        let text = format!("{path} in body should match '{pattern}'");
        errors.push(FieldError::invalid(path, &value, text));
    }
    if schema["format"] == "date-time" && text.parse::<jiff::Timestamp>().is_err() {
        let text = format!("{path} in body must be of type date-time: {text:?}");
        errors.push(FieldError::type_invalid(path, &value, text));
    }
}

fn check_number(schema: &Value, value: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let Some(number) = value.as_f64() else { return };
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

fn check_array(schema: &Value, items: &[Value], path: &str, errors: &mut Vec<FieldError>) {
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
        check(&schema["items"], item, &format!("{path}[{index}]"), errors);
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
    let mut seen = Vec::new();
    for (index, item) in items.iter().enumerate() {
        let Some(key) = key(item) else { return };
        if seen.contains(&key) {
            errors.push(FieldError::duplicate(format!("{path}[{index}]"), &key));
        }
        seen.push(key);
    }
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

fn check_object(schema: &Value, map: &Map<String, Value>, path: &str, errors: &mut Vec<FieldError>) {
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
        if let Some(schema) = properties.and_then(|p| p.get(key)) {
            check(schema, value, &join(path, key), errors);
        } else if values.is_object() {
            check(values, value, &join(path, key), errors);
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

fn fits(schema: &Value, value: &Value, path: &str) -> bool {
    let mut errors = Vec::new();
    check(schema, value, path, &mut errors);
    errors.is_empty()
}

fn check_combined(schema: &Value, value: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let name = if path.is_empty() { "<nil>" } else { path };
    let mut refuse = |text: String| errors.push(FieldError::invalid(name, value, text));
    if let Some(any) = schema["anyOf"].as_array()
        && !any.iter().any(|s| fits(s, value, path))
    {
        refuse(format!("{:?} must validate at least one schema (anyOf)", path));
    }
    if let Some(one) = schema["oneOf"].as_array() {
        let count = one.iter().filter(|s| fits(s, value, path)).count();
        if count != 1 {
            let found =
                if count == 0 { "Found none valid".to_owned() } else { format!("Found {count} valid alternatives") };
            refuse(format!("{path:?} must validate one and only one schema (oneOf). {found}"));
        }
    }
    if schema["not"].is_object() && fits(&schema["not"], value, path) {
        refuse(format!("{path:?} must not validate the schema (not)"));
    }
    for part in schema["allOf"].as_array().into_iter().flatten() {
        check(part, value, path, errors);
    }
}
