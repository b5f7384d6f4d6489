//! JSON as values, by the schema of a custom resource or without one.

use std::sync::Arc;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::Value as Json;

use super::{
    library::parse_duration,
    value::{Key, Value},
};

/// Words of the language that cannot be names of fields.
const RESERVED: [&str; 21] = [
    "true",
    "false",
    "null",
    "in",
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
    "loop",
    "package",
    "namespace",
    "return",
    "var",
    "void",
    "while",
];

/// A field's name as expressions write it: `a-b` is `a__dash__b`.
pub fn escaped(name: &str) -> String {
    if RESERVED.contains(&name) {
        return format!("__{name}__");
    }
    if !name.contains(['.', '-', '/']) && !name.contains("__") {
        return name.to_owned();
    }
    name.replace("__", "__underscores__").replace('.', "__dot__").replace('-', "__dash__").replace('/', "__slash__")
}

/// JSON without a schema: names stay as they are.
pub fn untyped(json: &Json) -> Value {
    match json {
        Json::Null => Value::Null,
        Json::Bool(b) => Value::Bool(*b),
        Json::Number(_) => number(json),
        Json::String(text) => text.as_str().into(),
        Json::Array(items) => items.iter().map(untyped).collect::<Vec<_>>().into(),
        Json::Object(map) => {
            let entries = map.iter().map(|(key, value)| (Key::Text(key.as_str().into()), untyped(value)));
            Value::Map(Arc::new(entries.collect()))
        }
    }
}

fn number(json: &Json) -> Value {
    match (json.as_i64(), json.as_f64()) {
        (Some(n), _) => Value::Int(n),
        (None, Some(n)) => Value::Double(n),
        (None, None) => Value::Null,
    }
}

/// JSON of a schema, shallow: `inner` makes the values of what is inside.
pub fn typed_with(schema: &Json, json: &Json, root: bool, inner: &mut dyn FnMut(Step<'_>, &Json) -> Value) -> Value {
    match json {
        Json::Object(map) => {
            let properties = schema["properties"].as_object();
            let values = &schema["additionalProperties"];
            let embedded = root || schema["x-kubernetes-embedded-resource"] == true;
            let mut entries = std::collections::BTreeMap::new();
            for (name, value) in map {
                let entry = if embedded && matches!(name.as_str(), "apiVersion" | "kind" | "metadata") {
                    Some((name.clone(), meta(name, value)))
                } else if properties.is_some_and(|p| p.contains_key(name)) {
                    Some((escaped(name), inner(Step::Field(name), value)))
                } else {
                    values.is_object().then(|| (name.clone(), inner(Step::Value(name), value)))
                };
                entries.extend(entry.map(|(name, value)| (Key::Text(name.into()), value)));
            }
            Value::Map(Arc::new(entries))
        }
        Json::Array(items) => {
            items.iter().enumerate().map(|(i, item)| inner(Step::Item(i), item)).collect::<Vec<_>>().into()
        }
        Json::String(text) => string(schema, text),
        Json::Number(_) if schema["type"] == "number" => json.as_f64().map_or(Value::Null, Value::Double),
        #[expect(clippy::cast_possible_truncation, reason = "the schema says that it is whole")]
        Json::Number(n) if schema["type"] == "integer" && !n.is_i64() => {
            json.as_f64().map_or(Value::Null, |n| Value::Int(n as i64))
        }
        other => untyped(other),
    }
}

/// Where in its parent a value is.
#[derive(Clone, Copy)]
pub enum Step<'a> {
    /// A property that the schema names.
    Field(&'a str),
    /// A key of a map.
    Value(&'a str),
    /// An item of a list.
    Item(usize),
}

impl<'a> Step<'a> {
    /// The schema of what is there.
    pub fn schema(self, parent: &'a Json) -> &'a Json {
        match self {
            Self::Field(name) => &parent["properties"][name],
            Self::Value(_) => &parent["additionalProperties"],
            Self::Item(_) => &parent["items"],
        }
    }
}

/// JSON of a schema.
pub fn typed(schema: &Json, json: &Json, root: bool) -> Value {
    typed_with(schema, json, root, &mut |step, value| typed(step.schema(schema), value, false))
}

/// Rules see only the names of an object's metadata.
fn meta(name: &str, value: &Json) -> Value {
    if name != "metadata" {
        return untyped(value);
    }
    let shown = ["name", "generateName"].into_iter().filter_map(|key| Some((key, value.get(key)?)));
    Value::Map(Arc::new(shown.map(|(key, value)| (Key::Text(key.into()), untyped(value))).collect()))
}

fn string(schema: &Json, text: &str) -> Value {
    let special = match schema["format"].as_str() {
        Some("date-time") => text.parse().ok().map(Value::Timestamp),
        Some("date") => format!("{text}T00:00:00Z").parse().ok().map(Value::Timestamp),
        Some("duration") => parse_duration(text).map(Value::Duration),
        Some("byte") => STANDARD.decode(text).ok().map(|bytes| Value::Bytes(bytes.into())),
        _ => None,
    };
    special.unwrap_or_else(|| text.into())
}
