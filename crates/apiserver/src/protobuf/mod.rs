//! Reading Kubernetes' protobuf encoding, which some of `kubectl`'s commands send.
//!
//! `messages.txt` lists the fields of each message: `number:name:type`, where the type is `s`
//! (string), `b` (bytes), `i` (integer), `t` (bool), `d` (double) or a message, after `*` for a
//! list and `%` for a map from strings. The name `-` means that the fields of the message belong
//! to its owner.

pub mod wire;

use std::{collections::HashMap, sync::OnceLock};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Map, Value};

use wire::{Field, Fields};

const MAGIC: &[u8] = b"k8s\0";
const MAX_DEPTH: usize = 64;
const TABLE: &str = include_str!("messages.txt");

/// Why a body cannot be read.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Not protobuf as Kubernetes frames it.
    #[error("the body is not Kubernetes protobuf")]
    Malformed,
    /// A kind that is not known in this encoding.
    #[error("no protobuf message is known for kind {kind:?} in {api_version:?}; send JSON instead")]
    Unknown {
        /// `apiVersion` of the object.
        api_version: String,
        /// `kind` of the object.
        kind: String,
    },
}

struct FieldType {
    name: &'static str,
    repeated: bool,
    map: bool,
    kind: &'static str,
}

type Message = HashMap<u64, FieldType>;

fn messages() -> &'static HashMap<&'static str, Message> {
    static MESSAGES: OnceLock<HashMap<&str, Message>> = OnceLock::new();
    MESSAGES.get_or_init(|| TABLE.lines().filter_map(message).collect())
}

fn message(line: &'static str) -> Option<(&'static str, Message)> {
    let mut words = line.split(' ');
    let name = words.next()?;
    let fields = words.filter_map(|word| {
        let mut parts = word.splitn(3, ':');
        let (number, name, kind) = (parts.next()?, parts.next()?, parts.next()?);
        let (repeated, map) = (kind.starts_with('*'), kind.starts_with('%'));
        let kind = kind.trim_start_matches(['*', '%']);
        Some((number.parse().ok()?, FieldType { name, repeated, map, kind }))
    });
    Some((name, fields.collect()))
}

/// The object in a request body.
pub fn decode(body: &[u8]) -> Result<Value, Error> {
    let body = body.strip_prefix(MAGIC).ok_or(Error::Malformed)?;
    let (mut api_version, mut kind, mut raw) = (String::new(), String::new(), &[][..]);
    for field in Fields::new(body) {
        match field? {
            (1, Field::Bytes(meta)) => {
                for field in Fields::new(meta) {
                    match field? {
                        (1, Field::Bytes(text)) => api_version = wire::text(text)?,
                        (2, Field::Bytes(text)) => kind = wire::text(text)?,
                        _ => {}
                    }
                }
            }
            (2, Field::Bytes(bytes)) => raw = bytes,
            _ => {}
        }
    }
    let name = message_name(&api_version, &kind);
    let Some(message) = messages().get(name.as_str()) else {
        return Err(Error::Unknown { api_version, kind });
    };
    let mut map = Map::new();
    map.insert("apiVersion".into(), api_version.into());
    map.insert("kind".into(), kind.into());
    read(message, raw, &mut map, MAX_DEPTH)?;
    Ok(Value::Object(map))
}

fn message_name(api_version: &str, kind: &str) -> String {
    if kind == "DeleteOptions" {
        return "meta.v1.DeleteOptions".into();
    }
    let (group, version) = api_version.split_once('/').unwrap_or(("core", api_version));
    format!("{}.{version}.{kind}", group.split('.').next().unwrap_or_default())
}

/// Fields that the encoding carries even where they are not set, and JSON leaves out.
fn is_unset(name: &str, value: &Value) -> bool {
    const NUMBERS: [&str; 11] = [
        "count",
        "failureThreshold",
        "generation",
        "healthCheckNodePort",
        "hostPort",
        "initialDelaySeconds",
        "minReadySeconds",
        "nodePort",
        "observedGeneration",
        "periodSeconds",
        "successThreshold",
    ];
    const SWITCHES: [&str; 10] = [
        "hostIPC",
        "hostNetwork",
        "hostPID",
        "paused",
        "publishNotReadyAddresses",
        "readOnly",
        "stdin",
        "stdinOnce",
        "tty",
        "unschedulable",
    ];
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Number(n) => n.as_i64() == Some(0) && (NUMBERS.contains(&name) || name == "timeoutSeconds"),
        Value::Bool(false) => SWITCHES.contains(&name),
        _ => false,
    }
}

