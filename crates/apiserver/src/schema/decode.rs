//! Reading objects strictly: duplicate fields, unknown fields, values of the wrong type.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use super::builtin::definition;
use crate::cel::{NO_QUANTITY, canonical_quantity};

const OBJECT_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";
const QUANTITY: &str = "io.k8s.apimachinery.pkg.api.resource.Quantity";
const REF_PREFIX: &str = "#/components/schemas/";
const MAX_REPORTED: usize = 64;

/// What decoding an object found.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Paths of fields that the schema doesn't know; they are dropped.
    pub unknown: Vec<String>,
    /// Paths of fields that occur twice; the last one counts.
    pub duplicate: Vec<String>,
    /// The first value of a wrong type, in the words of Kubernetes' decoder.
    pub mistyped: Option<String>,
}

impl Report {
    /// The texts of strict decoding: `unknown field "spec.foo"`.
    pub fn strict(&self) -> Vec<String> {
        let duplicate = self.duplicate.iter().map(|p| format!("duplicate field {p:?}"));
        duplicate.chain(self.unknown.iter().map(|p| format!("unknown field {p:?}"))).collect()
    }

    fn mistyped(&mut self, found: &Value, field: &str, wanted: &str) {
        if self.mistyped.is_none() {
            let found = go_kind(found);
            self.mistyped =
                Some(format!("json: cannot unmarshal {found} into Go struct field {field} of type {wanted}"));
        }
    }
}

fn go_kind(value: &Value) -> String {
    match value {
        Value::Null => "null".into(),
        Value::Bool(_) => "bool".into(),
        Value::Number(n) if n.is_f64() => format!("number {n}"),
        Value::Number(_) => "number".into(),
        Value::String(_) => "string".into(),
        Value::Array(_) => "array".into(),
        Value::Object(_) => "object".into(),
    }
}

pub fn builtin(name: &str, object: &mut Value) -> Report {
    let mut report = Report::default();
    if let Some(schema) = definition(name) {
        let at = Place { path: String::new(), owner: short(name) };
        walk(schema, object, &at, &mut report);
    }
    report
}

pub fn custom(schema: &Value, object: &mut Value) -> Report {
    let mut report = Report::default();
    let Value::Object(map) = object else {
        return report;
    };
    let mut taken: Vec<(String, Value)> = Vec::new();
    for key in ["apiVersion", "kind", "metadata"] {
        if let Some(value) = map.get_mut(key) {
            taken.push((key.to_owned(), value.take()));
        }
    }
    if let Some((_, metadata)) = taken.iter_mut().find(|(key, _)| key == "metadata")
        && let Some(schema) = definition(OBJECT_META)
    {
        let at = Place { path: "metadata".into(), owner: "ObjectMeta" };
        walk(schema, metadata, &at, &mut report);
    }
    let mut rest: Map<String, Value> =
        map.iter_mut().filter(|(k, _)| !is_root_field(k)).map(|(k, v)| (k.clone(), v.take())).collect();
    prune_map(schema, &mut rest, "", &mut report);
    *map = taken.into_iter().chain(rest).collect();
    report
}

fn is_root_field(key: &str) -> bool {
    matches!(key, "apiVersion" | "kind" | "metadata")
}

struct Place<'a> {
    path: String,
    owner: &'a str,
}

impl Place<'_> {
    fn field(&self) -> String {
        format!("{}.{}", self.owner, self.path)
    }
}

fn short(name: &str) -> &str {
    name.rsplit('.').next().unwrap_or(name)
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

fn resolve(schema: &Value) -> (&Value, Option<&str>) {
    match schema["$ref"].as_str().and_then(|r| r.strip_prefix(REF_PREFIX)) {
        Some(name) => (definition(name).unwrap_or(schema), Some(name)),
        None => (schema, None),
    }
}

fn walk(schema: &Value, value: &mut Value, at: &Place<'_>, report: &mut Report) {
    let (schema, name) = resolve(schema);
    let owner = name.map_or(at.owner, short);
    // Any JSON; its schema claims an object.
    if owner == "JSON" {
        return;
    }
    if name == Some(QUANTITY) {
        return quantity(value, at, report);
    }
    if schema["x-kubernetes-int-or-string"] == true {
        if !(value.is_string() || value.is_number()) {
            report.mistyped(value, &at.field(), "intstr.IntOrString");
        }
        return;
    }
    match schema["type"].as_str() {
        Some("object") => walk_object(schema, value, &at.path, owner, report),
        Some("array") => match value {
            Value::Array(items) => {
                let schema = &schema["items"];
                for (index, item) in items.iter_mut().enumerate() {
                    let path = format!("{}[{index}]", at.path);
                    walk(schema, item, &Place { path, owner }, report);
                }
            }
            other => report.mistyped(other, &at.field(), &go_type(schema)),
        },
        Some(_) => scalar(schema, value, at, report),
        None => {}
    }
}

/// Amounts may be written as numbers and in many ways; they are kept as text, in one.
fn quantity(value: &mut Value, at: &Place<'_>, report: &mut Report) {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        other => return report.mistyped(other, &at.field(), "resource.Quantity"),
    };
    match canonical_quantity(text.trim()) {
        Some(text) => *value = text.into(),
        None => {
            report.mistyped.get_or_insert_with(|| NO_QUANTITY.to_owned());
        }
    }
}

