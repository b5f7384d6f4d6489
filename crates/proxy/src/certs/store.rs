//! Where the data plane finds its current identity and roots.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::credential::Credential;
use super::identity::{Identity, Roots};

/// The current identity and roots. Readers keep what they took, and look at [`CertStore::generation`] to learn
/// cheaply whether there is something newer.
#[derive(Default)]
pub struct CertStore {
    generation: AtomicU64,
    current: Mutex<Current>,
    credentials: Mutex<HashMap<String, Arc<Credential>>>,
    changed: Notify,
}

#[derive(Clone, Default)]
struct Current {
    identity: Option<Arc<Identity>>,
    roots: Option<Arc<Roots>>,
}

impl CertStore {
    /// An empty store: the workload has no identity yet.
    pub fn new() -> CertStore {
        CertStore::default()
    }

    /// Grows with every change.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Certificate and key of this workload (secret `default`).
    pub fn identity(&self) -> Option<Arc<Identity>> {
        self.current.lock().identity.clone()
    }

    /// What peers' certificates have to lead to (secret `ROOTCA`).
    pub fn roots(&self) -> Option<Arc<Roots>> {
        self.current.lock().roots.clone()
    }

    /// Replaces both at once.
    pub fn replace(&self, identity: Identity, roots: Roots) {
        *self.current.lock() = Current { identity: Some(Arc::new(identity)), roots: Some(Arc::new(roots)) };
        self.announce();
    }

    /// Replaces the roots.
    pub fn replace_roots(&self, roots: Roots) {
        self.current.lock().roots = Some(Arc::new(roots));
        self.announce();
    }

    fn announce(&self) {
        self.generation.fetch_add(1, Ordering::Release);
        self.changed.notify_waiters();
    }

    /// A credential that the control plane sent.
    pub fn credential(&self, name: &str) -> Option<Arc<Credential>> {
        self.credentials.lock().get(name).cloned()
    }

    /// Takes new credentials.
    pub fn take_credentials(&self, new: Vec<(String, Credential)>) {
        if new.is_empty() {
            return;
        }
        self.credentials.lock().extend(new.into_iter().map(|(name, credential)| (name, Arc::new(credential))));
        self.announce();
    }

    /// Forgets the credentials that nothing names any more.
    pub fn keep_credentials(&self, wanted: &BTreeSet<String>) {
        self.credentials.lock().retain(|name, _| wanted.contains(name));
    }

    /// Waits until the generation is beyond `seen`, and returns it.
    pub async fn newer_than(&self, seen: u64) -> u64 {
        loop {
            let notified = self.changed.notified();
            let generation = self.generation();
            if generation > seen {
                return generation;
            }
            notified.await;
        }
    }
}
