//! What a write that is no apply changes, and what becomes of the managers.

use serde_json::{Map, Value};

use super::{
    fields::{FieldSet, Step, item_key, keyed},
    managers::{self, Entry, Operation, Writer},
    shape::{Kind, List},
};
use crate::{object, schema::Schema};

/// Metadata that nobody manages.
const UNMANAGED: [&str; 10] = [
    "name",
    "namespace",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "generation",
    "managedFields",
    "resourceVersion",
    "selfLink",
    "uid",
];

/// Sets `metadata.managedFields` of `new`, which a writer made out of `old` (or of nothing). `base` is the list that
/// the writer sent, where it sent one.
pub fn track(schema: &Schema, old: Option<&Value>, new: &mut Value, writer: &Writer, sent: Option<&Value>) {
    let mut entries = match sent {
        Some(sent) if managers::is_reset(sent) => return forget(new),
        Some(sent) => managers::read(&serde_json::json!({"metadata": sent})),
        None => Vec::new(),
    };
    if entries.is_empty() {
        entries = old.map(managers::read).unwrap_or_default();
    }
    let changed = changed(schema, old, new);
    for entry in &mut entries {
        if !entry.is_of(writer, Operation::Update) {
            entry.fields.subtract(&changed);
        }
    }
    match entries.iter_mut().find(|e| e.is_of(writer, Operation::Update)) {
        Some(own) => {
            let mut fields = own.fields.clone();
            fields.unite(&changed);
            fields.keep(new);
            own.replace(fields);
        }
        None => entries.push(Entry::new(writer.clone(), Operation::Update, changed)),
    }
    for entry in &mut entries {
        entry.fields.keep(new);
    }
    store(new, managers::write(entries));
}

fn forget(object: &mut Value) {
    object::map_at(object, "metadata").shift_remove("managedFields");
}

/// Sets or removes the list.
pub fn store(object: &mut Value, list: Value) {
    if list.as_array().is_none_or(Vec::is_empty) {
        return forget(object);
    }
    object::map_at(object, "metadata").insert("managedFields".into(), list);
}

/// The fields that are new or have another value.
pub fn changed(schema: &Schema, old: Option<&Value>, new: &Value) -> FieldSet {
    let mut set = FieldSet::default();
    let root = Kind::root(schema);
    for (key, child) in new.as_object().into_iter().flatten() {
        if matches!(key.as_str(), "apiVersion" | "kind") {
            continue;
        }
        let before = old.and_then(|old| old.get(key));
        let fields = match child {
            Value::Object(metadata) if key == "metadata" => changed_metadata(&root.field(key), before, metadata),
            other => changed_at(&root, key, before, other),
        };
        set.put(Step::Field(key.clone()), fields);
    }
    set
}

fn changed_metadata(kind: &Kind<'_>, old: Option<&Value>, new: &Map<String, Value>) -> FieldSet {
    let mut set = FieldSet::default();
    for (key, child) in new.iter().filter(|(key, _)| !UNMANAGED.contains(&key.as_str())) {
        set.put(Step::Field(key.clone()), changed_at(kind, key, old.and_then(|old| old.get(key)), child));
    }
    set
}

/// The member `key` of an object of a kind.
fn changed_at(owner: &Kind<'_>, key: &str, old: Option<&Value>, new: &Value) -> FieldSet {
    match new {
        _ if old == Some(new) => FieldSet::default(),
        Value::Array(items) => changed_list(owner, key, old, items),
        Value::Object(_) if owner.has_atomic_field(key) => FieldSet::leaf(),
        other => changed_value(&owner.field(key), old, other),
    }
}

fn changed_value(kind: &Kind<'_>, old: Option<&Value>, new: &Value) -> FieldSet {
    if old == Some(new) {
        return FieldSet::default();
    }
    let Value::Object(map) = new else { return FieldSet::leaf() };
    if map.is_empty() || kind.is_atomic_map() {
        return FieldSet::leaf();
    }
    let mut set =
        if kind.is_free_map() && !old.is_some_and(Value::is_object) { FieldSet::leaf() } else { FieldSet::default() };
    for (key, child) in map {
        set.put(Step::Field(key.clone()), changed_at(kind, key, old.and_then(|old| old.get(key)), child));
    }
    set
}

fn changed_list(owner: &Kind<'_>, key: &str, old: Option<&Value>, items: &[Value]) -> FieldSet {
    let before: &[Value] = old.and_then(Value::as_array).map_or(&[], Vec::as_slice);
    let mut set = if items.is_empty() { FieldSet::leaf() } else { FieldSet::default() };
    match owner.list(key) {
        List::Atomic => return FieldSet::leaf(),
        List::Set => {
            for item in items.iter().filter(|item| !before.contains(item)) {
                set.put(Step::Value(item.to_string()), FieldSet::leaf());
            }
        }
        List::Keyed(keys) => {
            let kind = owner.field(key).items();
            let known = keyed(before, &keys);
            for item in items {
                let id = item_key(item, &keys);
                let was = known.get(&id).copied();
                let mut fields = changed_value(&kind, was, item);
                if was.is_none() {
                    fields.unite(&FieldSet::leaf());
                }
                set.put(Step::Key(id), fields);
            }
        }
    }
    set
}
