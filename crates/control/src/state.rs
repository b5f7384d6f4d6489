//! The one owner of what istiod knows: applies watch events, publishes snapshots.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use lateen_control_core::install::{INJECTOR_CONFIG_MAP, MESH_CONFIG_MAP};
use lateen_control_core::keys::KeySource;
use lateen_control_core::reads::{Changes, Fact};
use lateen_control_core::resource;
use lateen_control_core::snapshot::Snapshot;
use lateen_control_core::store::{self, Store};
use serde_json::Value;
use tokio::sync::{mpsc, watch};

use crate::config::Config;
use crate::keys::{Fetched, Keeper};
use crate::metrics::{self, Metrics};
use crate::push::Debounce;
use crate::source::{Event, Key, Kind, watched};
use crate::status::{self, Statuses};
use crate::webhook::{Injection, InjectorMaps};

/// Publications whose changes are remembered, for proxies that are behind.
const HISTORY: usize = 64;

/// What is served to proxies from one moment on.
pub struct Published {
    /// Counts publications.
    pub version: u64,
    /// The state of the mesh.
    pub snapshot: Arc<Snapshot>,
    /// When the oldest change in it happened.
    pub since: Instant,
    /// When it was published.
    pub at: Instant,
    /// The changes of this and earlier publications, oldest first; the last is of this one.
    history: Arc<VecDeque<Arc<Changes>>>,
}

impl Published {
    /// The state before anything was published.
    pub fn first(snapshot: Arc<Snapshot>) -> Self {
        let now = Instant::now();
        Published { version: 0, snapshot, since: now, at: now, history: Arc::default() }
    }

    /// The publication after this one.
    pub fn next(&self, snapshot: Arc<Snapshot>, changes: Changes, since: Instant) -> Self {
        let mut history = VecDeque::clone(&self.history);
        history.push_back(Arc::new(changes));
        if history.len() > HISTORY {
            history.pop_front();
        }
        Published { version: self.version + 1, snapshot, since, at: Instant::now(), history: Arc::new(history) }
    }

    /// The changes after publication `version`; `None` if that is too long ago to know.
    pub fn changes_since(&self, version: u64) -> Option<impl Iterator<Item = &Changes>> {
        let missing = usize::try_from(self.version.checked_sub(version)?).ok()?;
        let skip = self.history.len().checked_sub(missing)?;
        Some(self.history.iter().skip(skip).map(|changes| &**changes))
    }
}

/// Parts of istiod that read some objects as they are.
pub struct Followers {
    /// Reads ConfigMaps and the annotations of namespaces.
    pub injection: Arc<Injection>,
    /// Gets each namespace that has to hold the root certificate.
    pub namespaces: Option<mpsc::Sender<String>>,
    /// Compares the status of objects with the one that they should have.
    pub statuses: Arc<Statuses>,
}

/// What is known about the keys that policies want.
struct Keys {
    keeper: Keeper,
    /// Those not yet tried to be fetched.
    awaited: BTreeSet<KeySource>,
    /// How long to wait for them.
    until: Option<Instant>,
}

impl Keys {
    fn tried(&mut self, source: &KeySource) {
        self.awaited.remove(source);
        if self.awaited.is_empty() {
            self.until = None;
        }
    }
}

/// Owns the store.
pub struct State {
    /// istiod's own namespace, which has the settings of the mesh.
    namespace: String,
    store: Store,
    missing: BTreeSet<&'static Kind>,
    changes: Changes,
    debounce: Debounce,
    publish: watch::Sender<Arc<Published>>,
    maps: InjectorMaps,
    followers: Followers,
    metrics: Arc<Metrics>,
    ready: Arc<AtomicBool>,
    /// The policies about tokens may want other keys than before.
    policies_changed: bool,
}

impl State {
    /// An empty state, and where its publications appear.
    pub fn new(
        config: &Config,
        followers: Followers,
        metrics: Arc<Metrics>,
        ready: Arc<AtomicBool>,
    ) -> (Self, watch::Receiver<Arc<Published>>) {
        let store = Store::new();
        let (publish, published) = watch::channel(Arc::new(Published::first(store.snapshot())));
        let state = State {
            namespace: config.namespace.clone(),
            store,
            missing: watched().collect(),
            changes: Changes::default(),
            debounce: Debounce::new(config.merge_window, config.merge_max),
            publish,
            maps: InjectorMaps::default(),
            followers,
            metrics,
            ready,
            policies_changed: true,
        };
        (state, published)
    }

    /// Applies events and publishes; ends with the senders of events. `keeper` fetches the keys that policies want.
    pub async fn run(
        mut self,
        mut events: mpsc::Receiver<Event>,
        keeper: Keeper,
        mut fetched: mpsc::Receiver<Fetched>,
    ) {
        let mut keys = Keys { keeper, awaited: BTreeSet::new(), until: None };
        loop {
            // Nothing is served before everything is known: half a configuration is a wrong one.
            let due = self.debounce.due().filter(|_| self.missing.is_empty());
            let due = due.map(|due| due.max(keys.until.unwrap_or(due)));
            tokio::select! {
                biased;
                event = events.recv() => match event {
                    Some(event) => {
                        self.take(event).await;
                        self.follow_keys(&mut keys);
                    }
                    None => return,
                },
                Some((source, text)) = fetched.recv() => {
                    keys.tried(&source);
                    if text.is_some() {
                        self.apply(store::Event::Keys(source, text));
                    }
                }
                () = sleep_until(due), if due.is_some() => {
                    keys.until = None;
                    self.publish();
                }
            }
        }
    }

