//! Garbage collection: objects go when their owners are gone.

mod graph;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt;
use lateen_apiserver::{Client, Event, EventType, Gvr, Object, Status, gvr};
use parking_lot::Mutex;
use serde_json::Value;
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};

use self::graph::{Ending, Graph, Owner, Uid};
use super::api::Api;
use super::object::Meta;
use super::queue::{Next, Queue, Reconcile};

/// How long an owner that was never seen may take to show up.
const PATIENCE: Duration = Duration::from_secs(3);
/// How long after its definition was written a kind is served at the latest.
const KINDS_SETTLE: Duration = Duration::from_millis(200);

/// The garbage collector.
pub struct Garbage {
    api: Api,
    graph: Arc<Mutex<Graph>>,
    /// Since when an object's owner is missing.
    missing: Mutex<HashMap<Uid, Instant>>,
    synced: watch::Receiver<bool>,
}

impl Garbage {
    /// A collector that watches every kind there is or will be, in `tasks`.
    #[must_use]
    pub fn start(tasks: &mut JoinSet<()>, api: Api, queue: &Arc<Queue<Uid>>) -> Self {
        let graph = Arc::new(Mutex::new(Graph::default()));
        let (done, synced) = watch::channel(false);
        let kinds = Kinds {
            client: api.client.clone(),
            graph: Arc::clone(&graph),
            queue: Arc::clone(queue),
            followed: HashMap::new(),
            watches: JoinSet::new(),
        };
        tasks.spawn(kinds.follow(done));
        Self { api, graph, missing: Mutex::default(), synced }
    }

    /// The object as it is now, if it is still the same one.
    async fn live(&self, uid: &str) -> Result<Option<(Gvr, Object)>, Status> {
        let Some(node) = self.graph.lock().node(uid).cloned() else {
            return Ok(None);
        };
        let object = self.api.find(&node.kind, &node.namespace, &node.name).await?;
        Ok(object.filter(|o| o.uid() == uid).map(|o| (node.kind, o)))
    }

    /// Let the dependents be, then let the object go.
    async fn orphan(&self, uid: &str, kind: &Gvr, object: &Object) -> Result<(), Status> {
        let dependents = self.graph.lock().dependents(uid);
        for dependent in dependents {
            if let Some((kind, dependent)) = self.live(&dependent).await? {
                self.drop_owners(&kind, &dependent, &[uid]).await?;
            }
        }
        self.drop_finalizer(kind, object, Ending::Orphan).await
    }

    /// Delete the dependents; once those that block are gone, let the object go.
    async fn after_dependents(&self, uid: &str, kind: &Gvr, object: &Object) -> Result<(), Status> {
        let dependents = self.graph.lock().dependents(uid);
        let mut blocked = false;
        for id in dependents {
            let Some((kind, dependent)) = self.live(&id).await? else {
                continue;
            };
            if self.has_other_owner(&dependent, uid) {
                self.drop_owners(&kind, &dependent, &[uid]).await?;
                continue;
            }
            let reference = reference_to(&dependent, uid);
            blocked |= reference.is_some_and(|r| r["blockOwnerDeletion"] == true);
            if !dependent.is_terminating() {
                let has_own = !self.graph.lock().dependents(&id).is_empty();
                let policy = if has_own { "Foreground" } else { "Background" };
                self.api.delete_with(&kind, &dependent, Some(policy)).await?;
            }
        }
        if blocked {
            return Ok(());
        }
        self.drop_finalizer(kind, object, Ending::Foreground).await
    }

    /// Whether an owner that stays keeps the object when this one goes.
    fn has_other_owner(&self, object: &Object, uid: &str) -> bool {
        let graph = self.graph.lock();
        let owners = object.items("/metadata/ownerReferences").iter().map(|r| r.text("/uid"));
        owners.filter(|owner| *owner != uid).any(|owner| graph.node(owner).is_some_and(|node| node.ending.is_none()))
    }

    /// Delete the object if all its owners are gone.
    async fn collect(&self, uid: &Uid, kind: &Gvr, object: &Object) -> Result<Next, Status> {
        let owners: Vec<&str> = object.items("/metadata/ownerReferences").iter().map(|r| r.text("/uid")).collect();
        if owners.is_empty() || object.is_terminating() {
            return Ok(Next::Done);
        }
        let (mut present, mut gone, mut unknown) = (Vec::new(), Vec::new(), Vec::new());
        {
            let graph = self.graph.lock();
            for owner in owners {
                match graph.owner(owner) {
                    Owner::Present => present.push(owner),
                    Owner::Gone => gone.push(owner),
                    Owner::Unknown => unknown.push(owner),
                }
            }
        }
        if !unknown.is_empty() {
            let since = *self.missing.lock().entry(uid.clone()).or_insert_with(Instant::now);
            if since.elapsed() < PATIENCE {
                return Ok(Next::After(PATIENCE));
            }
            gone.append(&mut unknown);
        }
        self.missing.lock().remove(uid);
        if !present.is_empty() {
            if !gone.is_empty() {
                self.drop_owners(kind, object, &gone).await?;
            }
            return Ok(Next::Done);
        }
        self.api.delete_with(kind, object, Some("Background")).await?;
        Ok(Next::Done)
    }

