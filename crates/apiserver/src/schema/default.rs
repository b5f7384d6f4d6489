//! Defaults of custom resources.

use serde_json::{Map, Value};

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
