//! Reading Kubernetes objects held as JSON values.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

/// The parts of `metadata` (and `status.conditions`) that controllers look at.
pub trait Meta {
    /// `metadata.name`, or "".
    fn name(&self) -> &str;
    /// `metadata.namespace`, or "".
    fn namespace(&self) -> &str;
    /// `metadata.uid`, or "".
    fn uid(&self) -> &str;
    /// One label's value.
    fn label(&self, key: &str) -> Option<&str>;
    /// One annotation's value.
    fn annotation(&self, key: &str) -> Option<&str>;
    /// Whether deletion was asked for.
    fn is_terminating(&self) -> bool;
    /// The owner reference with `controller: true`.
    fn controller(&self) -> Option<&Value>;
    /// `metadata.creationTimestamp`.
    fn created(&self) -> Option<Timestamp>;
    /// A string anywhere in the object, by JSON pointer; "" if absent.
    fn text(&self, pointer: &str) -> &str;
    /// A whole number anywhere in the object, by JSON pointer.
    fn int(&self, pointer: &str) -> Option<i64>;
    /// A list anywhere in the object, by JSON pointer; empty if absent.
    fn items(&self, pointer: &str) -> &[Value];
    /// The condition of this type in `status.conditions`.
    fn condition(&self, kind: &str) -> Option<&Value>;
    /// Whether the condition of this type has status `True`.
    fn condition_true(&self, kind: &str) -> bool {
        self.condition(kind).is_some_and(|c| c["status"] == "True")
    }
}

impl Meta for Value {
    fn name(&self) -> &str {
        self.text("/metadata/name")
    }

    fn namespace(&self) -> &str {
        self.text("/metadata/namespace")
    }

    fn uid(&self) -> &str {
        self.text("/metadata/uid")
    }

    fn label(&self, key: &str) -> Option<&str> {
        self.get("metadata")?.get("labels")?.get(key)?.as_str()
    }

    fn annotation(&self, key: &str) -> Option<&str> {
        self.get("metadata")?.get("annotations")?.get(key)?.as_str()
    }

    fn is_terminating(&self) -> bool {
        !self.text("/metadata/deletionTimestamp").is_empty()
    }

    fn controller(&self) -> Option<&Value> {
        self.items("/metadata/ownerReferences").iter().find(|r| r["controller"] == true)
    }

    fn created(&self) -> Option<Timestamp> {
        self.text("/metadata/creationTimestamp").parse().ok()
    }

    fn text(&self, pointer: &str) -> &str {
        self.pointer(pointer).and_then(Value::as_str).unwrap_or("")
    }

    fn int(&self, pointer: &str) -> Option<i64> {
        self.pointer(pointer).and_then(Value::as_i64)
    }

    fn items(&self, pointer: &str) -> &[Value] {
        self.pointer(pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
    }

    fn condition(&self, kind: &str) -> Option<&Value> {
        self.items("/status/conditions").iter().find(|c| c["type"] == kind)
    }
}

/// An owner reference that says: `owner` controls this object.
#[must_use]
pub fn controller_ref(owner: &Value, api_version: &str, kind: &str) -> Value {
    json!({
        "apiVersion": api_version,
        "kind": kind,
        "name": owner.name(),
        "uid": owner.uid(),
        "controller": true,
        "blockOwnerDeletion": true,
    })
}

/// The object at `pointer` as a map, made (with its parents) where absent.
///
/// `pointer` names object members only. A value of another type in the way is replaced.
pub fn map_mut<'a>(object: &'a mut Value, pointer: &str) -> &'a mut Map<String, Value> {
    let mut at = object;
    for part in pointer.split('/').skip(1) {
        at = as_map(at).entry(part).or_insert(Value::Null);
    }
    as_map(at)
}

fn as_map(value: &mut Value) -> &mut Map<String, Value> {
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    match value {
        Value::Object(map) => map,
        _ => unreachable!("made an object above"),
    }
}

/// Put `condition` among `conditions`, in place of the one with the same type.
///
/// The time of the last transition is kept while `status` stays the same.
pub fn set_condition(conditions: &mut Vec<Value>, mut condition: Value) {
    match conditions.iter_mut().find(|c| c["type"] == condition["type"]) {
        Some(old) => {
            if old["status"] == condition["status"] && !old["lastTransitionTime"].is_null() {
                condition["lastTransitionTime"] = old["lastTransitionTime"].clone();
            }
            *old = condition;
        }
        None => conditions.push(condition),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absent_parts_read_as_empty() {
        let value = json!({"metadata": {"name": "a"}});
        assert_eq!(value.name(), "a");
        assert_eq!(value.namespace(), "");
        assert!(!value.is_terminating());
        assert!(value.controller().is_none());
        assert!(value.items("/spec/ports").is_empty());
    }

    #[test]
    fn a_map_is_made_with_its_parents() {
        let mut value = json!({"spec": {"a": 1}});
        map_mut(&mut value, "/spec/template/metadata/labels").insert("k".into(), json!("v"));
        assert_eq!(value, json!({"spec": {"a": 1, "template": {"metadata": {"labels": {"k": "v"}}}}}));
    }

    #[test]
    fn a_condition_keeps_its_transition_time_while_its_status_stays() {
        let mut conditions = vec![json!({"type": "A", "status": "True", "lastTransitionTime": "t0"})];
        let new = |status: &str| json!({"type": "A", "status": status, "lastTransitionTime": "t1"});
        set_condition(&mut conditions, new("True"));
        assert_eq!(conditions[0]["lastTransitionTime"], "t0");
        set_condition(&mut conditions, new("False"));
        assert_eq!(conditions[0]["lastTransitionTime"], "t1");
        assert_eq!(conditions.len(), 1);
    }
}
