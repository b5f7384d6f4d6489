//! Following the changes of one collection.

use std::sync::Arc;

use tokio::sync::watch;

use super::{Entry, Store};

/// History does not reach back to the version asked for.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("too old resource version; the oldest one remembered is {oldest}")]
pub struct Gone {
    /// The oldest version to start from.
    pub oldest: u64,
}

/// A position in the changes of a collection.
pub struct Watcher {
    store: Store,
    collection: Arc<str>,
    position: u64,
    changed: watch::Receiver<u64>,
}

impl Watcher {
    pub(super) fn new(store: Store, collection: &Arc<str>, since: u64) -> Self {
        let changed = store.inner.state.write().subscribe(collection);
        Self { store, collection: Arc::clone(collection), position: since, changed }
    }

    /// Up to which version this watcher has seen everything.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Whether history reaches back to where this watcher starts.
    pub fn check(&self) -> Result<(), Gone> {
        self.store.inner.state.read().changes(&self.collection, self.position).map(|_| ())
    }

    /// Moves on to the newest version where nothing has changed here meanwhile.
    pub fn advance(&mut self) {
        if let Ok((entries, version)) = self.store.inner.state.read().changes(&self.collection, self.position)
            && entries.is_empty()
        {
            self.position = self.position.max(version);
        }
    }

    /// The changes since the last call, without waiting; also moves the position to the newest
    /// version.
    pub fn poll(&mut self) -> Result<Vec<Entry>, Gone> {
        self.changed.mark_unchanged();
        let (entries, version) = self.store.inner.state.read().changes(&self.collection, self.position)?;
        self.position = self.position.max(version);
        Ok(entries)
    }

    /// Waits for changes and returns them, at least one.
    pub async fn next(&mut self) -> Result<Vec<Entry>, Gone> {
        loop {
            let entries = self.poll()?;
            if !entries.is_empty() {
                return Ok(entries);
            }
            if self.changed.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }
}