    async fn drop_owners(&self, kind: &Gvr, object: &Object, uids: &[&str]) -> Result<(), Status> {
        let mut new = Value::clone(object);
        if let Some(list) = new.pointer_mut("/metadata/ownerReferences").and_then(Value::as_array_mut) {
            list.retain(|r| !uids.contains(&r.text("/uid")));
        }
        ignore_gone(self.api.update(kind, new).await)
    }

    async fn drop_finalizer(&self, kind: &Gvr, object: &Object, ending: Ending) -> Result<(), Status> {
        let mut new = Value::clone(object);
        if let Some(list) = new.pointer_mut("/metadata/finalizers").and_then(Value::as_array_mut) {
            list.retain(|f| f != ending.finalizer());
        }
        ignore_gone(self.api.update(kind, new).await)
    }
}

fn ignore_gone(result: Result<Object, Status>) -> Result<(), Status> {
    match result {
        Err(status) if !status.is_not_found() => Err(status),
        _ => Ok(()),
    }
}

fn reference_to<'a>(object: &'a Value, uid: &str) -> Option<&'a Value> {
    object.items("/metadata/ownerReferences").iter().find(|r| r["uid"] == uid)
}

impl Reconcile for Garbage {
    type Key = Uid;
    type Error = Status;

    fn name(&self) -> &'static str {
        "garbage collector"
    }

    async fn reconcile(&self, uid: &Uid) -> Result<Next, Status> {
        // Nothing is judged before every kind has been seen.
        let _ = self.synced.clone().wait_for(|done| *done).await;
        let Some((kind, object)) = self.live(uid).await? else {
            self.missing.lock().remove(uid);
            return Ok(Next::Done);
        };
        match Ending::of(&object) {
            Some(Ending::Orphan) => self.orphan(uid, &kind, &object).await?,
            Some(Ending::Foreground) => self.after_dependents(uid, &kind, &object).await?,
            None => return self.collect(uid, &kind, &object).await,
        }
        Ok(Next::Done)
    }
}

/// Follows every kind, those of custom resources as they come and go.
struct Kinds {
    client: Client,
    graph: Arc<Mutex<Graph>>,
    queue: Arc<Queue<Uid>>,
    followed: HashMap<Gvr, AbortHandle>,
    watches: JoinSet<()>,
}

impl Kinds {
    async fn follow(mut self, done: watch::Sender<bool>) {
        let definitions = self.client.watch_all(&gvr::CUSTOM_RESOURCE_DEFINITIONS);
        let mut definitions = std::pin::pin!(definitions);
        let mut waiting = self.refresh();
        while let Some(first_list) = waiting.pop() {
            let _ = first_list.await;
        }
        let _ = done.send(true);
        while definitions.next().await.is_some() {
            // A definition is served a moment after it was written.
            tokio::time::sleep(KINDS_SETTLE).await;
            self.refresh();
        }
    }

    /// Follow kinds that are new and stop following those that are gone.
    fn refresh(&mut self) -> Vec<tokio::sync::oneshot::Receiver<()>> {
        let mut kinds: HashSet<Gvr> = self.client.kinds().into_iter().collect();
        // Events own nothing, are owned by nothing, and are many.
        kinds.retain(|kind| kind.resource != gvr::EVENTS.resource);
        self.followed.retain(|kind, watch| {
            let served = kinds.contains(kind);
            if !served {
                watch.abort();
            }
            served
        });
        let new: Vec<Gvr> = kinds.into_iter().filter(|k| !self.followed.contains_key(k)).collect();
        new.into_iter().map(|kind| self.add(kind)).collect()
    }

    fn add(&mut self, kind: Gvr) -> tokio::sync::oneshot::Receiver<()> {
        let (listed, first_list) = tokio::sync::oneshot::channel();
        let mut listed = Some(listed);
        let (graph, queue) = (Arc::clone(&self.graph), Arc::clone(&self.queue));
        let events = self.client.watch_all(&kind);
        let key = kind.clone();
        let handle = self.watches.spawn(async move {
            let mut events = std::pin::pin!(events);
            while let Some(Event { kind: what, object }) = events.next().await {
                let look = match what {
                    EventType::Added | EventType::Modified => graph.lock().put(&kind, &object),
                    EventType::Deleted => graph.lock().remove(&object),
                    EventType::Bookmark => {
                        listed = None;
                        Vec::new()
                    }
                };
                look.into_iter().for_each(|uid| queue.add(uid));
            }
            drop(listed);
        });
        self.followed.insert(key, handle);
        first_list
    }
}
