//! The difference between two documents as a JSON Patch (RFC 6902), the answer of a mutating webhook.

use serde_json::{Value, json};

/// The operations that turn `from` into `to`.
pub fn patch(from: &Value, to: &Value) -> Vec<Value> {
    let mut operations = Vec::new();
    diff(from, to, &mut String::new(), &mut operations);
    operations
}

fn diff(from: &Value, to: &Value, path: &mut String, operations: &mut Vec<Value>) {
    match (from, to) {
        _ if from == to => {}
        (Value::Object(old), Value::Object(new)) => {
            for name in old.keys().filter(|name| !new.contains_key(*name)) {
                at(path, name, |path| operations.push(json!({ "op": "remove", "path": path })));
            }
            for (name, value) in new {
                at(path, name, |path| match old.get(name) {
                    Some(present) => diff(present, value, path, operations),
                    None => operations.push(json!({ "op": "add", "path": path, "value": value })),
                });
            }
        }
        // Items appended to a list leave the others alone; any other change of a list replaces it.
        (Value::Array(old), Value::Array(new)) if new.starts_with(old) => {
            for item in &new[old.len()..] {
                at(path, "-", |path| operations.push(json!({ "op": "add", "path": path, "value": item })));
            }
        }
        (Value::Array(old), Value::Array(new)) if old.len() == new.len() => {
            for (index, (old, new)) in old.iter().zip(new).enumerate() {
                at(path, &index.to_string(), |path| diff(old, new, path, operations));
            }
        }
        _ => operations.push(json!({ "op": "replace", "path": path, "value": to })),
    }
}

/// Runs `action` with the path of the child `name`.
fn at(path: &mut String, name: &str, action: impl FnOnce(&mut String)) {
    let length = path.len();
    path.push('/');
    path.push_str(&name.replace('~', "~0").replace('/', "~1"));
    action(path);
    path.truncate(length);
}