    /// Has the keys fetched that policies want, once all of them are known. What is served first has them already, or
    /// all requests with tokens would be refused until they come.
    fn follow_keys(&mut self, keys: &mut Keys) {
        if !self.missing.is_empty() || !self.policies_changed {
            return;
        }
        self.policies_changed = false;
        let (new, gone) = keys.keeper.follow(&self.store.snapshot());
        for source in gone {
            self.apply(store::Event::Keys(source, None));
        }
        if !self.ready.load(Ordering::Acquire) {
            let longest = new.iter().map(|(_, timeout)| *timeout).max();
            keys.until = longest.map(|longest| Instant::now() + longest);
            keys.awaited = new.into_iter().map(|(source, _)| source).collect();
        }
    }

    async fn take(&mut self, event: Event) {
        match event {
            Event::Put(key, object) => {
                self.count(&key, "update");
                self.follow(&key, Some(&object)).await;
                if self.reads(&key) {
                    self.apply(store::Event::Apply(object));
                }
            }
            Event::Gone(key) => {
                self.count(&key, "delete");
                self.follow(&key, None).await;
                if let Some(key) = core_key(&key).filter(|_| self.reads(&key)) {
                    self.apply(store::Event::Delete(key));
                }
            }
            Event::Synced(kind) => {
                if self.missing.remove(kind) && self.missing.is_empty() {
                    self.debounce.changed(Instant::now());
                    self.followers.injection.configure(&self.maps);
                }
            }
        }
    }

    /// Whether translation reads this object: the settings of the mesh only in istiod's own namespace.
    fn reads(&self, key: &Key) -> bool {
        key.kind.kind != "ConfigMap" || key.name != MESH_CONFIG_MAP || key.namespace == self.namespace
    }

    fn count(&self, key: &Key, event: &str) {
        let kind = key.kind.kind;
        self.metrics.add(&metrics::PILOT_INBOUND_UPDATES, &[("type", kind)]);
        if key.kind.is_istio() {
            self.metrics.add(&metrics::PILOT_K8S_CFG_EVENTS, &[("event", event), ("type", kind)]);
        }
    }

    fn apply(&mut self, event: store::Event) {
        let mut changes = self.store.apply(event);
        for (key, reason) in changes.refused.drain(..) {
            tracing::warn!(%key, reason, "object cannot be read; its last good state stays in force");
        }
        if !changes.is_empty() {
            self.policies_changed |= changes.iter().any(|fact| *fact == Fact::RequestAuthentications);
            self.changes.merge(changes);
            self.debounce.changed(Instant::now());
        }
    }

    fn publish(&mut self) {
        let now = Instant::now();
        let since = self.debounce.pushed(now).unwrap_or(now);
        self.metrics.observe(&metrics::PILOT_DEBOUNCE_TIME, &[], now - since);
        let mut changes = std::mem::take(&mut self.changes);
        changes.merge(self.store.settle());
        let published = self.publish.borrow().next(self.store.snapshot(), changes, since);
        let services = published.snapshot.services.iter().count() as f64;
        self.metrics.set(&metrics::PILOT_SERVICES, &[], services);
        let routes = published.snapshot.virtual_services.len() as f64;
        self.metrics.set(&metrics::PILOT_VIRT_SERVICES, &[], routes);
        tracing::debug!(version = published.version, took = ?now.elapsed(), "published");
        self.publish.send_replace(Arc::new(published));
        self.ready.store(true, Ordering::Release);
    }

    /// Tells the followers.
    async fn follow(&mut self, key: &Key, object: Option<&Value>) {
        if key.kind.reports() {
            self.followers.statuses.observe(key, object);
            if key.kind.is_istio() && !key.kind.is_read() && object.is_some() {
                status::disclaim(&self.followers.statuses, key);
            }
        }
        match (key.kind.kind, key.name.as_str()) {
            ("ConfigMap", _) if key.namespace != self.namespace => {}
            ("ConfigMap", INJECTOR_CONFIG_MAP) => {
                self.maps.values = text(object, "/data/values");
                self.maps.config = text(object, "/data/config");
                self.configure();
            }
            ("ConfigMap", MESH_CONFIG_MAP) => {
                self.maps.mesh = text(object, "/data/mesh");
                self.configure();
            }
            ("Namespace", name) => {
                let annotations = object.and_then(|object| object.pointer("/metadata/annotations"));
                self.followers.injection.namespace(name, annotations.and_then(Value::as_object));
                let terminating = |object: &Value| object["metadata"]["deletionTimestamp"].is_string();
                if let (Some(namespaces), false) = (&self.followers.namespaces, object.is_none_or(terminating)) {
                    // Fails only when istiod ends.
                    let _ = namespaces.send(name.to_owned()).await;
                }
            }
            _ => {}
        }
    }

    /// Settings come in two ConfigMaps: they are taken once both were read.
    fn configure(&self) {
        if self.missing.iter().all(|kind| kind.kind != "ConfigMap") {
            self.followers.injection.configure(&self.maps);
        }
    }
}

fn core_key(key: &Key) -> Option<resource::Key> {
    let kind = resource::Kind::find(key.kind.group, key.kind.kind)?;
    Some(resource::Key::new(kind, &key.namespace, &key.name))
}

fn text(object: Option<&Value>, pointer: &str) -> String {
    let value = object.and_then(|object| object.pointer(pointer));
    value.and_then(Value::as_str).unwrap_or_default().to_owned()
}

async fn sleep_until(due: Option<Instant>) {
    if let Some(due) = due {
        tokio::time::sleep_until(due.into()).await;
    }
}
