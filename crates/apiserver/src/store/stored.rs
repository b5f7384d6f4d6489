//! An object as the store keeps it: encoded, decoded only while somebody looks at it.

use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::Value;

use crate::object::{self, Object};

/// Read with every request, so worth keeping decoded.
const HOT: [&str; 3] = ["rbac.authorization.k8s.io/", "admissionregistration.k8s.io/", "/namespaces"];

/// Shared by the store, its history and everybody who watches.
#[derive(Debug)]
pub struct Stored {
    bytes: Box<[u8]>,
    version: u64,
    api_version: Box<str>,
    kept: Option<Object>,
    /// So that those who look at the same time share what they see.
    seen: Mutex<Weak<Value>>,
}

#[derive(Deserialize)]
struct Head {
    #[serde(rename = "apiVersion", default)]
    api_version: Box<str>,
    metadata: HeadMetadata,
}

#[derive(Deserialize)]
struct HeadMetadata {
    #[serde(rename = "resourceVersion", default)]
    version: String,
}

impl Stored {
    /// Encodes an object of a collection.
    pub fn encode(collection: &str, object: &Object) -> Self {
        // A byte vector of just the right size; the objects stay for long.
        let bytes = object.to_string().into_bytes().into_boxed_slice();
        let kept = is_hot(collection).then(|| Arc::clone(object));
        Self {
            bytes,
            version: object::resource_version(object),
            api_version: object["apiVersion"].as_str().unwrap_or_default().into(),
            kept,
            seen: Mutex::new(Arc::downgrade(object)),
        }
    }

    /// Takes what was encoded before.
    pub fn decode(collection: &str, bytes: &[u8]) -> Result<Self, serde_json::Error> {
        let head: Head = serde_json::from_slice(bytes)?;
        let kept = if is_hot(collection) { Some(Arc::new(serde_json::from_slice(bytes)?)) } else { None };
        let version = head.metadata.version.parse().unwrap_or(0);
        Ok(Self { bytes: bytes.into(), version, api_version: head.api_version, kept, seen: Mutex::default() })
    }

    /// As JSON text.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Its `resourceVersion`.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Its `apiVersion`.
    pub fn api_version(&self) -> &str {
        &self.api_version
    }

    /// Decoded.
    pub fn object(&self) -> Object {
        if let Some(kept) = &self.kept {
            return Arc::clone(kept);
        }
        let mut seen = self.seen.lock();
        if let Some(object) = seen.upgrade() {
            return object;
        }
        // It was encoded here, or read as a whole when the store was opened.
        let object = Arc::new(serde_json::from_slice(&self.bytes).unwrap_or_default());
        *seen = Arc::downgrade(&object);
        object
    }
}

fn is_hot(collection: &str) -> bool {
    HOT.iter().any(|hot| collection.starts_with(hot))
}
