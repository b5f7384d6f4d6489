//! What was received, as received: for `/config_dump`.

use std::collections::BTreeMap;
use std::time::SystemTime;

use bytes::Bytes;

/// One resource in use.
#[derive(Clone, Debug)]
pub struct HeldResource {
    /// Its version.
    pub version: String,
    /// The encoded message.
    pub bytes: Bytes,
    /// When it was taken.
    pub updated: SystemTime,
    /// Why a newer version was refused, if one was.
    pub refused: Option<String>,
}

/// Resources in use, by type and name.
#[derive(Debug, Default)]
pub struct Held(BTreeMap<String, BTreeMap<String, HeldResource>>);

impl Held {
    /// Takes a resource.
    pub(super) fn insert(&mut self, type_url: &str, name: String, version: String, bytes: Bytes, now: SystemTime) {
        let resource = HeldResource { version, bytes, updated: now, refused: None };
        self.0.entry(type_url.to_owned()).or_default().insert(name, resource);
    }

    /// Notes why a newer version was refused.
    pub(super) fn refuse(&mut self, type_url: &str, name: &str, reason: &str) {
        if let Some(resource) = self.0.get_mut(type_url).and_then(|held| held.get_mut(name)) {
            resource.refused = Some(reason.to_owned());
        }
    }

    pub(super) fn remove(&mut self, type_url: &str, name: &str) {
        if let Some(held) = self.0.get_mut(type_url) {
            held.remove(name);
        }
    }

    /// Those of one type, by name.
    pub fn of_type(&self, type_url: &str) -> impl Iterator<Item = (&String, &HeldResource)> {
        self.0.get(type_url).into_iter().flatten()
    }
}
