//! Objects are JSON values; these functions read and write their usual parts.

use std::sync::Arc;

use serde_json::{Map, Value};

/// An object as it is stored and handed out: shared, never changed in place.
pub type Object = Arc<Value>;

/// `metadata.<field>` as text, empty where absent.
pub fn meta_str<'a>(object: &'a Value, field: &str) -> &'a str {
    object["metadata"][field].as_str().unwrap_or_default()
}

/// `metadata.name`.
pub fn name(object: &Value) -> &str {
    meta_str(object, "name")
}

/// `metadata.namespace`, empty where absent.
pub fn namespace(object: &Value) -> &str {
    meta_str(object, "namespace")
}

/// `metadata.uid`.
pub fn uid(object: &Value) -> &str {
    meta_str(object, "uid")
}

/// `metadata.resourceVersion` as a number; 0 where absent.
pub fn resource_version(object: &Value) -> u64 {
    meta_str(object, "resourceVersion").parse().unwrap_or(0)
}

/// `metadata.labels`, if any.
pub fn labels(object: &Value) -> Option<&Map<String, Value>> {
    object["metadata"]["labels"].as_object()
}

/// `metadata.annotations`, if any.
pub fn annotations(object: &Value) -> Option<&Map<String, Value>> {
    object["metadata"]["annotations"].as_object()
}

/// Whether deletion has begun.
pub fn is_deleting(object: &Value) -> bool {
    object["metadata"]["deletionTimestamp"].is_string()
}

/// Whether `metadata.finalizers` names anything.
pub fn has_finalizers(object: &Value) -> bool {
    object["metadata"]["finalizers"].as_array().is_some_and(|f| !f.is_empty())
}

/// The map at `key`, made where it is absent or not a map.
pub fn map_at<'a>(value: &'a mut Value, key: &str) -> &'a mut Map<String, Value> {
    as_map(as_map(value).entry(key).or_insert(Value::Null))
}

/// The value as a map, made one where it is not.
pub fn as_map(value: &mut Value) -> &mut Map<String, Value> {
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    value.as_object_mut().expect("made a map above")
}
