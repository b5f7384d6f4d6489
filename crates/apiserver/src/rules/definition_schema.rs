//! What is wrong with the schema of a CustomResourceDefinition: it must be structural.

use serde_json::Value;

use super::{Errors, list};
use crate::{
    schema::{Rules, Schema, pattern},
    status::FieldError,
};

const MAX_DEPTH: usize = 100;
const TYPES: [&str; 6] = ["array", "boolean", "integer", "number", "object", "string"];
const UNSUPPORTED: [&str; 6] = ["$ref", "definitions", "dependencies", "id", "patternProperties", "$schema"];
/// What only the schema itself may say, not its `anyOf`, `oneOf`, `allOf` and `not`.
const OUTER_ONLY: [&str; 11] = [
    "type",
    "default",
    "description",
    "title",
    "nullable",
    "additionalProperties",
    "x-kubernetes-preserve-unknown-fields",
    "x-kubernetes-embedded-resource",
    "x-kubernetes-list-type",
    "x-kubernetes-list-map-keys",
    "x-kubernetes-map-type",
];

/// Checks a schema at `path`.
pub fn validate(schema: &Value, path: &str, errors: &mut Errors) {
    check(schema, path, "at the root", 0, errors);
    if schema["type"].is_string() && schema["type"] != "object" {
        errors.push(FieldError::invalid(format!("{path}.type"), &schema["type"], "must be object at the root"));
    }
    let mut refused = Vec::new();
    Rules::compile(schema, path, &mut refused);
    errors.extend(refused.into_iter().map(|(field, value, text)| FieldError::invalid(field, &value, text)));
}

fn check(schema: &Value, path: &str, whose: &str, depth: usize, errors: &mut Errors) {
    if depth > MAX_DEPTH {
        return errors.push(FieldError::forbidden(path, "schema is nested too deeply"));
    }
    kind(schema, path, whose, errors);
    extensions(schema, path, errors);
    for key in UNSUPPORTED {
        if schema.get(key).is_some_and(|v| !v.is_null()) {
            errors.push(FieldError::forbidden(format!("{path}.{key}"), &format!("{key} is not supported")));
        }
    }
    if schema["uniqueItems"] == true {
        let text = "uniqueItems cannot be set to true since the runtime complexity becomes quadratic";
        errors.push(FieldError::forbidden(format!("{path}.uniqueItems"), text));
    }
    if let Some(source) = schema["pattern"].as_str().filter(|p| pattern::compiled(p).is_none()) {
        let text = format!("must be a valid regular expression, but isn't: `{source}`");
        errors.push(FieldError::invalid(format!("{path}.pattern"), &source.into(), text));
    }
    default(schema, path, depth, errors);
    inner(schema, path, depth, errors);
    for key in ["anyOf", "oneOf", "allOf"] {
        for (index, part) in list(&schema[key]).iter().enumerate() {
            condition(schema, part, &format!("{path}.{key}[{index}]"), errors);
        }
    }
    if schema["not"].is_object() {
        condition(schema, &schema["not"], &format!("{path}.not"), errors);
    }
}

fn kind(schema: &Value, path: &str, whose: &str, errors: &mut Errors) {
    let path = format!("{path}.type");
    let free = schema["x-kubernetes-int-or-string"] == true || schema["x-kubernetes-preserve-unknown-fields"] == true;
    match schema["type"].as_str() {
        None | Some("") if free && whose != "at the root" => {}
        None | Some("") => errors.push(FieldError::required(path, &format!("must not be empty {whose}"))),
        Some(kind) if !TYPES.contains(&kind) => errors.push(FieldError::not_supported(path, &kind.into(), &TYPES)),
        Some(_) if schema["x-kubernetes-int-or-string"] == true => {
            let text = "must be empty if x-kubernetes-int-or-string is true";
            errors.push(FieldError::invalid(path, &schema["type"], text));
        }
        Some(_) => {}
    }
}

