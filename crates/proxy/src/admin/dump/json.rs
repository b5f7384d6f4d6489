//! Protobuf messages as JSON, as Envoy writes them: field names as in the definitions, enums by name, durations and
//! wrapped values as plain ones.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use prost_types::field_descriptor_proto::Type;
use serde_json::{Map, Value, json};

use super::schema::{Field, MessageType, Schema};
use super::wire::{Fields, Wire, take, varint};

/// Messages nested deeper than this are left out.
const MAX_DEPTH: usize = 100;
/// What private keys and passwords are replaced by.
const REDACTED: &str = "[redacted]";
/// Fields of [`SECRET_TYPES`] that are shown; everything else of them is hidden.
const SECRET_TYPES: [&str; 3] = [
    ".envoy.extensions.transport_sockets.tls.v3.TlsCertificate",
    ".envoy.extensions.transport_sockets.tls.v3.TlsSessionTicketKeys",
    ".envoy.extensions.transport_sockets.tls.v3.GenericSecret",
];
const PUBLIC_FIELDS: [&str; 2] = ["certificate_chain", "ocsp_staple"];

impl Schema {
    /// A message of a known type, given by its type URL; what is not known is shown as base64.
    pub(super) fn any(&self, type_url: &str, bytes: &[u8], depth: usize) -> Value {
        let name = type_url.rsplit('/').next().unwrap_or(type_url);
        let mut fields = Map::new();
        fields.insert("@type".into(), json!(type_url));
        match self.message(&format!(".{name}")) {
            Some(kind) => match self.value(&format!(".{name}"), kind, bytes, depth) {
                Value::Object(more) => fields.extend(more),
                plain => drop(fields.insert("value".into(), plain)),
            },
            None => drop(fields.insert("value".into(), json!(STANDARD.encode(bytes)))),
        }
        Value::Object(fields)
    }

    fn value(&self, name: &str, kind: &MessageType, bytes: &[u8], depth: usize) -> Value {
        if depth > MAX_DEPTH {
            return Value::Null;
        }
        match name {
            ".google.protobuf.Any" => self.packed(bytes, depth),
            ".google.protobuf.Duration" => duration(bytes),
            ".google.protobuf.Timestamp" => timestamp(bytes),
            ".google.protobuf.Struct" => Value::Object(self.members(kind, bytes, depth, 1)),
            ".google.protobuf.Value" => self.dynamic(kind, bytes, depth),
            ".google.protobuf.ListValue" => self.list(kind, bytes, depth),
            _ if name.starts_with(".google.protobuf.") && name.ends_with("Value") => self.wrapped(kind, bytes, depth),
            _ => Value::Object(self.object(name, kind, bytes, depth)),
        }
    }

    fn object(&self, name: &str, kind: &MessageType, bytes: &[u8], depth: usize) -> Map<String, Value> {
        let secret = SECRET_TYPES.contains(&name);
        let mut object = Map::new();
        for (number, wire) in Fields(bytes) {
            let Some(field) = kind.fields.get(&number) else { continue };
            if secret && !PUBLIC_FIELDS.contains(&field.name.as_str()) {
                object.insert(field.name.clone(), json!(REDACTED));
                continue;
            }
            self.add(&mut object, field, wire, depth);
        }
        object
    }

    fn add(&self, object: &mut Map<String, Value>, field: &Field, wire: Wire<'_>, depth: usize) {
        if let Some(entry) = self.message(&field.type_name).filter(|entry| entry.is_map_entry) {
            let Wire::Bytes(bytes) = wire else { return };
            let (key, value) = self.entry(entry, bytes, depth);
            let map = object.entry(field.name.clone()).or_insert_with(|| json!({}));
            map[key] = value;
            return;
        }
        if !field.repeated {
            object.insert(field.name.clone(), self.scalar(field, wire, depth));
            return;
        }
        let list = object.entry(field.name.clone()).or_insert_with(|| json!([]));
        let Some(list) = list.as_array_mut() else { return };
        match wire {
            Wire::Bytes(bytes) if is_packable(field.kind) => {
                list.extend(unpack(field.kind, bytes).map(|wire| self.scalar(field, wire, depth)));
            }
            wire => list.push(self.scalar(field, wire, depth)),
        }
    }

    fn entry(&self, kind: &MessageType, bytes: &[u8], depth: usize) -> (String, Value) {
        let (mut key, mut value) = (String::new(), Value::Null);
        for (number, wire) in Fields(bytes) {
            let Some(field) = kind.fields.get(&number) else { continue };
            let found = self.scalar(field, wire, depth);
            match number {
                1 => key = found.as_str().map_or_else(|| found.to_string(), str::to_owned),
                _ => value = found,
            }
        }
        (key, value)
    }