fn read(message: &Message, bytes: &[u8], map: &mut Map<String, Value>, depth: usize) -> Result<(), Error> {
    let depth = depth.checked_sub(1).ok_or(Error::Malformed)?;
    for field in Fields::new(bytes) {
        let (number, field) = field?;
        let Some(kind) = message.get(&number) else { continue };
        if kind.map {
            let (key, value) = entry(kind.kind, &field, depth)?;
            if let Value::Object(entries) = map.entry(kind.name).or_insert_with(|| Value::Object(Map::new())) {
                entries.insert(key, value);
            }
        } else if kind.name == "-" {
            let inner = messages().get(kind.kind).ok_or(Error::Malformed)?;
            read(inner, field.bytes()?, map, depth)?;
        } else if kind.repeated {
            let value = value(kind.kind, &field, depth)?;
            if let Value::Array(items) = map.entry(kind.name).or_insert_with(|| Value::Array(Vec::new())) {
                items.push(value);
            }
        } else {
            let value = value(kind.kind, &field, depth)?;
            if !is_unset(kind.name, &value) {
                map.insert(kind.name.into(), value);
            }
        }
    }
    Ok(())
}

fn entry(kind: &str, field: &Field<'_>, depth: usize) -> Result<(String, Value), Error> {
    let (mut key, mut found) = (String::new(), Value::Null);
    for part in Fields::new(field.bytes()?) {
        match part? {
            (1, Field::Bytes(bytes)) => key = wire::text(bytes)?,
            (2, part) => found = value(kind, &part, depth)?,
            _ => {}
        }
    }
    if found.is_null() && matches!(kind, "s" | "b") {
        found = "".into();
    }
    Ok((key, found))
}

fn value(kind: &str, field: &Field<'_>, depth: usize) -> Result<Value, Error> {
    Ok(match kind {
        "s" => wire::text(field.bytes()?)?.into(),
        "b" => STANDARD.encode(field.bytes()?).into(),
        "i" => field.integer()?.into(),
        "t" => (field.integer()? != 0).into(),
        "d" => f64::from_bits(field.integer()?.cast_unsigned()).into(),
        "meta.v1.Time" => time(field.bytes()?, false)?,
        "meta.v1.MicroTime" => time(field.bytes()?, true)?,
        "resource.Quantity" => strings(field.bytes()?, 1)?.pop().unwrap_or_default().into(),
        "intstr.IntOrString" => int_or_string(field.bytes()?)?,
        "runtime.RawExtension" | "meta.v1.FieldsV1" => raw(field.bytes()?)?,
        "authorization.v1.ExtraValue" | "authentication.v1.ExtraValue" => strings(field.bytes()?, 1)?.into(),
        other => {
            let message = messages().get(other).ok_or(Error::Malformed)?;
            let mut map = Map::new();
            read(message, field.bytes()?, &mut map, depth)?;
            Value::Object(map)
        }
    })
}

fn strings(bytes: &[u8], wanted: u64) -> Result<Vec<String>, Error> {
    let mut all = Vec::new();
    for field in Fields::new(bytes) {
        if let (number, Field::Bytes(text)) = field?
            && number == wanted
        {
            all.push(wire::text(text)?);
        }
    }
    Ok(all)
}

fn time(bytes: &[u8], micro: bool) -> Result<Value, Error> {
    let (mut seconds, mut nanos) = (None, 0);
    for field in Fields::new(bytes) {
        match field? {
            (1, field) => seconds = Some(field.integer()?),
            (2, field) => nanos = field.integer()?,
            _ => {}
        }
    }
    let Some(seconds) = seconds else { return Ok(Value::Null) };
    let nanos = i32::try_from(nanos).map_err(|_| Error::Malformed)?;
    let at = jiff::Timestamp::new(seconds, nanos).map_err(|_| Error::Malformed)?;
    let format = if micro { "%Y-%m-%dT%H:%M:%S.%6fZ" } else { "%Y-%m-%dT%H:%M:%SZ" };
    Ok(at.strftime(format).to_string().into())
}

fn int_or_string(bytes: &[u8]) -> Result<Value, Error> {
    let (mut is_text, mut number, mut text) = (false, 0, String::new());
    for field in Fields::new(bytes) {
        match field? {
            (1, field) => is_text = field.integer()? == 1,
            (2, field) => number = field.integer()?,
            (3, field) => text = wire::text(field.bytes()?)?,
            _ => {}
        }
    }
    Ok(if is_text { text.into() } else { number.into() })
}

fn raw(bytes: &[u8]) -> Result<Value, Error> {
    for field in Fields::new(bytes) {
        if let (1, Field::Bytes(json)) = field? {
            return serde_json::from_slice(json).map_err(|_| Error::Malformed);
        }
    }
    Ok(Value::Null)
}

#[cfg(test)]
mod tests;
