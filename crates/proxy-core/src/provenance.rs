//! Which object a resource was made from, as its metadata says.

use std::collections::HashMap;
use std::sync::Arc;

use lateen_api::envoy::envoy::config::core::v3::Metadata;
use lateen_api::envoy::google::protobuf::{Struct, Value, value::Kind};

/// The object that configured a resource (`/apis/networking.istio.io/v1/namespaces/default/virtual-service/reviews`).
pub type Provenance = Option<Arc<str>>;

/// Reads the object's name from `filter_metadata.istio.config`.
pub fn provenance(metadata: Option<&Metadata>) -> Provenance {
    text(metadata?.filter_metadata.get("istio")?, "config").map(Into::into)
}

/// The text at `key`, when there is one.
pub fn text<'a>(fields: &'a Struct, key: &str) -> Option<&'a str> {
    as_text(fields.fields.get(key)?)
}

/// A value as text.
pub fn as_text(value: &Value) -> Option<&str> {
    match value.kind.as_ref()? {
        Kind::StringValue(text) => Some(text),
        _ => None,
    }
}

/// The number at `key`, when there is one.
pub fn number(fields: &Struct, key: &str) -> Option<f64> {
    match fields.fields.get(key)?.kind.as_ref()? {
        Kind::NumberValue(number) => Some(*number),
        _ => None,
    }
}

/// The list at `key`; empty when there is none.
pub fn list<'a>(fields: &'a Struct, key: &str) -> &'a [Value] {
    match fields.fields.get(key).and_then(|value| value.kind.as_ref()) {
        Some(Kind::ListValue(list)) => &list.values,
        _ => &[],
    }
}

/// The struct at `key`, when there is one.
pub fn fields<'a>(parent: &'a Struct, key: &str) -> Option<&'a Struct> {
    as_struct(parent.fields.get(key)?)
}

/// A value as struct.
pub fn as_struct(value: &Value) -> Option<&Struct> {
    match value.kind.as_ref()? {
        Kind::StructValue(inner) => Some(inner),
        _ => None,
    }
}

/// The flat text entries of a struct; numbers and booleans as text.
pub fn flat(fields: &Struct) -> HashMap<Arc<str>, Arc<str>> {
    fields
        .fields
        .iter()
        .filter_map(|(key, value)| {
            let text: Arc<str> = match value.kind.as_ref()? {
                Kind::StringValue(text) => text.as_str().into(),
                Kind::NumberValue(number) => number.to_string().into(),
                Kind::BoolValue(flag) => flag.to_string().into(),
                _ => return None,
            };
            Some((key.as_str().into(), text))
        })
        .collect()
}
