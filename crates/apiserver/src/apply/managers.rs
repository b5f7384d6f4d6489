//! `metadata.managedFields`: who set which fields.

use serde_json::{Map, Value, json};

use super::fields::FieldSet;
use crate::clock;

const MAX_UPDATERS: usize = 10;
const ANCIENT: &str = "ancient-changes";

/// Who writes, and how.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Writer {
    /// `fieldManager`, or the beginning of the user agent.
    pub manager: String,
    /// `v1` or `group/v1` of the request.
    pub api_version: String,
    /// Such as `status`; empty for the object itself.
    pub subresource: String,
}

/// How a manager came to its fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    /// It applied a configuration.
    Apply,
    /// It created, replaced or patched.
    Update,
}

/// One manager's fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Who, in which version, through what.
    pub writer: Writer,
    /// How.
    pub operation: Operation,
    /// Which fields.
    pub fields: FieldSet,
    time: String,
}

impl Entry {
    /// An entry as of now.
    pub fn new(writer: Writer, operation: Operation, fields: FieldSet) -> Self {
        Self { writer, operation, fields, time: clock::now() }
    }

    fn parse(value: &Value) -> Option<Self> {
        let text = |key: &str| value[key].as_str().unwrap_or_default().to_owned();
        let operation = match value["operation"].as_str()? {
            "Apply" => Operation::Apply,
            "Update" => Operation::Update,
            _ => return None,
        };
        let writer =
            Writer { manager: text("manager"), api_version: text("apiVersion"), subresource: text("subresource") };
        Some(Self { writer, operation, fields: FieldSet::from_json(&value["fieldsV1"]), time: text("time") })
    }

    fn to_json(&self) -> Value {
        let operation = if self.operation == Operation::Apply { "Apply" } else { "Update" };
        let mut map = Map::new();
        map.insert("manager".into(), self.writer.manager.as_str().into());
        map.insert("operation".into(), operation.into());
        map.insert("apiVersion".into(), self.writer.api_version.as_str().into());
        if !self.time.is_empty() {
            map.insert("time".into(), self.time.as_str().into());
        }
        map.insert("fieldsType".into(), "FieldsV1".into());
        map.insert("fieldsV1".into(), self.fields.to_json());
        if !self.writer.subresource.is_empty() {
            map.insert("subresource".into(), self.writer.subresource.as_str().into());
        }
        Value::Object(map)
    }

    /// Whether this is the entry of a writer. Who applies has one entry for all versions.
    pub fn is_of(&self, writer: &Writer, operation: Operation) -> bool {
        let same = self.writer.manager == writer.manager && self.writer.subresource == writer.subresource;
        let version = operation == Operation::Apply || self.writer.api_version == writer.api_version;
        self.operation == operation && same && version
    }

    /// For messages: `"kubectl-edit" using apps/v1 at 2024-01-01T00:00:00Z`.
    pub fn shown(&self) -> String {
        let mut text = format!("{:?}", self.writer.manager);
        if !self.writer.subresource.is_empty() {
            text = format!("{text} with subresource {:?}", self.writer.subresource);
        }
        if self.operation == Operation::Update {
            text = format!("{text} using {}", self.writer.api_version);
            if !self.time.is_empty() {
                text = format!("{text} at {}", self.time);
            }
        }
        text
    }

    /// Takes other fields; the time says when they last changed.
    pub fn replace(&mut self, fields: FieldSet) {
        if self.fields != fields {
            self.fields = fields;
            self.time = clock::now();
        }
    }
}

/// The managers of an object.
pub fn read(object: &Value) -> Vec<Entry> {
    object["metadata"]["managedFields"].as_array().into_iter().flatten().filter_map(Entry::parse).collect()
}

/// `metadata.managedFields` of these managers, in Kubernetes' order.
pub fn write(mut entries: Vec<Entry>) -> Value {
    entries.retain(|entry| !entry.fields.is_empty());
    cap(&mut entries);
    entries.sort_by(|a, b| {
        let key = |e: &Entry| {
            let Writer { manager, api_version, subresource } = e.writer.clone();
            (e.operation, e.time.clone(), manager, api_version, subresource)
        };
        key(a).cmp(&key(b))
    });
    entries.iter().map(Entry::to_json).collect::<Vec<_>>().into()
}

/// Too many that update: the oldest become one.
fn cap(entries: &mut Vec<Entry>) {
    let updaters = |entries: &[Entry]| {
        let mut updaters: Vec<usize> =
            (0..entries.len()).filter(|i| entries[*i].operation == Operation::Update).collect();
        updaters.sort_by(|a, b| entries[*a].time.cmp(&entries[*b].time));
        updaters
    };
    while let [oldest, second, ..] = *updaters(entries)
        && updaters(entries).len() > MAX_UPDATERS
    {
        let (first, last) = (oldest.min(second), oldest.max(second));
        let other = entries.remove(last);
        entries[first].fields.unite(&other.fields);
        entries[first].writer.manager = ANCIENT.into();
        entries[first].writer.subresource = String::new();
    }
}

/// Whether a client asks to forget all managers: `[]` or `[{}]`.
pub fn is_reset(metadata: &Value) -> bool {
    match metadata["managedFields"].as_array().map(Vec::as_slice) {
        Some([]) => true,
        Some([one]) => *one == json!({}),
        _ => false,
    }
}
