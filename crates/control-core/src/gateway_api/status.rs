//! What is written into the status of objects.

use serde_json::{Map, Value, json};

/// The status that an object is to have, without times.
#[derive(Clone, Debug, PartialEq)]
pub struct Status {
    /// Where entries of other controllers stay beside ours: the field, and the name of our controller.
    shared: Option<(&'static str, &'static str)>,
    wanted: Value,
}

impl Status {
    /// A status that is all ours.
    pub(super) fn whole(wanted: Value) -> Self {
        Self { shared: None, wanted }
    }

    /// A status of entries, ours beside those of others.
    pub(super) fn entries(field: &'static str, controller: &'static str, wanted: Vec<Value>) -> Self {
        Self { shared: Some((field, controller)), wanted: json!({ field: wanted }) }
    }

    /// As it would be on an object that has none yet.
    pub fn wanted(&self) -> &Value {
        &self.wanted
    }
}

/// The status to write on an object that has `current`; `None` if it is as it should be. A condition keeps its time
/// until its status changes; `now` is the time for those that do (RFC 3339).
pub fn merged(current: &Value, status: &Status, now: &str) -> Option<Value> {
    let mut new = status.wanted.clone();
    match status.shared {
        Some((field, controller)) => {
            let old = current.get(field).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
            let is_ours = |entry: &&Value| entry.get("controllerName").and_then(Value::as_str) == Some(controller);
            let ours: Vec<&Value> = old.iter().filter(is_ours).collect();
            let entries = new.get_mut(field).and_then(Value::as_array_mut)?;
            for entry in entries.iter_mut() {
                let same = |old: &&&Value| reference(old) == reference(entry);
                let before = ours.iter().find(same).copied().cloned().unwrap_or_default();
                keep_times(&before, entry, now);
            }
            entries.extend(old.iter().filter(|entry| !is_ours(entry)).cloned());
            if entries.is_empty() && old.is_empty() {
                return None;
            }
        }
        None => keep_times(current, &mut new, now),
    }
    (!same(current, &new)).then_some(new)
}

fn reference(entry: &Value) -> Option<&Value> {
    entry.get("parentRef").or_else(|| entry.get("ancestorRef"))
}

/// Gives the conditions of `new`, and those of its listeners, their times.
fn keep_times(old: &Value, new: &mut Value, now: &str) {
    let text = |value: &Value, field: &str| value.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
    let list = |value: &Value, field: &str| value.get(field).and_then(Value::as_array).cloned().unwrap_or_default();
    let before = list(old, "conditions");
    for condition in new.get_mut("conditions").and_then(Value::as_array_mut).into_iter().flatten() {
        let was = before.iter().find(|was| text(was, "type") == text(condition, "type"));
        let kept = was.filter(|was| text(was, "status") == text(condition, "status"));
        let time = kept.map(|was| text(was, "lastTransitionTime")).filter(|time| !time.is_empty());
        condition["lastTransitionTime"] = json!(time.unwrap_or_else(|| now.to_owned()));
    }
    let listeners = list(old, "listeners");
    for listener in new.get_mut("listeners").and_then(Value::as_array_mut).into_iter().flatten() {
        let before = listeners.iter().find(|was| text(was, "name") == text(listener, "name"));
        keep_times(&before.cloned().unwrap_or_default(), listener, now);
    }
}

/// Do they say the same: what is empty is as good as absent.
fn same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Object(one), Value::Object(other)) => {
            let covers = |one: &Map<String, Value>, other: &Map<String, Value>| {
                one.iter().all(|(key, value)| match other.get(key) {
                    Some(other) => same(value, other),
                    None => is_empty(value),
                })
            };
            covers(one, other) && covers(other, one)
        }
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| same(one, other))
        }
        _ => one == other || (is_empty(one) && is_empty(other)),
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn condition(status: &str, reason: &str, time: &str) -> Value {
        let mut condition = json!({"type": "Accepted", "status": status, "reason": reason});
        if !time.is_empty() {
            condition["lastTransitionTime"] = json!(time);
        }
        condition
    }

    #[test]
    fn a_time_changes_with_its_condition_only_and_what_is_right_is_not_written() {
        let wanted = Status::whole(json!({"conditions": [condition("True", "Accepted", "")]}));
        let first = merged(&Value::Null, &wanted, "1").expect("is written");
        assert_eq!(first, json!({"conditions": [condition("True", "Accepted", "1")]}));
        assert_eq!(merged(&first, &wanted, "2"), None);
        let other = Status::whole(json!({"conditions": [condition("True", "Other", "")]}));
        let second = merged(&first, &other, "2").expect("is written");
        assert_eq!(second["conditions"][0]["lastTransitionTime"], "1", "still true");
        let gone = Status::whole(json!({"conditions": [condition("False", "Other", "")]}));
        assert_eq!(merged(&second, &gone, "3").expect("is written")["conditions"][0]["lastTransitionTime"], "3");
    }

    #[test]
    fn entries_of_other_controllers_stay() {
        let entry =
            |controller: &str, parent: &str| json!({"controllerName": controller, "parentRef": {"name": parent}});
        let current = json!({"parents": [entry("theirs", "a"), entry("ours", "gone")]});
        let wanted = Status::entries("parents", "ours", vec![entry("ours", "a")]);
        let new = merged(&current, &wanted, "1").expect("is written");
        assert_eq!(new, json!({"parents": [entry("ours", "a"), entry("theirs", "a")]}));
        assert_eq!(merged(&new, &wanted, "2"), None);
        assert_eq!(merged(&Value::Null, &Status::entries("parents", "ours", Vec::new()), "1"), None);
    }
}
