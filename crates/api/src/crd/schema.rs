//! From the JSON schema of a serde type to the structural schema that Kubernetes asks for.

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

/// The structural schema of `T`: everything inline, no unions with null, no defaults.
pub fn structural<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::openapi3().with(|s| {
        s.inline_subschemas = true;
        s.meta_schema = None;
    });
    let mut schema = settings.into_generator().into_root_schema_for::<T>().to_value();
    normalize(&mut schema);
    if let Value::Object(map) = &mut schema {
        map.remove("title");
    }
    schema
}

/// Rewrites `schema` and everything below it.
fn normalize(schema: &mut Value) {
    if schema.is_boolean() {
        *schema = json!({"x-kubernetes-preserve-unknown-fields": true});
        return;
    }
    let Value::Object(map) = schema else { return };
    for gone in ["default", "$schema", "$defs", "components", "title"] {
        map.remove(gone);
    }
    unwrap_single(map, "allOf");
    unwrap_option(map);
    collapse_enum(map);
    narrow_type(map);
    nullable_scalars_only(map);
    bound_unsigned(map);
    free_form(map);
    if let Some(Value::Object(properties)) = map.get_mut("properties") {
        properties.values_mut().for_each(normalize);
    }
    for below in ["items", "additionalProperties"] {
        if let Some(value) = map.get_mut(below) {
            normalize(value);
        }
    }
}

/// `key: [X]` becomes X; what stands beside it wins.
fn unwrap_single(map: &mut Map<String, Value>, key: &str) {
    let single = match map.get(key) {
        Some(Value::Array(items)) if items.len() == 1 => items[0].as_object().cloned(),
        _ => None,
    };
    if let Some(inner) = single {
        map.remove(key);
        merge(map, inner);
    }
}

/// `anyOf: [X, null]` becomes X: an absent field is how Kubernetes says none.
fn unwrap_option(map: &mut Map<String, Value>) {
    let Some(Value::Array(items)) = map.get("anyOf") else {
        return;
    };
    let mut some: Vec<Value> = items.iter().filter(|i| !is_null(i)).cloned().collect();
    if some.len() == 1
        && let Some(Value::Object(inner)) = some.pop()
    {
        map.remove("anyOf");
        merge(map, inner);
    }
}

fn is_null(schema: &Value) -> bool {
    schema.get("type").and_then(Value::as_str) == Some("null")
        || schema.get("const").is_some_and(Value::is_null)
        || schema.get("enum") == Some(&json!([null]))
}

fn merge(into: &mut Map<String, Value>, from: Map<String, Value>) {
    for (key, value) in from {
        into.entry(key).or_insert(value);
    }
}

/// An enum whose variants carry descriptions arrives as `oneOf` of constants.
fn collapse_enum(map: &mut Map<String, Value>) {
    if let Some(Value::Array(variants)) = map.get("oneOf") {
        let names: Option<Vec<Value>> =
            variants.iter().map(variant_names).collect::<Option<Vec<_>>>().map(|v| v.concat());
        if let Some(names) = names {
            map.remove("oneOf");
            map.insert("type".into(), json!("string"));
            map.insert("enum".into(), Value::Array(names));
        }
    }
    if let Some(Value::Array(names)) = map.get_mut("enum") {
        names.retain(|n| !n.is_null());
    }
}

fn variant_names(variant: &Value) -> Option<Vec<Value>> {
    if let Some(name @ Value::String(_)) = variant.get("const") {
        return Some(vec![name.clone()]);
    }
    match variant.get("enum") {
        Some(Value::Array(names)) if names.iter().all(Value::is_string) => Some(names.clone()),
        _ => None,
    }
}

/// `type: [T, null]` becomes `type: T`.
fn narrow_type(map: &mut Map<String, Value>) {
    if let Some(Value::Array(types)) = map.get("type") {
        let some = types.iter().find(|t| t.as_str() != Some("null")).cloned();
        if let Some(some) = some {
            map.insert("type".into(), some);
        }
    }
}

/// Numbers and switches may be written as null, as in Istio's own definitions; nothing else may.
fn nullable_scalars_only(map: &mut Map<String, Value>) {
    let scalar = matches!(map.get("type").and_then(Value::as_str), Some("boolean" | "integer" | "number"));
    if !scalar {
        map.remove("nullable");
    }
}

/// Kubernetes has no unsigned formats: they become bounds.
fn bound_unsigned(map: &mut Map<String, Value>) {
    let format = map.get("format").and_then(Value::as_str).unwrap_or_default().to_owned();
    if !format.starts_with("uint") {
        return;
    }
    map.remove("format");
    map.insert("minimum".into(), map.get("minimum").cloned().unwrap_or(json!(0)));
    if format == "uint32" && !map.contains_key("maximum") {
        map.insert("maximum".into(), json!(u32::MAX));
    }
}

/// A map of arbitrary values keeps unknown fields.
fn free_form(map: &mut Map<String, Value>) {
    if map.get("additionalProperties") == Some(&Value::Bool(true)) {
        map.remove("additionalProperties");
        map.insert("x-kubernetes-preserve-unknown-fields".into(), Value::Bool(true));
    }
}
