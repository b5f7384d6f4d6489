//! Server-side apply: a manager says which fields it wants and how; what it no longer says, and
//! nobody else does, goes.

mod changes;
mod fields;
mod managers;
mod shape;

use serde_json::{Value, json};

use crate::{object, schema::Schema, status::Status};
pub use changes::{store, track};
use fields::{FieldSet, Step};
pub use managers::Writer;
use managers::{Entry, Operation};
use shape::Kind;

/// The manager of what was there before anybody was noted.
const BEFORE: &str = "before-first-apply";
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// The outcome of an apply.
pub struct Applied {
    /// The object as it shall be.
    pub object: Value,
    /// Its `metadata.managedFields`.
    pub managers: Value,
}

/// How a configuration is applied.
pub struct Options<'a> {
    /// Who applies.
    pub writer: &'a Writer,
    /// Take fields over from other managers.
    pub force: bool,
    /// The object has a status of its own, which only the subresource sets.
    pub has_status: bool,
}

/// What a manager's configuration names, without what names the object itself.
fn owned(kind: &Kind<'_>, configuration: &Value, options: &Options<'_>) -> FieldSet {
    let mut configuration = configuration.clone();
    let through_status = options.writer.subresource == "status";
    let map = object::as_map(&mut configuration);
    map.retain(|key, _| match key.as_str() {
        "apiVersion" | "kind" => false,
        "status" => !options.has_status || through_status,
        _ => !through_status,
    });
    if map.contains_key("metadata") {
        let metadata = object::map_at(&mut configuration, "metadata");
        for field in ["name", "namespace", "creationTimestamp", "managedFields", "resourceVersion", "uid"] {
            metadata.shift_remove(field);
        }
        if metadata.is_empty() {
            object::as_map(&mut configuration).shift_remove("metadata");
        }
    }
    fields::collect(kind, &configuration)
}

/// The managers of an object; what nobody is noted for belongs to one of that name.
fn known(schema: &Schema, current: Option<&Value>, writer: &Writer) -> Vec<Entry> {
    let Some(current) = current else { return Vec::new() };
    let entries = managers::read(current);
    if !entries.is_empty() {
        return entries;
    }
    let before = Writer { manager: BEFORE.into(), api_version: writer.api_version.clone(), subresource: String::new() };
    vec![Entry::new(before, Operation::Update, changes::changed(schema, None, current))]
}

/// Applies a manager's configuration to the current object, or to nothing.
pub fn apply(
    schema: &Schema,
    current: Option<&Value>,
    configuration: &Value,
    options: &Options<'_>,
) -> Result<Applied, Status> {
    let kind = Kind::root(schema);
    let wanted = owned(&kind, configuration, options);
    let mut object = current.cloned().unwrap_or_else(|| json!({}));
    let mut managers = known(schema, current, options.writer);
    let mine = |entry: &Entry| entry.is_of(options.writer, Operation::Apply);
    let conflicts = conflicts(&managers, mine, &wanted, &object, configuration);
    let serious = serious(&conflicts, &object, options);
    if !serious.is_empty() {
        return Err(refusal(&managers, &serious));
    }
    for (index, path) in &conflicts {
        managers[*index].fields.remove(path);
    }
    if let Some(own) = managers.iter().find(|e| mine(e)) {
        let others = || managers.iter().filter(|e| !mine(e));
        for path in own.fields.paths() {
            if !wanted.touches(&path) && !others().any(|e| e.fields.touches(&path)) {
                fields::remove(&mut object, &path);
            }
        }
    }
    fields::merge(&kind, &mut object, configuration);
    match managers.iter_mut().find(|e| mine(e)) {
        Some(own) => {
            own.writer.api_version.clone_from(&options.writer.api_version);
            own.replace(wanted);
        }
        None => managers.push(Entry::new(options.writer.clone(), Operation::Apply, wanted)),
    }
    managers.iter_mut().for_each(|entry| entry.fields.keep(&object));
    Ok(Applied { object, managers: managers::write(managers) })
}

type Conflict = (usize, Vec<Step>);

fn conflicts(
    managers: &[Entry],
    mine: impl Fn(&Entry) -> bool,
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
        let others = managers.iter().enumerate().filter(|(_, e)| !mine(e) && e.fields.has(&path));
        found.extend(others.map(|(index, _)| (index, path.clone())));
    }
    found
}

/// The conflicts that stand in the way. None where the manager insists; and `kubectl` takes over without insisting what
/// it applied itself before, on the client's side.
fn serious(conflicts: &[Conflict], current: &Value, options: &Options<'_>) -> Vec<Conflict> {
    if options.force {
        return Vec::new();
    }
    let annotation = &current["metadata"]["annotations"][LAST_APPLIED];
    let applied = annotation.as_str().filter(|_| options.writer.manager == "kubectl");
    let applied: Value = applied.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
    let own = |path: &[Step]| fields::find(&applied, path).is_some_and(|v| Some(v) == fields::find(current, path));
    conflicts.iter().filter(|(_, path)| !own(path)).cloned().collect()
}

fn refusal(managers: &[Entry], conflicts: &[Conflict]) -> Status {
    let with = |index: usize| managers[index].shown();
    let message = match conflicts {
        [(index, path)] => {
            format!("Apply failed with 1 conflict: conflict with {}: {}", with(*index), fields::shown(path))
        }
        many => {
            let mut texts = Vec::new();
            for index in 0..managers.len() {
                let of: Vec<_> = many.iter().filter(|(i, _)| *i == index).collect();
                if !of.is_empty() {
                    texts.push(format!("conflicts with {}:", with(index)));
                    texts.extend(of.iter().map(|(_, path)| format!("- {}", fields::shown(path))));
                }
            }
            format!("Apply failed with {} conflicts: {}", many.len(), texts.join("\n"))
        }
    };
    let cause = |(index, path): &Conflict| {
        let text = format!("conflict with {}", with(*index));
        json!({"reason": "FieldManagerConflict", "message": text, "field": fields::shown(path)})
    };
    let causes: Vec<Value> = conflicts.iter().map(cause).collect();
    Status::new(409, "Conflict", message).with_detail("causes", causes)
}

#[cfg(test)]
mod tests;