    fn scalar(&self, field: &Field, wire: Wire<'_>, depth: usize) -> Value {
        match (field.kind, wire) {
            (Type::Bool, Wire::Varint(n)) => json!(n != 0),
            (Type::Enum, Wire::Varint(n)) => {
                let name = self.enum_value(&field.type_name, n as i32);
                name.map_or_else(|| json!(n), |name| json!(name))
            }
            (Type::Int32, Wire::Varint(n)) => json!(n as i32),
            (Type::Uint32, Wire::Varint(n)) => json!(n),
            // JSON's numbers are too small for these.
            (Type::Int64, Wire::Varint(n)) => json!((n as i64).to_string()),
            (Type::Uint64, Wire::Varint(n)) => json!(n.to_string()),
            (Type::Sint32 | Type::Sint64, Wire::Varint(n)) => json!((n >> 1) as i64 ^ -((n & 1) as i64)),
            (Type::Double, Wire::Fixed64(n)) => json!(f64::from_bits(n)),
            (_, Wire::Fixed64(n)) => json!(n.to_string()),
            (Type::Float, Wire::Fixed32(n)) => json!(f32::from_bits(n)),
            (_, Wire::Fixed32(n)) => json!(n),
            (Type::String, Wire::Bytes(bytes)) => json!(String::from_utf8_lossy(bytes)),
            (Type::Message, Wire::Bytes(bytes)) => match self.message(&field.type_name) {
                Some(kind) => self.value(&field.type_name, kind, bytes, depth + 1),
                None => Value::Null,
            },
            (_, Wire::Bytes(bytes)) => json!(STANDARD.encode(bytes)),
            (_, Wire::Varint(n)) => json!(n),
        }
    }

    fn packed(&self, bytes: &[u8], depth: usize) -> Value {
        let (mut type_url, mut value): (&str, &[u8]) = ("", &[]);
        for (number, wire) in Fields(bytes) {
            match (number, wire) {
                (1, Wire::Bytes(text)) => type_url = std::str::from_utf8(text).unwrap_or_default(),
                (2, Wire::Bytes(bytes)) => value = bytes,
                _ => {}
            }
        }
        self.any(type_url, value, depth + 1)
    }

    fn members(&self, kind: &MessageType, bytes: &[u8], depth: usize, number: u32) -> Map<String, Value> {
        let entry = kind.fields.get(&number).and_then(|field| self.message(&field.type_name));
        let Some(entry) = entry else { return Map::new() };
        let entries = Fields(bytes).filter_map(|(_, wire)| match wire {
            Wire::Bytes(bytes) => Some(self.entry(entry, bytes, depth)),
            _ => None,
        });
        entries.collect()
    }

    /// The one field that is set is the value.
    fn dynamic(&self, kind: &MessageType, bytes: &[u8], depth: usize) -> Value {
        match Fields(bytes).last() {
            // `null_value`
            None | Some((1, _)) => Value::Null,
            Some((number, wire)) => {
                kind.fields.get(&number).map_or(Value::Null, |field| self.scalar(field, wire, depth))
            }
        }
    }

    fn list(&self, kind: &MessageType, bytes: &[u8], depth: usize) -> Value {
        let items =
            Fields(bytes).filter_map(|(number, wire)| Some(self.scalar(kind.fields.get(&number)?, wire, depth)));
        Value::Array(items.collect())
    }

    fn wrapped(&self, kind: &MessageType, bytes: &[u8], depth: usize) -> Value {
        let Some(field) = kind.fields.get(&1) else { return Value::Null };
        match Fields(bytes).last() {
            Some((_, wire)) => self.scalar(field, wire, depth),
            None => match field.kind {
                Type::Bool => json!(false),
                Type::String | Type::Bytes => json!(""),
                _ => json!(0),
            },
        }
    }
}

fn is_packable(kind: Type) -> bool {
    !matches!(kind, Type::String | Type::Bytes | Type::Message | Type::Group)
}

fn unpack(kind: Type, mut bytes: &[u8]) -> impl Iterator<Item = Wire<'static>> {
    std::iter::from_fn(move || match kind {
        Type::Double | Type::Fixed64 | Type::Sfixed64 => take(&mut bytes).map(|b| Wire::Fixed64(u64::from_le_bytes(b))),
        Type::Float | Type::Fixed32 | Type::Sfixed32 => take(&mut bytes).map(|b| Wire::Fixed32(u32::from_le_bytes(b))),
        _ => varint(&mut bytes).map(Wire::Varint),
    })
}

fn seconds_and_nanos(bytes: &[u8]) -> (i64, i32) {
    let (mut seconds, mut nanos) = (0, 0);
    for (number, wire) in Fields(bytes) {
        match (number, wire) {
            (1, Wire::Varint(n)) => seconds = n as i64,
            (2, Wire::Varint(n)) => nanos = n as i32,
            _ => {}
        }
    }
    (seconds, nanos)
}

fn duration(bytes: &[u8]) -> Value {
    let (seconds, nanos) = seconds_and_nanos(bytes);
    if nanos == 0 {
        return json!(format!("{seconds}s"));
    }
    let sign = if seconds < 0 || nanos < 0 { "-" } else { "" };
    let fraction = format!("{:09}", nanos.unsigned_abs());
    json!(format!("{sign}{}.{}s", seconds.unsigned_abs(), fraction.trim_end_matches('0')))
}

fn timestamp(bytes: &[u8]) -> Value {
    let (seconds, nanos) = seconds_and_nanos(bytes);
    jiff::Timestamp::new(seconds, nanos).map_or(Value::Null, |moment| json!(moment.to_string()))
}