fn inner(schema: &Value, path: &str, depth: usize, errors: &mut Errors) {
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        let whose = "for specified object fields";
        check(property, &format!("{path}.properties[{name}]"), whose, depth + 1, errors);
    }
    let (items, values) = (&schema["items"], &schema["additionalProperties"]);
    if items.is_array() {
        errors.push(FieldError::forbidden(format!("{path}.items"), "items must be a schema object and not an array"));
    } else if items.is_object() {
        check(items, &format!("{path}.items"), "for specified array items", depth + 1, errors);
    } else if schema["type"] == "array" {
        errors.push(FieldError::required(format!("{path}.items"), "must be specified"));
    }
    let at = format!("{path}.additionalProperties");
    if *values == false {
        errors.push(FieldError::forbidden(at, "additionalProperties cannot be set to false"));
    } else if !values.is_null() {
        if schema["properties"].as_object().is_some_and(|p| !p.is_empty()) {
            errors.push(FieldError::forbidden(&at, "additionalProperties and properties are mutual exclusive"));
        }
        if depth == 0 {
            errors.push(FieldError::forbidden(&at, "must not be used at the root"));
        }
        if values.is_object() {
            check(values, &at, "for specified object fields", depth + 1, errors);
        }
    }
}

fn extensions(schema: &Value, path: &str, errors: &mut Errors) {
    if schema["x-kubernetes-preserve-unknown-fields"] == false {
        let field = format!("{path}.x-kubernetes-preserve-unknown-fields");
        errors.push(FieldError::invalid(field, &false.into(), "must be true or undefined"));
    }
    let kinds = ["atomic", "set", "map"];
    let kind = &schema["x-kubernetes-list-type"];
    let keys = list(&schema["x-kubernetes-list-map-keys"]);
    let at_keys = format!("{path}.x-kubernetes-list-map-keys");
    if let Some(text) = kind.as_str() {
        if !kinds.contains(&text) {
            errors.push(FieldError::not_supported(format!("{path}.x-kubernetes-list-type"), kind, &kinds));
        }
        if schema["type"] != "array" {
            let text = "must be array if x-kubernetes-list-type is specified";
            errors.push(FieldError::invalid(format!("{path}.type"), &schema["type"], text));
        }
    }
    if *kind == "map" && keys.is_empty() {
        errors.push(FieldError::required(&at_keys, "must not be empty if x-kubernetes-list-type is map"));
    }
    if *kind != "map" && !keys.is_empty() {
        let field = format!("{path}.x-kubernetes-list-type");
        errors.push(FieldError::invalid(field, kind, "must be map if x-kubernetes-list-map-keys is non-empty"));
    }
    for (index, key) in keys.iter().enumerate() {
        let known = key.as_str().is_some_and(|key| schema["items"]["properties"].get(key).is_some());
        if !known {
            let text = "entries must all be names of item properties";
            errors.push(FieldError::invalid(format!("{at_keys}[{index}]"), key, text));
        }
    }
}

fn default(schema: &Value, path: &str, depth: usize, errors: &mut Errors) {
    let Some(value) = schema.get("default").filter(|d| !d.is_null()) else { return };
    let field = format!("{path}.default");
    if depth == 0 {
        return errors.push(FieldError::forbidden(field, "must not be set at the root"));
    }
    let wrapped = serde_json::json!({"type": "object", "properties": {"default": schema}});
    let wrong = Schema::custom(wrapped).validate(&serde_json::json!({"default": value}), None);
    for mut error in wrong {
        error.field = format!("{path}.{}", error.field);
        errors.push(error);
    }
}

/// `anyOf` and its like only restrict what the schema itself says.
fn condition(outer: &Value, part: &Value, path: &str, errors: &mut Errors) {
    // The one way to say it for clients that don't know x-kubernetes-int-or-string.
    let int_or_string =
        outer["x-kubernetes-int-or-string"] == true && matches!(part["type"].as_str(), Some("integer" | "string"));
    for key in OUTER_ONLY {
        let present = part.get(key).is_some_and(|v| !v.is_null() && *v != false && *v != "");
        if present && !(key == "type" && int_or_string) {
            errors.push(FieldError::forbidden(format!("{path}.{key}"), "must be empty to be structural"));
        }
    }
    for (name, property) in part["properties"].as_object().into_iter().flatten() {
        condition(&outer["properties"][name], property, &format!("{path}.properties[{name}]"), errors);
    }
    if part["items"].is_object() {
        condition(&outer["items"], &part["items"], &format!("{path}.items"), errors);
    }
}
