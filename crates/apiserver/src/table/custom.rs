//! Rows of custom resources, by the printer columns of their definition.

use serde_json::{Value, json};

use super::{age, since};
use crate::registry::{Column, Resource};

fn printed<'a>(resource: &'a Resource, version: &str) -> &'a [Column] {
    resource.version(version).map_or(&[], |v| v.columns.as_slice())
}

/// Column definitions after the name.
pub fn columns(resource: &Resource, version: &str) -> Vec<Value> {
    let columns = printed(resource, version);
    if columns.is_empty() {
        return vec![json!({
            "name": "Age", "type": "date", "format": "", "priority": 0, "description": "Time since creation.",
        })];
    }
    columns
        .iter()
        .map(|c| {
            json!({
                "name": c.name, "type": c.kind, "format": c.format,
                "description": c.description, "priority": c.priority,
            })
        })
        .collect()
}

/// Cells after the name.
pub fn cells(resource: &Resource, version: &str, object: &Value) -> Vec<Value> {
    let columns = printed(resource, version);
    if columns.is_empty() {
        return vec![age(object)];
    }
    columns.iter().map(|c| cell(c, find(object, &c.path))).collect()
}

fn cell(column: &Column, value: Option<&Value>) -> Value {
    let Some(value) = value.filter(|v| !v.is_null()) else { return Value::Null };
    match column.kind.as_str() {
        "date" => since(value).into(),
        "integer" | "number" if value.is_number() => value.clone(),
        "boolean" if value.is_boolean() => value.clone(),
        _ => match value {
            Value::String(_) => value.clone(),
            other => other.to_string().into(),
        },
    }
}

/// The first value at a simple JSON path: fields, indexes and `[?(@.field=="value")]`.
fn find<'a>(object: &'a Value, path: &str) -> Option<&'a Value> {
    let mut at = object;
    let mut rest = path.trim_start_matches(['{', '$']).trim_end_matches('}');
    while !rest.is_empty() {
        if let Some(tail) = rest.strip_prefix('[') {
            let end = closing(tail)?;
            at = index(at, &tail[..end])?;
            rest = &tail[end + 1..];
        } else {
            let tail = rest.strip_prefix('.').unwrap_or(rest);
            let end = field_end(tail);
            if end > 0 {
                at = at.get(tail[..end].replace("\\.", "."))?;
            }
            rest = &tail[end..];
        }
    }
    Some(at)
}

fn field_end(text: &str) -> usize {
    let mut escaped = false;
    for (index, c) in text.char_indices() {
        match c {
            '\\' => escaped = true,
            '.' | '[' if !escaped => return index,
            _ => escaped = false,
        }
    }
    text.len()
}

fn closing(text: &str) -> Option<usize> {
    let mut quote = None;
    for (index, c) in text.char_indices() {
        match (quote, c) {
            (None, ']') => return Some(index),
            (None, '"' | '\'') => quote = Some(c),
            (Some(q), c) if q == c => quote = None,
            _ => {}
        }
    }
    None
}

fn index<'a>(value: &'a Value, text: &str) -> Option<&'a Value> {
    if let Some(filter) = text.strip_prefix("?(").and_then(|t| t.strip_suffix(')')) {
        let (path, wanted) = filter.split_once("==")?;
        let path = path.trim().strip_prefix('@')?;
        let wanted = wanted.trim().trim_matches(['"', '\'']);
        return value.as_array()?.iter().find(|item| {
            find(item, path).is_some_and(|found| match found {
                Value::String(text) => text == wanted,
                other => other.to_string().as_str() == wanted,
            })
        });
    }
    match text.trim_matches(['"', '\'']) {
        "*" => value.as_array()?.first(),
        name if name.len() < text.len() => value.get(name),
        number => value.get(number.parse::<usize>().ok()?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_find_values() {
        let object = json!({
            "metadata": {"annotations": {"a.b/c": "x"}},
            "spec": {"hosts": ["h1", "h2"]},
            "status": {"conditions": [{"type": "A", "status": "False"}, {"type": "Ready", "status": "True"}]},
        });
        let cases = [
            (".spec.hosts", Some(json!(["h1", "h2"]))),
            (".spec.hosts[1]", Some(json!("h2"))),
            (".spec.hosts[*]", Some(json!("h1"))),
            ("{.spec.hosts[0]}", Some(json!("h1"))),
            (r#".status.conditions[?(@.type=="Ready")].status"#, Some(json!("True"))),
            (r#".status.conditions[?(@.type=="No")].status"#, None),
            (r".metadata.annotations.a\.b/c", Some(json!("x"))),
            (".metadata.annotations['a.b/c']", Some(json!("x"))),
            (".spec.gateways", None),
        ];
        for (path, expected) in cases {
            assert_eq!(find(&object, path), expected.as_ref(), "{path}");
        }
    }
}
