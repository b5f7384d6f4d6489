//! Rows and columns as `kubectl get` shows them.

mod cluster;
mod custom;
mod network;
mod pod;
mod storage;
mod workload;

use serde_json::{Value, json};

use crate::{clock, registry::Resource};

/// A column of a built-in kind: heading, type, and whether only wide output has it.
struct Column {
    name: &'static str,
    kind: &'static str,
    wide: bool,
}

const fn text(name: &'static str) -> Column {
    Column { name, kind: "string", wide: false }
}

const fn number(name: &'static str) -> Column {
    Column { name, kind: "integer", wide: false }
}

const fn wide(name: &'static str) -> Column {
    Column { name, kind: "string", wide: true }
}

type Cells = fn(&Value) -> Vec<Value>;

/// Columns after the name, and what fills them.
struct Layout {
    columns: &'static [Column],
    cells: Cells,
}

fn layout(resource: &Resource) -> Layout {
    let group = resource.group.as_str();
    cluster::layout(group, &resource.plural)
        .or_else(|| workload::layout(group, &resource.plural))
        .or_else(|| storage::layout(group, &resource.plural))
        .or_else(|| network::layout(group, &resource.plural))
        .unwrap_or(Layout { columns: const { &[text("Age")] }, cells: |object| vec![age(object)] })
}

/// The definitions of a kind's columns.
pub fn columns(resource: &Resource, version: &str) -> Value {
    let mut all = vec![json!({
        "name": "Name", "type": "string", "format": "name",
        "description": "Name must be unique within a namespace.", "priority": 0,
    })];
    if resource.custom {
        all.extend(custom::columns(resource, version));
    } else if resource.plural == "events" {
        // Events are listed by what they say; their name comes last.
        all.clear();
        all.extend(layout(resource).columns.iter().map(definition));
        return Value::Array(all);
    } else {
        all.extend(layout(resource).columns.iter().map(definition));
    }
    Value::Array(all)
}

fn definition(column: &Column) -> Value {
    json!({
        "name": column.name, "type": column.kind, "format": "", "description": column.name,
        "priority": i32::from(column.wide),
    })
}

/// The cells of an object's row.
pub fn cells(resource: &Resource, version: &str, object: &Value) -> Vec<Value> {
    if !resource.custom && resource.plural == "events" {
        return (layout(resource).cells)(object);
    }
    let mut cells = vec![object["metadata"]["name"].clone()];
    if resource.plural == "storageclasses" && storage::is_default(object) {
        cells = vec![format!("{} (default)", crate::object::name(object)).into()];
    }
    if resource.custom {
        cells.extend(custom::cells(resource, version, object));
    } else {
        cells.extend((layout(resource).cells)(object));
    }
    cells
}

/// Time since an RFC 3339 time, for people.
fn since(time: &Value) -> String {
    let parsed = time.as_str().and_then(|t| t.parse::<jiff::Timestamp>().ok());
    match parsed {
        Some(time) => clock::age(jiff::Timestamp::now().as_second() - time.as_second()),
        None => "<unknown>".into(),
    }
}

/// The age of an object.
pub fn age(object: &Value) -> Value {
    since(&object["metadata"]["creationTimestamp"]).into()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn or_none(text: String) -> String {
    if text.is_empty() { "<none>".into() } else { text }
}

fn string(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// `a=b,c=d`
fn pairs(map: &Value) -> String {
    let mut pairs: Vec<String> =
        map.as_object().into_iter().flatten().map(|(k, v)| format!("{k}={}", v.as_str().unwrap_or_default())).collect();
    pairs.sort();
    pairs.join(",")
}

/// A label selector for people.
fn selector(value: &Value) -> String {
    let mut parts: Vec<String> = Some(pairs(&value["matchLabels"])).filter(|p| !p.is_empty()).into_iter().collect();
    for expression in list(&value["matchExpressions"]) {
        let key = string(&expression["key"]);
        let values: Vec<String> = list(&expression["values"]).iter().map(string).collect();
        let values = values.join(",");
        parts.push(match expression["operator"].as_str() {
            Some("In") => format!("{key} in ({values})"),
            Some("NotIn") => format!("{key} notin ({values})"),
            Some("DoesNotExist") => format!("!{key}"),
            _ => key,
        });
    }
    or_none(parts.join(","))
}

#[cfg(test)]
mod tests;
