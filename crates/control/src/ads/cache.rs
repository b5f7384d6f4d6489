//! Encoded resources, shared by all proxies that get the same.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Weak};

use lateen_control_core::reads::ReadSet;
use lateen_control_core::translate::Projection;
use lateen_xds::server::Entry;
use parking_lot::Mutex;

use crate::state::Published;

/// Steps from one publication to another that are remembered, for proxies that are behind.
const STEPS: usize = 32;

/// The caches of all callers that are connected. Callers with equal projections share one; it goes
/// with the last of them.
#[derive(Default)]
pub struct Caches {
    by_caller: Mutex<HashMap<Projection, Weak<Cache>>>,
}

impl Caches {
    /// The cache of a caller.
    pub(super) fn of(&self, caller: &Projection) -> Arc<Cache> {
        let mut all = self.by_caller.lock();
        if let Some(cache) = all.get(caller).and_then(Weak::upgrade) {
            return cache;
        }
        all.retain(|_, cache| cache.strong_count() > 0);
        let cache = Arc::new(Cache::default());
        all.insert(caller.clone(), Arc::downgrade(&cache));
        cache
    }
}

/// A type and a name.
pub(super) type ResourceId = (Arc<str>, Arc<str>);

/// Resources made before, each with what it was made from.
#[derive(Default)]
pub(super) struct Cache {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Publication for which the entries are known to be right, stale ones aside.
    version: u64,
    made: HashMap<Arc<str>, HashMap<Arc<str>, Cached>>,
    steps: VecDeque<Step>,
}

struct Cached {
    entry: Entry,
    reads: ReadSet,
    /// Publication it was made for.
    version: u64,
    stale: bool,
}

/// What became stale between two publications.
struct Step {
    from: u64,
    to: u64,
    stale: Arc<[ResourceId]>,
}

/// What a cache has for a name.
pub(super) enum Lookup {
    /// Right as it is.
    Fresh(Entry),
    /// To be made anew; the entry keeps its version if the content turns out the same.
    Stale(Entry),
    /// Nothing usable.
    Missing,
}

impl Cache {
    /// Moves on to a newer publication; names what may have changed for a proxy that was at
    /// publication `from`, or `None` if that is too long ago to know.
    pub(super) fn advance(&self, from: u64, published: &Published) -> Option<Vec<Arc<[ResourceId]>>> {
        let mut state = self.state.lock();
        if state.version < published.version {
            state.step(published);
        }
        state.since(from, published.version)
    }

    pub(super) fn find(&self, type_url: &str, name: &str, version: u64) -> Lookup {
        let state = self.state.lock();
        let cached = state.made.get(type_url).and_then(|made| made.get(name));
        match cached {
            Some(cached) if cached.version > version => Lookup::Missing,
            Some(cached) if cached.stale || state.version < version => Lookup::Stale(cached.entry.clone()),
            Some(cached) => Lookup::Fresh(cached.entry.clone()),
            None => Lookup::Missing,
        }
    }

    /// Keeps what was made for publication `version`, unless the cache is at another by now.
    pub(super) fn keep(&self, type_url: &str, entry: Entry, reads: ReadSet, version: u64) {
        let mut state = self.state.lock();
        if state.version == version {
            let cached = Cached { entry, reads, version, stale: false };
            let made = match state.made.get_mut(type_url) {
                Some(made) => made,
                None => state.made.entry(type_url.into()).or_default(),
            };
            made.insert(cached.entry.name.clone(), cached);
        }
    }

    /// Drops what there is no more as of publication `version`.
    pub(super) fn forget(&self, type_url: &str, name: &str, version: u64) {
        let mut state = self.state.lock();
        if state.version == version {
            state.made.get_mut(type_url).map(|made| made.remove(name));
        }
    }
}

impl State {
    fn step(&mut self, published: &Published) {
        let from = std::mem::replace(&mut self.version, published.version);
        let Some(changes) = published.changes_since(from) else {
            self.made.clear();
            self.steps.clear();
            return;
        };
        let changes: Vec<_> = changes.collect();
        let mut stale = Vec::new();
        for (type_url, made) in &mut self.made {
            for (name, cached) in made.iter_mut().filter(|(_, cached)| !cached.stale) {
                if changes.iter().any(|changes| changes.touch(&cached.reads)) {
                    cached.stale = true;
                    stale.push((type_url.clone(), name.clone()));
                }
            }
        }
        if self.steps.len() == STEPS {
            self.steps.pop_front();
        }
        self.steps.push_back(Step { from, to: published.version, stale: stale.into() });
    }

    fn since(&self, from: u64, to: u64) -> Option<Vec<Arc<[ResourceId]>>> {
        if from == to {
            return Some(Vec::new());
        }
        let steps = self.steps.iter().filter(|step| step.to > from && step.to <= to);
        let known = self.steps.iter().any(|step| step.from <= from && step.to > from);
        known.then(|| steps.map(|step| step.stale.clone()).collect())
    }
}
