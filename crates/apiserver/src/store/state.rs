//! Committed state in memory, with the recent history of every collection.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::Arc,
};

use tokio::sync::watch;

use super::{Key, commit::Pending, stored::Stored, watch::Gone};

/// What happened to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// It came into being.
    Added,
    /// It changed.
    Modified,
    /// It is gone; the entry's object is its last state.
    Deleted,
}

/// One committed change.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its resource version.
    pub version: u64,
    /// What it is.
    pub kind: EntryKind,
    /// The object after it (deletion: its last state, at the version of the deletion).
    pub object: Arc<Stored>,
    /// The object before it.
    pub previous: Option<Arc<Stored>>,
    /// Namespace and name.
    pub id: Id,
}

type Id = (Arc<str>, Arc<str>);

struct Collection {
    objects: BTreeMap<Id, Arc<Stored>>,
    log: VecDeque<Entry>,
    /// Changes at or before this version are forgotten.
    floor: u64,
    changed: watch::Sender<u64>,
}

impl Collection {
    fn new(floor: u64) -> Self {
        Self { objects: BTreeMap::new(), log: VecDeque::new(), floor, changed: watch::Sender::new(floor) }
    }
}

pub struct State {
    collections: HashMap<Arc<str>, Collection>,
    version: u64,
    start: u64,
    history: usize,
}

fn of_namespace(objects: &BTreeMap<Id, Arc<Stored>>, namespace: Option<&str>) -> Vec<Arc<Stored>> {
    match namespace {
        None => objects.values().cloned().collect(),
        Some(ns) => objects
            .range::<Id, _>((ns.into(), "".into())..)
            .take_while(|((n, _), _)| &**n == ns)
            .map(|(_, object)| Arc::clone(object))
            .collect(),
    }
}

impl State {
    pub fn new(objects: Vec<(Key, Stored)>, version: u64, history: usize) -> Self {
        let mut state = Self { collections: HashMap::new(), version, start: version, history };
        for (key, value) in objects {
            let id = (Arc::clone(&key.namespace), Arc::clone(&key.name));
            state.collection(&key.collection).objects.insert(id, Arc::new(value));
        }
        state
    }

    fn collection(&mut self, name: &Arc<str>) -> &mut Collection {
        let floor = self.start;
        self.collections.entry(Arc::clone(name)).or_insert_with(|| Collection::new(floor))
    }

    pub fn version(&self) -> u64 {
        self.version
    }

    pub fn get(&self, key: &Key) -> Option<Arc<Stored>> {
        let id = (Arc::clone(&key.namespace), Arc::clone(&key.name));
        self.collections.get(&key.collection)?.objects.get(&id).cloned()
    }

    pub fn list(&self, collection: &str, namespace: Option<&str>) -> Vec<Arc<Stored>> {
        self.collections.get(collection).map(|c| of_namespace(&c.objects, namespace)).unwrap_or_default()
    }

    pub fn has_any(&self, collection: &str) -> bool {
        self.collections.get(collection).is_some_and(|c| !c.objects.is_empty())
    }

    pub fn list_at(&self, collection: &str, namespace: Option<&str>, version: u64) -> Result<Vec<Arc<Stored>>, Gone> {
        let Some(collection) = self.collections.get(collection) else {
            return if version < self.start { Err(Gone { oldest: self.start }) } else { Ok(Vec::new()) };
        };
        if version < collection.floor {
            return Err(Gone { oldest: collection.floor });
        }
        if collection.log.back().is_none_or(|last| last.version <= version) {
            return Ok(of_namespace(&collection.objects, namespace));
        }
        let mut objects = collection.objects.clone();
        for entry in collection.log.iter().rev().take_while(|e| e.version > version) {
            match &entry.previous {
                Some(previous) => objects.insert(entry.id.clone(), Arc::clone(previous)),
                None => objects.remove(&entry.id),
            };
        }
        Ok(of_namespace(&objects, namespace))
    }

    /// Changes after `since` and the newest version, or [`Gone`] where some are forgotten.
    pub fn changes(&self, collection: &str, since: u64) -> Result<(Vec<Entry>, u64), Gone> {
        let Some(collection) = self.collections.get(collection) else {
            return if since < self.start { Err(Gone { oldest: self.start }) } else { Ok((Vec::new(), self.version)) };
        };
        if since < collection.floor {
            return Err(Gone { oldest: collection.floor });
        }
        let first = collection.log.partition_point(|entry| entry.version <= since);
        Ok((collection.log.range(first..).cloned().collect(), self.version))
    }

    pub fn subscribe(&mut self, collection: &Arc<str>) -> watch::Receiver<u64> {
        self.collection(collection).changed.subscribe()
    }

    pub fn publish(&mut self, batch: &[Pending]) {
        for pending in batch {
            self.record(pending);
        }
        self.version = batch.last().map_or(self.version, |p| p.version);
        for pending in batch {
            let version = self.version;
            self.collection(&pending.key.collection).changed.send_if_modified(|seen| {
                let newer = *seen < version;
                *seen = version;
                newer
            });
        }
    }

    fn record(&mut self, pending: &Pending) {
        let history = self.history;
        let collection = self.collection(&pending.key.collection);
        let id = (Arc::clone(&pending.key.namespace), Arc::clone(&pending.key.name));
        let previous = if pending.removed {
            collection.objects.remove(&id)
        } else {
            collection.objects.insert(id.clone(), Arc::clone(&pending.object))
        };
        let kind = match (&previous, pending.removed) {
            (_, true) => EntryKind::Deleted,
            (None, false) => EntryKind::Added,
            (Some(_), false) => EntryKind::Modified,
        };
        let object = Arc::clone(&pending.object);
        collection.log.push_back(Entry { version: pending.version, kind, object, previous, id });
        while collection.log.len() > history {
            if let Some(forgotten) = collection.log.pop_front() {
                collection.floor = forgotten.version;
            }
        }
    }
}
