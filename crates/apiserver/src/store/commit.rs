//! The one thread that writes: takes what has queued up, commits it at once, then publishes it.

use std::sync::{Arc, mpsc::Receiver};

use tokio::sync::oneshot;

use super::{Inner, Key, disk::Disk, stored::Stored};

const MAX_BATCH: usize = 512;

pub type Outcome = Result<(), Arc<str>>;

pub struct Pending {
    pub key: Key,
    pub object: Arc<Stored>,
    pub removed: bool,
    pub version: u64,
    pub done: oneshot::Sender<Outcome>,
}

pub fn run(disk: &Disk, inner: &Inner, queue: &Receiver<Pending>) {
    while let Ok(first) = queue.recv() {
        let mut batch = vec![first];
        batch.extend(queue.try_iter().take(MAX_BATCH - 1));
        match disk.commit(&batch) {
            Ok(()) => publish(inner, batch),
            Err(error) => fail(inner, queue, batch, &error.to_string()),
        }
    }
}

fn publish(inner: &Inner, batch: Vec<Pending>) {
    inner.state.write().publish(&batch);
    let mut accepted = inner.accepted.lock();
    for pending in &batch {
        if accepted.pending.get(&pending.key).is_some_and(|(v, _)| *v == pending.version) {
            accepted.pending.remove(&pending.key);
        }
    }
    drop(accepted);
    for pending in batch {
        let _ = pending.done.send(Ok(()));
    }
}

/// Nothing of the batch is on disk. What queued behind it may build on it, so that fails too.
fn fail(inner: &Inner, queue: &Receiver<Pending>, mut batch: Vec<Pending>, text: &str) {
    tracing::error!(error = text, "writing the database failed");
    let mut accepted = inner.accepted.lock();
    batch.extend(queue.try_iter());
    accepted.pending.clear();
    drop(accepted);
    let text: Arc<str> = text.into();
    for pending in batch {
        let _ = pending.done.send(Err(Arc::clone(&text)));
    }
}
