//! Events: what controllers and the node agent tell the user about an object.
//!
//! Recording never waits: events go through a bounded channel to one task that writes them, and
//! repeats of an event become one object with a count.

use std::collections::HashMap;

use jiff::Timestamp;
use lateen_apiserver::{Client, Status, gvr};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::clock::{Clock, stamp};

/// Events that wait to be written; more are dropped.
const WAITING: usize = 1024;
/// Distinct events remembered for counting.
const REMEMBERED: usize = 4096;
/// The longest message kept, as in Kubernetes.
const MESSAGE_LIMIT: usize = 1024;

/// Whether an event is bad news.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Type {
    /// As it should be.
    Normal,
    /// Something is wrong.
    Warning,
}

impl Type {
    fn name(self) -> &'static str {
        match self {
            Self::Normal => "Normal",
            Self::Warning => "Warning",
        }
    }
}

/// Records events in the name of one component. Cheap to clone.
#[derive(Clone)]
pub struct Recorder {
    component: &'static str,
    host: &'static str,
    clock: Clock,
    sender: mpsc::Sender<Note>,
}

impl Recorder {
    /// A recorder whose events are written through `client` by a task of its own, which ends with
    /// the last clone of the recorder.
    #[must_use]
    pub fn start(client: Client, component: &'static str, clock: Clock) -> Self {
        let (sender, receiver) = mpsc::channel(WAITING);
        tokio::spawn(write_all(client, receiver));
        Self { component, host: "", clock, sender }
    }

    /// The same writer in the name of another component.
    #[must_use]
    pub fn component(&self, component: &'static str) -> Self {
        Self { component, ..self.clone() }
    }

    /// The same recorder with the node's name shown as the source's host.
    #[must_use]
    pub fn host(&self, host: &'static str) -> Self {
        Self { host, ..self.clone() }
    }

    /// Say `message` about `object` (which has `apiVersion`, `kind` and `metadata`).
    pub fn record(&self, object: &Value, kind: Type, reason: &str, message: &str) {
        self.record_at(object, None, kind, reason, message);
    }

    /// Say `message` about a part of `object`, such as `spec.containers{app}`.
    pub fn record_at(&self, object: &Value, field_path: Option<&str>, kind: Type, reason: &str, message: &str) {
        let note = Note {
            key: NoteKey {
                object: reference(object, field_path),
                kind,
                reason: reason.to_owned(),
                message: clip(message),
                component: self.component,
                host: self.host,
            },
            at: self.clock.now(),
        };
        if self.sender.try_send(note).is_err() {
            tracing::warn!(reason, message, "event dropped: too many wait to be written");
        }
    }
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct NoteKey {
    /// The `involvedObject`, as text so that it can be hashed.
    object: String,
    kind: Type,
    reason: String,
    message: String,
    component: &'static str,
    host: &'static str,
}

struct Note {
    key: NoteKey,
    at: Timestamp,
}

fn reference(object: &Value, field_path: Option<&str>) -> String {
    let metadata = &object["metadata"];
    let mut reference = json!({
        "kind": object["kind"],
        "namespace": metadata["namespace"],
        "name": metadata["name"],
        "uid": metadata["uid"],
        "apiVersion": object["apiVersion"],
        "resourceVersion": Value::Null,
        "fieldPath": field_path,
    });
    if let Some(map) = reference.as_object_mut() {
        map.retain(|_, v| !v.is_null());
    }
    reference.to_string()
}

fn clip(message: &str) -> String {
    if message.len() <= MESSAGE_LIMIT {
        return message.to_owned();
    }
    let mut end = MESSAGE_LIMIT - 3;
    while !message.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}...", &message[..end])
}

/// What was written for a note before.
struct Written {
    namespace: String,
    name: String,
    count: i64,
}

struct Writer {
    client: Client,
    written: HashMap<NoteKey, Written>,
    /// The last number used in a name; numbers only grow.
    last: u64,
}

