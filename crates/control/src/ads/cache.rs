//! Encoded resources, shared by all proxies that get the same.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Weak};

use lateen_control_core::reads::ReadSet;
use lateen_control_core::translate::{Names, Projection};
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
    lists: HashMap<Arc<str>, List>,
    steps: VecDeque<Step>,
}

/// Names of one type, sorted.
pub(super) type NameList = Arc<[Arc<str>]>;

/// A list of names and what it was made from.
struct List {
    names: NameList,
    reads: ReadSet,
    stale: bool,
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

    /// The names of a type as of publication `version`, made by `make` where they aren't known. As long as they stay the
    /// same, so does the list: a comparison of pointers tells.
    pub(super) fn names(&self, type_url: &str, version: u64, make: impl FnOnce() -> Names) -> NameList {
        if let Some(list) = self.state.lock().fresh_list(type_url, version) {
            return list;
        }
        let Names { names, reads } = make();
        let mut state = self.state.lock();
        let known = state.lists.get(type_url).map(|list| list.names.clone());
        let is_same = |list: &NameList| list.iter().map(|name| &**name).eq(names.iter().map(String::as_str));
        let names = known.filter(is_same).unwrap_or_else(|| names.iter().map(|name| name.as_str().into()).collect());
        if state.version == version {
            state.lists.insert(type_url.into(), List { names: names.clone(), reads, stale: false });
        }
        names
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
    fn fresh_list(&self, type_url: &str, version: u64) -> Option<NameList> {
        let list = self.lists.get(type_url).filter(|list| !list.stale && self.version == version)?;
        Some(list.names.clone())
    }

    fn step(&mut self, published: &Published) {
        let from = std::mem::replace(&mut self.version, published.version);
        let Some(changes) = published.changes_since(from) else {
            self.made.clear();
            self.lists.clear();
            self.steps.clear();
            return;
        };
        let changes: Vec<_> = changes.collect();
        for list in self.lists.values_mut() {
            list.stale |= changes.iter().any(|changes| changes.touch(&list.reads));
        }
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

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use lateen_api::discovery::Node;
    use lateen_api::type_url;
    use lateen_control_core::reads::{Changes, Fact};
    use lateen_control_core::translate;
    use lateen_control_core::view::ProxyView;
    use lateen_mesh::Hostname;

    use super::*;

    fn next(published: &Published, host: &str) -> Published {
        let mut changes = Changes::default();
        changes.add(Fact::Service(Hostname::new(host)));
        published.next(Arc::default(), changes, Instant::now())
    }

    fn keep(cache: &Cache, host: &str, version: u64) {
        let entry = Entry { name: host.into(), version: "v".into(), type_url: "t".into(), body: Default::default() };
        let reads = [Fact::Service(Hostname::new(host))].into_iter().collect();
        cache.keep("t", entry, reads, version);
    }

    fn stale(cache: &Cache, from: u64, published: &Published) -> Option<Vec<String>> {
        let steps = cache.advance(from, published)?;
        Some(steps.iter().flat_map(|stale| stale.iter()).map(|(_, name)| name.to_string()).collect())
    }

    #[test]
    fn only_what_read_something_changed_is_made_anew() {
        let cache = Cache::default();
        let zero = Published::first(Arc::default());
        keep(&cache, "a", 0);
        keep(&cache, "b", 0);
        let one = next(&zero, "a");
        assert_eq!(stale(&cache, 0, &one), Some(vec!["a".to_owned()]));
        assert!(matches!(cache.find("t", "a", 1), Lookup::Stale(_)));
        assert!(matches!(cache.find("t", "b", 1), Lookup::Fresh(_)));
        keep(&cache, "a", 1);
        assert!(matches!(cache.find("t", "a", 1), Lookup::Fresh(_)));
    }

    #[test]
    fn proxies_behind_hear_of_all_steps_or_that_they_are_too_late() {
        let cache = Cache::default();
        let mut published = Published::first(Arc::default());
        for host in ["a", "b"] {
            keep(&cache, host, 0);
        }
        for host in ["a", "b"] {
            published = next(&published, host);
            cache.advance(published.version - 1, &published);
        }
        assert_eq!(stale(&cache, 0, &published), Some(vec!["a".to_owned(), "b".to_owned()]));
        assert_eq!(stale(&cache, 2, &published), Some(vec![]));
        for _ in 0..=STEPS {
            published = next(&published, "c");
            cache.advance(published.version - 1, &published);
        }
        assert_eq!(stale(&cache, 0, &published), None);
    }

    #[test]
    fn a_proxy_behind_neither_gets_nor_leaves_what_is_of_another_time() {
        let cache = Cache::default();
        let one = next(&Published::first(Arc::default()), "a");
        cache.advance(0, &one);
        keep(&cache, "a", 0);
        assert!(matches!(cache.find("t", "a", 1), Lookup::Missing));
        keep(&cache, "a", 1);
        assert!(matches!(cache.find("t", "a", 0), Lookup::Missing));
    }

    #[test]
    fn a_list_stays_itself_while_its_names_stay() {
        let cache = Cache::default();
        let names = |names: &[&str]| Names {
            names: names.iter().map(ToString::to_string).collect(),
            reads: [Fact::Service(Hostname::new("a"))].into_iter().collect(),
        };
        let unasked = || -> Names { panic!("it is known") };
        let first = cache.names("t", 0, || names(&["a", "b"]));
        assert!(Arc::ptr_eq(&first, &cache.names("t", 0, unasked)));
        let one = next(&Published::first(Arc::default()), "c");
        cache.advance(0, &one);
        assert!(Arc::ptr_eq(&first, &cache.names("t", 1, unasked)), "nothing that it was made from changed");
        let two = next(&one, "a");
        cache.advance(1, &two);
        assert!(Arc::ptr_eq(&first, &cache.names("t", 2, || names(&["a", "b"]))), "made anew, and the same");
        let three = next(&two, "a");
        cache.advance(2, &three);
        assert_eq!(*cache.names("t", 3, || names(&["b"])), ["b".into()]);
        assert_eq!(*cache.names("t", 2, || names(&["a", "b"])), ["a".into(), "b".into()], "for a proxy behind");
        assert_eq!(*cache.names("t", 3, unasked), ["b".into()]);
    }

    #[test]
    fn a_cache_goes_with_its_last_caller() {
        let caches = Caches::default();
        let caller = |namespace: &str| {
            let node = Node { id: format!("sidecar~10.0.0.1~web-1.{namespace}~x"), ..Default::default() };
            let view = ProxyView::from_node(&node).expect("a good node");
            translate::projection(type_url::CLUSTER, "outbound", &view)
        };
        let one = caches.of(&caller("a"));
        assert!(Arc::ptr_eq(&one, &caches.of(&caller("a"))));
        drop(one);
        let _other = caches.of(&caller("b"));
        assert_eq!(caches.by_caller.lock().len(), 1);
    }
}
