//! Where configuration comes from: watches on the Kubernetes API.

mod kinds;
mod watch;

pub use kinds::{Kind, Scope, watched};
pub use watch::watch_all;

use lateen_control_core::resource;
use serde_json::Value;

/// An object's place in the API.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// Its kind.
    pub kind: &'static Kind,
    /// Its namespace; empty for kinds of the whole cluster.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl Key {
    /// The place of an object that translation reads.
    pub fn of(key: &resource::Key) -> Option<Self> {
        let (group, name) = key.kind.group_and_name();
        let kind = watched().find(|kind| kind.group == group && kind.kind == name)?;
        Some(Key { kind, namespace: key.namespace.clone(), name: key.name.clone() })
    }
}

/// What a watch saw.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// An object is new or changed.
    Put(Key, Value),
    /// An object is gone.
    Gone(Key),
    /// All objects of this kind that there are have been sent, or it is known that the API server
    /// doesn't have the kind.
    Synced(&'static Kind),
}