async fn write_all(client: Client, mut notes: mpsc::Receiver<Note>) {
    let mut writer = Writer { client, written: HashMap::new(), last: 0 };
    while let Some(note) = notes.recv().await {
        if writer.written.len() >= REMEMBERED {
            writer.written.clear();
        }
        if let Err(error) = writer.write(note).await {
            tracing::debug!(%error, "could not write an event");
        }
    }
}

impl Writer {
    async fn write(&mut self, note: Note) -> Result<(), Status> {
        if let Some(before) = self.written.get_mut(&note.key) {
            match count_again(&self.client, before, note.at).await {
                Ok(()) => return Ok(()),
                Err(status) if status.code == 404 => {}
                Err(status) => return Err(status),
            }
        }
        let time = u64::try_from(note.at.as_nanosecond()).unwrap_or(0);
        self.last = time.max(self.last + 1);
        let made = self.client.create(&gvr::EVENTS, "", event(&note, self.last)).await?;
        let text = |field: &str| made["metadata"][field].as_str().unwrap_or_default().to_owned();
        let before = Written { namespace: text("namespace"), name: text("name"), count: 1 };
        self.written.insert(note.key, before);
        Ok(())
    }
}

async fn count_again(client: &Client, before: &mut Written, at: Timestamp) -> Result<(), Status> {
    let event = client.get(&gvr::EVENTS, &before.namespace, &before.name).await?;
    let mut event = Value::clone(&event);
    event["count"] = (before.count + 1).into();
    event["lastTimestamp"] = stamp(at).into();
    client.update(&gvr::EVENTS, &before.namespace, event).await?;
    before.count += 1;
    Ok(())
}

fn event(note: &Note, number: u64) -> Value {
    let object: Value = serde_json::from_str(&note.key.object).unwrap_or_default();
    let namespace = object["namespace"].as_str().unwrap_or("default");
    let name = object["name"].as_str().unwrap_or("unknown");
    let mut event = json!({
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": format!("{name}.{number:016x}"), "namespace": namespace},
        "involvedObject": object,
        "reason": note.key.reason,
        "message": note.key.message,
        "source": {"component": note.key.component},
        "firstTimestamp": stamp(note.at),
        "lastTimestamp": stamp(note.at),
        "count": 1,
        "type": note.key.kind.name(),
        "reportingComponent": note.key.component,
        "reportingInstance": note.key.host,
    });
    if !note.key.host.is_empty() {
        event["source"]["host"] = note.key.host.into();
    }
    event
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_names_its_object_its_source_and_its_time() {
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": "p", "namespace": "n", "uid": "u"},
        });
        let note = Note {
            key: NoteKey {
                object: reference(&pod, Some("spec.containers{c}")),
                kind: Type::Warning,
                reason: "BackOff".into(),
                message: clip("Back-off restarting failed container"),
                component: "kubelet",
                host: "lateen",
            },
            at: Timestamp::from_second(1).unwrap(),
        };
        let event = event(&note, 1);
        assert_eq!(event["metadata"]["namespace"], "n");
        assert_eq!(event["involvedObject"]["fieldPath"], "spec.containers{c}");
        assert_eq!(event["involvedObject"]["uid"], "u");
        assert_eq!(event["source"], json!({"component": "kubelet", "host": "lateen"}));
        assert_eq!(event["type"], "Warning");
        assert_eq!(event["firstTimestamp"], "1970-01-01T00:00:01Z");
    }

    #[test]
    fn events_of_cluster_wide_objects_live_in_the_default_namespace() {
        let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "lateen"}});
        let note = Note {
            key: NoteKey {
                object: reference(&node, None),
                kind: Type::Normal,
                reason: "Starting".into(),
                message: String::new(),
                component: "kubelet",
                host: "",
            },
            at: Timestamp::UNIX_EPOCH,
        };
        assert_eq!(event(&note, 1)["metadata"]["namespace"], "default");
    }

    #[test]
    fn long_messages_are_cut_at_a_character() {
        let clipped = clip(&"ä".repeat(1000));
        assert!(clipped.len() <= MESSAGE_LIMIT && clipped.ends_with("..."));
    }
}
