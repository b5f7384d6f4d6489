//! All objects of some kinds at hand, with a signal when any of them changes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use lateen_apiserver::{Client, Event, EventType, Gvr, Object};
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::api::Key;

#[derive(Default)]
struct Kind {
    objects: BTreeMap<Key, Object>,
    listed: bool,
}

/// A copy of all objects of some kinds.
pub struct Mirror<const N: usize> {
    kinds: Arc<[Mutex<Kind>; N]>,
    changes: watch::Receiver<u64>,
    // Ends the watches with the mirror.
    _tasks: JoinSet<()>,
}

impl<const N: usize> Mirror<N> {
    /// Watch these kinds.
    #[must_use]
    pub fn start(client: &Client, gvrs: [&Gvr; N]) -> Self {
        let kinds: Arc<[Mutex<Kind>; N]> = Arc::new(std::array::from_fn(|_| Mutex::default()));
        let (changed, changes) = watch::channel(0);
        let mut tasks = JoinSet::new();
        for (index, gvr) in gvrs.into_iter().enumerate() {
            let events = client.watch_all(gvr);
            let (kinds, changed) = (Arc::clone(&kinds), changed.clone());
            tasks.spawn(async move {
                let mut events = std::pin::pin!(events);
                while let Some(event) = events.next().await {
                    kinds[index].lock().take(event);
                    changed.send_modify(|count| *count += 1);
                }
            });
        }
        Self { kinds, changes, _tasks: tasks }
    }

    /// Wait for a change; at first, for all kinds to be there.
    ///
    /// The first change after a quiet time is told at once; those that follow within `settle` are
    /// told as one.
    pub async fn changed(&mut self, settle: Duration) -> [Vec<Object>; N] {
        if self.changes.has_changed().unwrap_or(false) && self.is_listed() {
            tokio::time::sleep(settle).await;
        }
        loop {
            if self.changes.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
            if self.is_listed() {
                return std::array::from_fn(|i| self.kinds[i].lock().objects.values().cloned().collect());
            }
        }
    }

    fn is_listed(&self) -> bool {
        self.kinds.iter().all(|kind| kind.lock().listed)
    }
}

impl Kind {
    fn take(&mut self, Event { kind, object }: Event) {
        match kind {
            EventType::Added | EventType::Modified => {
                self.objects.insert(Key::of(&object), object);
            }
            EventType::Deleted => {
                self.objects.remove(&Key::of(&object));
            }
            EventType::Bookmark => self.listed = true,
        }
    }
}
