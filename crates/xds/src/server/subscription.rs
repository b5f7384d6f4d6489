//! What one client wants and holds of one resource type.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::message::{Entry, Names};
use super::session::Catalog;
use crate::WILDCARD;

/// What the client has under a name.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Held {
    Version(Arc<str>),
    /// The client was told that there is no such resource.
    Absent,
}

/// What has to be looked at before the next response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Dirty {
    Nothing,
    Names(BTreeSet<Arc<str>>),
    Everything,
}

impl Dirty {
    pub(super) fn add(&mut self, name: Arc<str>) {
        match self {
            Dirty::Nothing => *self = Dirty::Names(BTreeSet::from([name])),
            Dirty::Names(names) => {
                names.insert(name);
            }
            Dirty::Everything => {}
        }
    }
}

/// A response in the making.
#[derive(Debug, Default)]
pub(super) struct Diff {
    pub(super) resources: Vec<Entry>,
    pub(super) removed: Vec<Arc<str>>,
}

impl Diff {
    fn is_empty(&self) -> bool {
        self.resources.is_empty() && self.removed.is_empty()
    }
}

/// State of one resource type in one session.
#[derive(Debug)]
pub(super) struct Subscription {
    pub(super) wildcard: bool,
    pub(super) names: BTreeSet<Arc<str>>,
    held: BTreeMap<Arc<str>, Held>,
    pub(super) dirty: Dirty,
    /// The next response is due even if there is nothing to say, because the client waits for it.
    owes_answer: bool,
}

impl Subscription {
    /// A subscription from the first request for its type on a stream.
    pub(super) fn open(names: Names) -> Self {
        let mut this = Subscription {
            wildcard: false,
            names: BTreeSet::new(),
            held: BTreeMap::new(),
            dirty: Dirty::Everything,
            owes_answer: true,
        };
        match names {
            Names::Delta { subscribe, held, .. } => {
                this.wildcard = subscribe.is_empty();
                this.owes_answer = held.is_empty();
                this.remember(held);
                for name in subscribe {
                    this.want(name);
                }
            }
            Names::Full(names) => {
                this.wildcard = names.is_empty();
                for name in names {
                    this.want(name);
                }
            }
        }
        this
    }

    fn remember(&mut self, held: HashMap<String, String>) {
        self.held = held.into_iter().map(|(name, version)| (name.into(), Held::Version(version.into()))).collect();
    }

    fn want(&mut self, name: String) {
        if name == WILDCARD {
            self.wildcard = true;
        } else {
            self.names.insert(name.into());
        }
    }

    /// Applies a later request; says whether a response may be due because of it.
    pub(super) fn update(&mut self, names: Names) -> bool {
        match names {
            Names::Delta { subscribe, unsubscribe, .. } => {
                let asked = !subscribe.is_empty();
                self.unsubscribe(unsubscribe);
                self.subscribe(subscribe);
                asked
            }
            Names::Full(names) => self.replace(names),
        }
    }

    /// A name asked for again is sent again: the client may have dropped it.
    fn subscribe(&mut self, names: Vec<String>) {
        for name in names {
            if name == WILDCARD {
                self.wildcard = true;
                self.owes_answer = true;
                self.dirty = Dirty::Everything;
                continue;
            }
            let name: Arc<str> = name.into();
            self.held.remove(&name);
            self.dirty.add(name.clone());
            self.names.insert(name);
        }
    }

    fn unsubscribe(&mut self, names: Vec<String>) {
        for name in names {
            if name == WILDCARD {
                self.wildcard = false;
                let names = &self.names;
                self.held.retain(|name, _| names.contains(name));
                continue;
            }
            self.names.remove(name.as_str());
            if self.wildcard {
                // The client dropped it, but it may belong to the wildcard: look again.
                self.held.remove(name.as_str());
                self.dirty.add(name.into());
            } else {
                self.held.remove(name.as_str());
            }
        }
    }

