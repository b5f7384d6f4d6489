//! Where objects live: all of them in memory, encoded, every acknowledged write on disk first.
//!
//! A write is checked against the newest accepted state, numbered, and queued; one thread commits
//! what has queued up in one transaction (one fsync for all of it) and only then makes it visible
//! and acknowledges it. Readers see committed state only.

mod commit;
mod disk;
mod state;
mod stored;
mod watch;

use std::{collections::HashMap, path::Path, sync::Arc};

use parking_lot::{Mutex, RwLock};
use serde_json::Value;
use tokio::sync::oneshot;

use crate::object::{self, Object};
use state::State;
pub use state::{Entry, EntryKind};
pub use stored::Stored;
pub use watch::{Gone, Watcher};

/// Names one object: its collection (`group/plural`), namespace and name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// `group/plural`
    pub collection: Arc<str>,
    /// Empty for cluster-scoped objects.
    pub namespace: Arc<str>,
    /// `metadata.name`
    pub name: Arc<str>,
}

impl Key {
    /// A key from its parts.
    pub fn new(collection: &Arc<str>, namespace: &str, name: &str) -> Self {
        Self { collection: Arc::clone(collection), namespace: namespace.into(), name: name.into() }
    }
}

/// Why the store could not be opened or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The object is not at the version that the write expects.
    #[error("the object has been modified")]
    Conflict,
    /// The write did not reach the disk.
    #[error("cannot write the database: {0}; check the disk's free space and permissions")]
    Write(Arc<str>),
    /// The database file cannot be opened.
    #[error("cannot open the database {path}: {text}")]
    Open {
        /// The file.
        path: String,
        /// What is wrong.
        text: String,
    },
}

#[derive(Default)]
struct Accepted {
    version: u64,
    /// By key: the version and outcome of the newest write that is not committed yet.
    pending: HashMap<Key, (u64, Option<Arc<Stored>>)>,
}

struct Inner {
    state: RwLock<State>,
    accepted: Mutex<Accepted>,
}

/// The object store. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
    queue: std::sync::mpsc::Sender<commit::Pending>,
}

impl Snapshot {
    /// The objects, each decoded when its turn comes.
    pub fn objects(&self) -> impl Iterator<Item = Object> {
        self.items.iter().map(|stored| stored.object())
    }
}

/// A consistent list.
pub struct Snapshot {
    /// The objects, by namespace and name.
    pub items: Vec<Arc<Stored>>,
    /// The resource version they are at.
    pub version: u64,
}

impl Store {
    /// Opens or makes the database at `path` and loads it; `history` events are remembered for
    /// the watchers of each collection.
    pub fn open(path: &Path, history: usize) -> Result<Self, StoreError> {
        let opening = |e: disk::DiskError| StoreError::Open { path: path.display().to_string(), text: e.to_string() };
        let disk = disk::Disk::open(path).map_err(opening)?;
        let (objects, version) = disk.load().map_err(opening)?;
        let inner = Arc::new(Inner {
            state: RwLock::new(State::new(objects, version, history)),
            accepted: Mutex::new(Accepted { version, pending: HashMap::new() }),
        });
        let (queue, receiver) = std::sync::mpsc::channel();
        let committer = Arc::clone(&inner);
        std::thread::Builder::new()
            .name("store-commit".into())
            .spawn(move || commit::run(&disk, &committer, &receiver))
            .map_err(|e| opening(e.into()))?;
        Ok(Self { inner, queue })
    }

    /// The committed object.
    pub fn get(&self, key: &Key) -> Option<Object> {
        self.inner.state.read().get(key).map(|stored| stored.object())
    }

    /// The newest accepted object, to base a write on; it may not be committed yet.
    pub fn latest(&self, key: &Key) -> Option<Object> {
        let newest = self.newest(&self.inner.accepted.lock(), key);
        newest.map(|stored| stored.object())
    }

    /// Whether [`Store::latest`] has an object.
    pub fn has(&self, key: &Key) -> bool {
        self.newest(&self.inner.accepted.lock(), key).is_some()
    }

    fn newest(&self, accepted: &Accepted, key: &Key) -> Option<Arc<Stored>> {
        match accepted.pending.get(key) {
            Some((_, pending)) => pending.clone(),
            None => self.inner.state.read().get(key),
        }
    }

    /// The committed objects of a collection, of one namespace or all.
    pub fn list(&self, collection: &str, namespace: Option<&str>) -> Snapshot {
        let state = self.inner.state.read();
        Snapshot { items: state.list(collection, namespace), version: state.version() }
    }

    /// Whether a collection has any committed object.
    pub fn has_any(&self, collection: &str) -> bool {
        self.inner.state.read().has_any(collection)
    }

    /// The collection as it was at `version`, where history reaches back so far.
    pub fn list_at(&self, collection: &str, namespace: Option<&str>, version: u64) -> Result<Vec<Arc<Stored>>, Gone> {
        self.inner.state.read().list_at(collection, namespace, version)
    }

    /// The newest committed resource version.
    pub fn version(&self) -> u64 {
        self.inner.state.read().version()
    }

    /// Waits for nothing: the changes of a collection after `since`, from then on.
    pub fn watch(&self, collection: &Arc<str>, since: u64) -> Watcher {
        Watcher::new(self.clone(), collection, since)
    }

    /// Writes an object whose current version is `expected` (0: must not exist). Returns it with
    /// its new `resourceVersion` once it is on disk.
    pub async fn put(&self, key: Key, expected: u64, value: Value) -> Result<Object, StoreError> {
        self.write(key, expected, Some(value)).await
    }

    /// Removes an object whose current version is `expected`. Returns its last state at the
    /// version of its removal.
    pub async fn remove(&self, key: Key, expected: u64) -> Result<Object, StoreError> {
        self.write(key, expected, None).await
    }

    async fn write(&self, key: Key, expected: u64, value: Option<Value>) -> Result<Object, StoreError> {
        let (object, done) = self.accept(key, expected, value)?;
        match done.await {
            Ok(Ok(())) => Ok(object),
            Ok(Err(text)) => Err(StoreError::Write(text)),
            Err(_) => Err(StoreError::Write("the store has stopped".into())),
        }
    }

    fn accept(
        &self,
        key: Key,
        expected: u64,
        value: Option<Value>,
    ) -> Result<(Object, oneshot::Receiver<commit::Outcome>), StoreError> {
        let mut accepted = self.inner.accepted.lock();
        let current = self.newest(&accepted, &key);
        if current.as_deref().map_or(0, Stored::version) != expected {
            return Err(StoreError::Conflict);
        }
        accepted.version += 1;
        let version = accepted.version;
        let removed = value.is_none();
        let mut value = match (value, &current) {
            (Some(value), _) => value,
            (None, Some(current)) => Value::clone(&current.object()),
            (None, None) => return Err(StoreError::Conflict),
        };
        object::map_at(&mut value, "metadata").insert("resourceVersion".into(), version.to_string().into());
        let object = Arc::new(value);
        let stored = Arc::new(Stored::encode(&key.collection, &object));
        accepted.pending.insert(key.clone(), (version, (!removed).then(|| Arc::clone(&stored))));
        let (done, outcome) = oneshot::channel();
        let pending = commit::Pending { key, object: stored, removed, version, done };
        self.queue.send(pending).map_err(|_| StoreError::Write("the store has stopped".into()))?;
        Ok((object, outcome))
    }
}

#[cfg(test)]
mod tests;
