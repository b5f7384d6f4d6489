//! Server-side apply: a manager says which fields it wants and how; what it no longer says, and
//! nobody else does, goes.
//!
//! Only managers that apply are tracked. Other writes leave their fields as they are, and the
//! next apply sets them again.

mod fields;
mod shape;

use serde_json::{Value, json};

use crate::{clock, object, schema::Schema, status::Status};
use fields::{FieldSet, Step};
use shape::Kind;

/// The outcome of an apply.
pub struct Applied {
    /// The object as it shall be.
    pub object: Value,
    /// Its `metadata.managedFields`.
    pub managers: Value,
}

struct Entry {
    manager: String,
    fields: FieldSet,
    value: Value,
}

fn entries(object: &Value) -> Vec<Entry> {
    let all = object["metadata"]["managedFields"].as_array().into_iter().flatten();
    all.map(|value| Entry {
        manager: value["manager"].as_str().unwrap_or_default().to_owned(),
        fields: FieldSet::from_json(&value["fieldsV1"]),
        value: value.clone(),
    })
    .collect()
}

/// What a manager's configuration names, without what names the object itself.
fn owned(kind: &Kind<'_>, configuration: &Value) -> FieldSet {
    let mut configuration = configuration.clone();
    let map = object::as_map(&mut configuration);
    map.shift_remove("apiVersion");
    map.shift_remove("kind");
    let metadata = object::map_at(&mut configuration, "metadata");
    for field in ["name", "namespace", "creationTimestamp", "managedFields", "resourceVersion", "uid"] {
        metadata.shift_remove(field);
    }
    if metadata.is_empty() {
        object::as_map(&mut configuration).shift_remove("metadata");
    }
    fields::collect(kind, &configuration)
}

/// Applies a manager's configuration to the current object, or to nothing.
pub fn apply(
    schema: &Schema,
    current: Option<&Value>,
    configuration: &Value,
    manager: &str,
    force: bool,
) -> Result<Applied, Status> {
    let kind = Kind::root(schema);
    let wanted = owned(&kind, configuration);
    let mut object = current.cloned().unwrap_or_else(|| json!({}));
    let mut managers = entries(&object);
    let conflicts = conflicts(&managers, manager, &wanted, &object, configuration);
    if !conflicts.is_empty() && !force {
        return Err(refusal(&managers, &conflicts));
    }
    for (index, path) in &conflicts {
        managers[*index].fields.remove(path);
    }
    fields::merge(&kind, &mut object, configuration);
    if let Some(mine) = managers.iter().find(|e| e.manager == manager) {
        let others = || managers.iter().filter(|e| e.manager != manager);
        for path in mine.fields.paths() {
            if !wanted.touches(&path) && !others().any(|e| e.fields.touches(&path)) {
                fields::remove(&mut object, &path);
            }
        }
    }
    let managers = rewritten(managers, manager, &wanted, configuration);
    Ok(Applied { object, managers })
}

type Conflict = (usize, Vec<Step>);

fn conflicts(
    managers: &[Entry],
    manager: &str,
    wanted: &FieldSet,
    current: &Value,
    configuration: &Value,
) -> Vec<Conflict> {
    let mut found = Vec::new();
    for path in wanted.paths() {
        // To share an item of a list is no conflict, its fields are what counts.
        let is_item = matches!(path.last(), Some(Step::Key(_)));
        if is_item || fields::find(current, &path) == fields::find(configuration, &path) {
            continue;
        }
        let others = managers.iter().enumerate().filter(|(_, e)| e.manager != manager && e.fields.has(&path));
        found.extend(others.map(|(index, _)| (index, path.clone())));
    }
    found
}

fn refusal(managers: &[Entry], conflicts: &[Conflict]) -> Status {
    let count = conflicts.len();
    let noun = if count == 1 { "conflict" } else { "conflicts" };
    let with = |(index, _): &Conflict| format!("conflict with {:?}", managers[*index].manager);
    let path = |(_, path): &Conflict| fields::shown(path);
    let list: Vec<String> = conflicts.iter().map(|c| format!("{}: {}", with(c), path(c))).collect();
    let message = format!("Apply failed with {count} {noun}: {}", list.join(", "));
    let cause = |c| json!({"reason": "FieldManagerConflict", "message": with(c), "field": path(c)});
    let causes: Vec<Value> = conflicts.iter().map(cause).collect();
    Status::new(409, "Conflict", message).with_detail("causes", causes)
}

fn rewritten(managers: Vec<Entry>, manager: &str, wanted: &FieldSet, configuration: &Value) -> Value {
    let mut list = Vec::new();
    let mut mine = None;
    for mut entry in managers {
        if entry.manager == manager {
            mine = Some(entry);
            continue;
        }
        if entry.fields.is_empty() {
            continue;
        }
        entry.value["fieldsV1"] = entry.fields.to_json();
        list.push(entry.value);
    }
    match mine {
        Some(entry) if entry.fields == *wanted => list.push(entry.value),
        _ => list.push(json!({
            "manager": manager,
            "operation": "Apply",
            "apiVersion": configuration["apiVersion"],
            "time": clock::now(),
            "fieldsType": "FieldsV1",
            "fieldsV1": wanted.to_json(),
        })),
    }
    Value::Array(list)
}

#[cfg(test)]
mod tests;