    /// The full list of a state-of-the-world request.
    fn replace(&mut self, names: Vec<String>) -> bool {
        if names.is_empty() && self.names.is_empty() {
            return false;
        }
        let wildcard = names.iter().any(|name| name == WILDCARD);
        let names: BTreeSet<Arc<str>> = names.into_iter().filter(|name| name != WILDCARD).map(Arc::from).collect();
        let added: Vec<Arc<str>> = names.difference(&self.names).cloned().collect();
        let asked = !added.is_empty() || (wildcard && !self.wildcard);
        if wildcard && !self.wildcard {
            self.dirty = Dirty::Everything;
        }
        added.into_iter().for_each(|name| self.dirty.add(name));
        self.wildcard = wildcard;
        self.names = names;
        if !wildcard {
            let names = &self.names;
            self.held.retain(|name, _| names.contains(name));
        }
        asked
    }

    /// Sends a name again although the client may hold it.
    pub(super) fn resend(&mut self, name: &Arc<str>) {
        if self.names.contains(name) {
            self.held.remove(name);
            self.dirty.add(name.clone());
        }
    }

    /// Whether a change of this name concerns the client.
    pub(super) fn covers(&self, name: &str) -> bool {
        self.wildcard || self.names.contains(name)
    }

    /// Number of names that the client holds a version of.
    pub(super) fn held_count(&self) -> usize {
        self.held.values().filter(|held| matches!(held, Held::Version(_))).count()
    }

    /// Number of names this state grows with.
    pub(super) fn size(&self) -> usize {
        self.names.len() + self.held.len()
    }

    /// What an incremental client has to be told; it counts as held from now on.
    pub(super) fn delta(&mut self, catalog: &mut dyn Catalog, type_url: &str) -> Option<Diff> {
        let mut diff = Diff::default();
        match std::mem::replace(&mut self.dirty, Dirty::Nothing) {
            Dirty::Nothing => {}
            Dirty::Names(names) => {
                for name in names {
                    if self.covers(&name) {
                        self.compare(&name, catalog.get(type_url, &name), &mut diff);
                    }
                }
            }
            Dirty::Everything => self.compare_all(catalog, type_url, &mut diff),
        }
        let owed = std::mem::take(&mut self.owes_answer);
        (owed || !diff.is_empty()).then_some(diff)
    }

    fn compare_all(&mut self, catalog: &mut dyn Catalog, type_url: &str, diff: &mut Diff) {
        let mut wanted = self.names.clone();
        if self.wildcard {
            wanted.extend(catalog.all(type_url));
        }
        let gone: Vec<Arc<str>> = self.held.keys().filter(|name| !wanted.contains(*name)).cloned().collect();
        for name in gone {
            if self.held.remove(&name) != Some(Held::Absent) {
                diff.removed.push(name);
            }
        }
        for name in wanted {
            self.compare(&name, catalog.get(type_url, &name), diff);
        }
    }

    fn compare(&mut self, name: &Arc<str>, entry: Option<Entry>, diff: &mut Diff) {
        let held = self.held.get(name);
        match entry {
            Some(entry) => {
                if held != Some(&Held::Version(entry.version.clone())) {
                    self.held.insert(name.clone(), Held::Version(entry.version.clone()));
                    diff.resources.push(entry);
                }
            }
            None if self.names.contains(name) => {
                if held != Some(&Held::Absent) {
                    self.held.insert(name.clone(), Held::Absent);
                    diff.removed.push(name.clone());
                }
            }
            None => {
                if self.held.remove(name).is_some() {
                    diff.removed.push(name.clone());
                }
            }
        }
    }

    /// What a state-of-the-world client has to be told.
    ///
    /// A wildcard subscriber gets everything whenever anything changed, because it takes a missing
    /// name for a removed one; a subscriber by name gets what changed.
    pub(super) fn sotw(&mut self, catalog: &mut dyn Catalog, type_url: &str) -> Option<Diff> {
        if !self.wildcard {
            let mut diff = self.delta(catalog, type_url)?;
            diff.removed.clear();
            return Some(diff);
        }
        let changed = self.delta(catalog, type_url)?;
        let mut names: BTreeSet<Arc<str>> = self.names.clone();
        names.extend(catalog.all(type_url));
        let mut all = Diff { resources: Vec::with_capacity(names.len()), removed: Vec::new() };
        let mut fresh: BTreeMap<Arc<str>, Entry> =
            changed.resources.into_iter().map(|entry| (entry.name.clone(), entry)).collect();
        for name in names {
            let entry = fresh.remove(&name).or_else(|| catalog.get(type_url, &name));
            all.resources.extend(entry);
        }
        Some(all)
    }
}
