//! Names wanted on demand, set by whoever applies resources.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::WILDCARD;

/// What is wanted: for each type, the names; [`WILDCARD`] for all.
///
/// First requests go out in the order in which the types were first named.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    order: Vec<String>,
    names: BTreeMap<String, BTreeSet<String>>,
}

impl Wanted {
    /// Names wanted of a type.
    pub fn names(&self, type_url: &str) -> Option<&BTreeSet<String>> {
        self.names.get(type_url)
    }

    /// Types in the order of their first mention.
    pub fn types(&self) -> impl Iterator<Item = &str> {
        self.order.iter().map(String::as_str)
    }

    fn entry(&mut self, type_url: &str) -> &mut BTreeSet<String> {
        if !self.names.contains_key(type_url) {
            self.order.push(type_url.to_owned());
        }
        self.names.entry(type_url.to_owned()).or_default()
    }
}

/// A cheap handle to add and remove subscriptions while the client runs.
///
/// It only states what is wanted; the client sends the difference. It may be used inside
/// [`super::Apply::apply`].
#[derive(Clone, Debug, Default)]
pub struct Subscriptions {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    wanted: Mutex<Wanted>,
    changed: Notify,
}

impl Subscriptions {
    /// Wants every resource of a type.
    pub fn add_all(&self, type_url: &str) {
        self.add(type_url, WILDCARD);
    }

    /// Wants one resource.
    pub fn add(&self, type_url: &str, name: &str) {
        let added = self.lock().entry(type_url).insert(name.to_owned());
        if added {
            self.shared.changed.notify_one();
        }
    }

    /// No longer wants one resource.
    pub fn remove(&self, type_url: &str, name: &str) {
        let removed = self.lock().entry(type_url).remove(name);
        if removed {
            self.shared.changed.notify_one();
        }
    }

    /// Wants exactly these resources of a type.
    pub fn set(&self, type_url: &str, names: BTreeSet<String>) {
        let mut wanted = self.lock();
        let current = wanted.entry(type_url);
        if *current != names {
            *current = names;
            drop(wanted);
            self.shared.changed.notify_one();
        }
    }

    /// What is wanted now.
    pub fn wanted(&self) -> Wanted {
        self.lock().clone()
    }

    /// Reads what is wanted now, without a copy.
    pub(super) fn with<R>(&self, read: impl FnOnce(&Wanted) -> R) -> R {
        read(&self.lock())
    }

    /// Waits for a change since the last call.
    pub(super) async fn changed(&self) {
        self.shared.changed.notified().await;
    }

    fn lock(&self) -> MutexGuard<'_, Wanted> {
        self.shared.wanted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
