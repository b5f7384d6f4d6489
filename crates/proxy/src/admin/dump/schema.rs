//! The shapes of Envoy's messages, read when `/config_dump` is asked for and forgotten afterwards.

use std::collections::HashMap;
use std::io::Read;

use flate2::read::GzDecoder;
use prost::Message;
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{DescriptorProto, EnumDescriptorProto, FileDescriptorProto};

/// Made by `examples/envoy_schema.rs`.
const SCHEMA: &[u8] = include_bytes!("schema.bin.gz");

/// Message and enum types by full name (with a leading dot).
pub(super) struct Schema {
    messages: HashMap<String, MessageType>,
    enums: HashMap<String, HashMap<i32, String>>,
}

/// One message type.
pub(super) struct MessageType {
    /// Fields by number.
    pub(super) fields: HashMap<u32, Field>,
    /// Whether it is an entry of a map.
    pub(super) is_map_entry: bool,
}

/// One field.
pub(super) struct Field {
    pub(super) name: String,
    pub(super) kind: Type,
    pub(super) repeated: bool,
    /// Full name of its message or enum type.
    pub(super) type_name: String,
}

impl Schema {
    /// Reads what was compiled in.
    pub(super) fn load() -> Schema {
        let mut bytes = Vec::new();
        let read = GzDecoder::new(SCHEMA).read_to_end(&mut bytes);
        let file = read.ok().and_then(|_| FileDescriptorProto::decode(bytes.as_slice()).ok()).unwrap_or_default();
        Schema {
            messages: file.message_type.into_iter().map(message_type).collect(),
            enums: file.enum_type.into_iter().map(enum_type).collect(),
        }
    }

    pub(super) fn message(&self, name: &str) -> Option<&MessageType> {
        self.messages.get(name)
    }

    pub(super) fn enum_value(&self, name: &str, number: i32) -> Option<&str> {
        self.enums.get(name)?.get(&number).map(String::as_str)
    }
}

fn message_type(proto: DescriptorProto) -> (String, MessageType) {
    let is_map_entry = proto.options.as_ref().is_some_and(|options| options.map_entry());
    let fields = proto.field.into_iter().map(|field| {
        let number = u32::try_from(field.number()).unwrap_or_default();
        let (kind, repeated) = (field.r#type(), field.label() == Label::Repeated);
        (
            number,
            Field {
                name: field.name.unwrap_or_default(),
                kind,
                repeated,
                type_name: field.type_name.unwrap_or_default(),
            },
        )
    });
    (proto.name.unwrap_or_default(), MessageType { fields: fields.collect(), is_map_entry })
}

fn enum_type(proto: EnumDescriptorProto) -> (String, HashMap<i32, String>) {
    let values = proto.value.into_iter().map(|value| (value.number(), value.name.unwrap_or_default()));
    (proto.name.unwrap_or_default(), values.collect())
}