fn walk_object(schema: &Value, value: &mut Value, path: &str, owner: &str, report: &mut Report) {
    let Value::Object(map) = value else {
        let at = Place { path: path.to_owned(), owner };
        report.mistyped(value, &at.field(), owner);
        return;
    };
    let properties = schema["properties"].as_object();
    let values = &schema["additionalProperties"];
    if properties.is_none() && values.is_null() {
        return;
    }
    let mut unknown = Vec::new();
    map.retain(|key, child| {
        let schema = properties.and_then(|p| p.get(key));
        let Some(schema) = schema.or_else(|| values.is_object().then_some(values)) else {
            unknown.push(join(path, key));
            return false;
        };
        if child.is_null() {
            return false;
        }
        walk(schema, child, &Place { path: join(path, key), owner }, report);
        true
    });
    unknown.truncate(MAX_REPORTED.saturating_sub(report.unknown.len()));
    report.unknown.extend(unknown);
}

fn go_type(schema: &Value) -> String {
    let (schema, name) = resolve(schema);
    if let Some(name) = name {
        return format!("v1.{}", short(name));
    }
    match (schema["type"].as_str(), schema["format"].as_str()) {
        (Some("array"), _) => format!("[]{}", go_type(&schema["items"])),
        (Some("integer"), format) => format.unwrap_or("int64").to_owned(),
        (Some("number"), _) => "float64".into(),
        (Some("boolean"), _) => "bool".into(),
        (Some("object"), _) => format!("map[string]{}", go_type(&schema["additionalProperties"])),
        (Some(other), _) => other.to_owned(),
        (None, _) => "interface {}".into(),
    }
}

fn scalar(schema: &Value, value: &Value, at: &Place<'_>, report: &mut Report) {
    let fits = match (schema["type"].as_str(), value) {
        (Some("string"), Value::String(_)) | (Some("boolean"), Value::Bool(_)) => true,
        (Some("integer"), Value::Number(n)) => {
            n.as_i64().is_some_and(|n| schema["format"] != "int32" || i32::try_from(n).is_ok())
        }
        (Some("number"), Value::Number(_)) => true,
        _ => false,
    };
    if !fits {
        return report.mistyped(value, &at.field(), &go_type(schema));
    }
    let (Value::String(text), None) = (value, &report.mistyped) else {
        return;
    };
    match schema["format"].as_str() {
        Some("byte") => {
            use base64::Engine;
            if base64::engine::general_purpose::STANDARD.decode(text).is_err() {
                report.mistyped = Some(format!("{}: illegal base64 data", at.path));
            }
        }
        Some("date-time") if text.parse::<jiff::Timestamp>().is_err() => {
            report.mistyped =
                Some(format!("parsing time {text:?} as \"2006-01-02T15:04:05Z07:00\": cannot parse {text:?}"));
        }
        _ => {}
    }
}

fn prune(schema: &Value, value: &mut Value, path: &str, report: &mut Report) {
    match value {
        Value::Object(map) if schema["x-kubernetes-embedded-resource"] == true => {
            let own: Vec<_> = ["apiVersion", "kind", "metadata"]
                .into_iter()
                .filter_map(|key| map.shift_remove(key).map(|value| (key.to_owned(), value)))
                .collect();
            prune_map(schema, map, path, report);
            *map = own.into_iter().chain(std::mem::take(map)).collect();
        }
        Value::Object(map) => prune_map(schema, map, path, report),
        Value::Array(items) => {
            for (index, item) in items.iter_mut().enumerate() {
                prune(&schema["items"], item, &format!("{path}[{index}]"), report);
            }
        }
        _ => {}
    }
}

fn prune_map(schema: &Value, map: &mut Map<String, Value>, path: &str, report: &mut Report) {
    let preserve = schema["x-kubernetes-preserve-unknown-fields"] == true;
    let properties = schema["properties"].as_object();
    let values = &schema["additionalProperties"];
    map.retain(|key, child| {
        let known = properties.and_then(|p| p.get(key)).or_else(|| values.is_object().then_some(values));
        match known {
            Some(schema) => prune(schema, child, &join(path, key), report),
            None if preserve || *values == true => {}
            None => {
                if report.unknown.len() < MAX_REPORTED {
                    report.unknown.push(join(path, key));
                }
                return false;
            }
        }
        true
    });
}

/// Parses JSON and lists fields that occur twice in the same object.
pub fn parse_json(body: &[u8]) -> Result<(Value, Vec<String>), serde_json::Error> {
    let mut duplicates = Vec::new();
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    let seed = Strict { path: String::new(), duplicates: &mut duplicates };
    let value = seed.deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok((value, duplicates))
}

struct Strict<'a> {
    path: String,
    duplicates: &'a mut Vec<String>,
}

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }
    fn visit_bool<E>(self, v: bool) -> Result<Value, E> {
        Ok(v.into())
    }
    fn visit_i64<E>(self, v: i64) -> Result<Value, E> {
        Ok(v.into())
    }
    fn visit_u64<E>(self, v: u64) -> Result<Value, E> {
        Ok(v.into())
    }
    fn visit_f64<E>(self, v: f64) -> Result<Value, E> {
        Ok(v.into())
    }
    fn visit_str<E>(self, v: &str) -> Result<Value, E> {
        Ok(v.into())
    }
    fn visit_string<E>(self, v: String) -> Result<Value, E> {
        Ok(v.into())
    }
    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        loop {
            let path = format!("{}[{}]", self.path, items.len());
            let seed = Strict { path, duplicates: &mut *self.duplicates };
            match seq.next_element_seed(seed)? {
                Some(item) => items.push(item),
                None => return Ok(Value::Array(items)),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(key) = access.next_key::<String>()? {
            let path = join(&self.path, &key);
            if map.contains_key(&key) && self.duplicates.len() < MAX_REPORTED {
                self.duplicates.push(path.clone());
            }
            let value = access.next_value_seed(Strict { path, duplicates: &mut *self.duplicates })?;
            map.insert(key, value);
        }
        Ok(Value::Object(map))
    }
}
