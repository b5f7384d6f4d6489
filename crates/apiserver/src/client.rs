//! The in-process client: the same path as over HTTP, without the wire.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures::{Stream, stream};
use serde_json::{Value, json};

use crate::{
    auth::User,
    engine::{Call, Engine, Item, ListResult, WatchFilter, WatchOptions, Watched, WriteOptions},
    gvr::Gvr,
    object::{self, Object},
    selector::FieldSelector,
    status::Status,
};
pub use crate::{
    engine::{DeleteOptions, ListOptions},
    patch::PatchType,
};

/// What a watch event says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventType {
    /// An object came into being (or into the watch's selection).
    Added,
    /// It changed.
    Modified,
    /// It is gone (or out of the selection).
    Deleted,
    /// Everything up to the object's resourceVersion has been seen.
    Bookmark,
}

/// One event of a watch.
#[derive(Clone, Debug)]
pub struct Event {
    /// What happened.
    pub kind: EventType,
    /// To which object.
    pub object: Object,
}

/// A list and the version it is at.
#[derive(Clone, Debug)]
pub struct List {
    /// The objects by namespace and name.
    pub items: Vec<Object>,
    /// Where to start watching.
    pub version: u64,
    /// For the next page; empty at the end.
    pub continue_token: String,
}

/// A running watch.
pub struct Watch {
    watched: Watched,
    pending: std::vec::IntoIter<(EventType, Item)>,
}

impl Watch {
    /// Waits for the next event. After an error (410: list again) the watch is over.
    pub async fn next(&mut self) -> Result<Event, Status> {
        let (kind, item) = self.next_item().await?;
        Ok(Event { kind, object: item.object() })
    }

    /// The same, the object still encoded.
    async fn next_item(&mut self) -> Result<(EventType, Item), Status> {
        loop {
            if let Some(event) = self.pending.next() {
                return Ok(event);
            }
            self.pending = self.watched.next().await?.into_iter();
        }
    }

    /// The same as a stream; it ends after an error.
    pub fn into_stream(self) -> impl Stream<Item = Result<Event, Status>> + Send {
        stream::unfold(Some(self), |state| async move {
            let mut watch = state?;
            let event = watch.next().await;
            let rest = event.is_ok().then_some(watch);
            Some((event, rest))
        })
    }
}

/// A client of the server in the same process. Cheap to clone.
#[derive(Clone)]
pub struct Client {
    engine: Arc<Engine>,
    user: Arc<User>,
}

impl Client {
    pub(crate) fn new(engine: Arc<Engine>, user: User) -> Self {
        Self { engine, user: Arc::new(user) }
    }

    /// The same client as another user.
    #[must_use]
    pub fn as_user(&self, user: User) -> Self {
        Self { engine: Arc::clone(&self.engine), user: Arc::new(user) }
    }

    /// A call that this client's user may make.
    fn call(&self, verb: &str, kind: &Gvr, namespace: &str, name: &str) -> Result<Call, Status> {
        self.subresource(verb, kind, namespace, name, "")
    }

    fn subresource(
        &self,
        verb: &str,
        kind: &Gvr,
        namespace: &str,
        name: &str,
        subresource: &str,
    ) -> Result<Call, Status> {
        let resource = self.engine.resource(kind)?;
        if resource.namespaced && namespace.is_empty() && !name.is_empty() {
            return Err(Status::bad_request(format!("{kind} need a namespace")));
        }
        let call = Call {
            user: Arc::clone(&self.user),
            version: kind.version.to_string(),
            namespace: if resource.namespaced { namespace.to_owned() } else { String::new() },
            name: name.to_owned(),
            subresource: subresource.to_owned(),
            options: WriteOptions::default(),
            managers: None,
            warnings: Vec::new(),
            resource,
        };
        self.engine.authorize(&call, verb)?;
        Ok(call)
    }

    /// One object. `namespace` is empty for cluster-scoped kinds.
    pub async fn get(&self, kind: &Gvr, namespace: &str, name: &str) -> Result<Object, Status> {
        self.engine.get(&self.call("get", kind, namespace, name)?)
    }

    /// All objects of a namespace, or of all.
    pub async fn list(&self, kind: &Gvr, namespace: Option<&str>) -> Result<List, Status> {
        self.list_with(kind, namespace, &ListOptions::default()).await
    }

    /// Objects by selectors, or in pages.
    pub async fn list_with(&self, kind: &Gvr, namespace: Option<&str>, options: &ListOptions) -> Result<List, Status> {
        let list = self.list_items(kind, namespace, options)?;
        let items = list.items.iter().map(Item::object).collect();
        Ok(List { items, version: list.version, continue_token: list.continue_token })
    }

    fn list_items(&self, kind: &Gvr, namespace: Option<&str>, options: &ListOptions) -> Result<ListResult, Status> {
        let call = self.call("list", kind, namespace.unwrap_or_default(), "")?;
        self.engine.list(&call, options)
    }

    /// Creates an object; `apiVersion` and `kind` may be left out.
    pub async fn create(&self, kind: &Gvr, namespace: &str, object: Value) -> Result<Object, Status> {
        let namespace = if namespace.is_empty() { object::namespace(&object) } else { namespace };
        let mut call = self.call("create", kind, namespace, "")?;
        self.engine.create(&mut call, object, Vec::new()).await
    }

    /// Replaces an object; with `metadata.resourceVersion` only if it is still at that version.
    pub async fn update(&self, kind: &Gvr, namespace: &str, object: Value) -> Result<Object, Status> {
        let mut call = self.call("update", kind, namespace, object::name(&object))?;
        self.engine.update(&mut call, object, Vec::new()).await
    }

    /// Replaces an object's status.
    pub async fn update_status(&self, kind: &Gvr, namespace: &str, object: Value) -> Result<Object, Status> {
        let mut call = self.subresource("update", kind, namespace, object::name(&object), "status")?;
        self.engine.update(&mut call, object, Vec::new()).await
    }

    /// Patches an object or (with `subresource`) its status.
    pub async fn patch(
        &self,
        kind: &Gvr,
        namespace: &str,
        name: &str,
        patch_type: PatchType,
        patch: &Value,
        subresource: Option<&str>,
    ) -> Result<Object, Status> {
        let mut call = self.subresource("patch", kind, namespace, name, subresource.unwrap_or_default())?;
        self.engine.patch(&mut call, patch_type, patch).await
    }

    /// Deletes an object, or begins to. Returns its last or current state.
    pub async fn delete(
        &self,
        kind: &Gvr,
        namespace: &str,
        name: &str,
        options: &DeleteOptions,
    ) -> Result<Object, Status> {
        let mut call = self.call("delete", kind, namespace, name)?;
        Ok(self.engine.delete(&mut call, options).await?.object)
    }

    /// The `finalize` subresource of a namespace: replaces its `spec.finalizers`.
    pub async fn finalize_namespace(&self, namespace: &Value) -> Result<Object, Status> {
        let name = object::name(namespace);
        let mut call = self.subresource("update", &crate::gvr::NAMESPACES, "", name, "finalize")?;
        self.engine.finalize(&mut call, namespace).await
    }

    /// A token for a service account; `request` is a TokenRequest (its `spec` matters).
    pub async fn create_token(&self, namespace: &str, account: &str, request: &Value) -> Result<Value, Status> {
        let mut call = self.subresource("create", &crate::gvr::SERVICE_ACCOUNTS, namespace, account, "token")?;
        self.engine.request_token(&mut call, request.clone()).await
    }

    /// The changes after version `since` (as a list or an object gave it).
    pub async fn watch(&self, kind: &Gvr, namespace: Option<&str>, since: u64) -> Result<Watch, Status> {
        self.watch_filtered(kind, namespace, since, WatchFilter::default())
    }

    fn watch_filtered(
        &self,
        kind: &Gvr,
        namespace: Option<&str>,
        since: u64,
        filter: WatchFilter,
    ) -> Result<Watch, Status> {
        let call = self.call("watch", kind, namespace.unwrap_or_default(), "")?;
        let (watched, _) = self.engine.watch(&call, WatchOptions::Since(since), filter)?;
        Ok(Watch { watched, pending: Vec::new().into_iter() })
    }

    /// Everything there is and then every change, for ever: `Added` for each object, a
    /// `Bookmark` annotated `k8s.io/initial-events-end` after them, then the changes. Lists again
    /// by itself where it must, and tells what it missed meanwhile.
    pub fn watch_all(&self, kind: &Gvr) -> impl Stream<Item = Event> + Send + use<> {
        self.follow(kind, FieldSelector::default())
    }

    /// The same for the objects of one name, in whatever namespace.
    pub fn watch_named(&self, kind: &Gvr, name: &str) -> impl Stream<Item = Event> + Send + use<> {
        self.follow(kind, FieldSelector::named(name))
    }

    fn follow(&self, kind: &Gvr, fields: FieldSelector) -> impl Stream<Item = Event> + Send + use<> {
        let follower = Follower {
            client: self.clone(),
            kind: kind.clone(),
            fields,
            failure: String::new(),
            known: BTreeMap::new(),
            watch: None,
            pending: std::collections::VecDeque::new(),
            synced: false,
        };
        stream::unfold(follower, |mut follower| async move {
            let event = follower.next().await;
            Some((event, follower))
        })
    }

    /// The kinds stored right now: plural names by group and preferred version.
    pub fn kinds(&self) -> Vec<Gvr> {
        let registry = self.engine.registry();
        let preferred = registry.iter().filter(|r| !r.virtual_only).filter_map(|r| {
            let version = r.versions.iter().find(|v| v.served)?;
            Some(Gvr::new(r.group.clone(), version.name.clone(), r.plural.clone()))
        });
        preferred.collect()
    }
}

type Id = (String, String);

struct Follower {
    client: Client,
    kind: Gvr,
    fields: FieldSelector,
    /// Why the last attempt to start failed; empty once one has not.
    failure: String,
    /// What the consumer knows of, to tell it what vanished between a watch and the next list.
    known: BTreeMap<Id, Known>,
    watch: Option<Watch>,
    pending: std::collections::VecDeque<(EventType, Item)>,
    synced: bool,
}

/// An object as the consumer knows it, still encoded.
#[derive(Clone)]
struct Known {
    item: Item,
    version: u64,
}

impl Known {
    fn of(item: Item, object: &Value) -> Self {
        Self { item, version: object::resource_version(object) }
    }
}

const RETRY: Duration = Duration::from_millis(200);

impl Follower {
    async fn next(&mut self) -> Event {
        loop {
            if let Some((kind, item)) = self.pending.pop_front() {
                let object = item.object();
                self.note(kind, item, &object);
                return Event { kind, object };
            }
            match &mut self.watch {
                None => match self.start() {
                    Ok(()) => self.failure.clear(),
                    Err(status) => {
                        self.tell(&status.message);
                        tokio::time::sleep(RETRY).await;
                    }
                },
                Some(watch) => match watch.next_item().await {
                    Ok(event) => self.pending.push_back(event),
                    Err(_) => self.watch = None,
                },
            }
        }
    }

    fn note(&mut self, kind: EventType, item: Item, object: &Value) {
        match kind {
            EventType::Added | EventType::Modified => {
                self.known.insert(id(object), Known::of(item, object));
            }
            EventType::Deleted => {
                self.known.remove(&id(object));
            }
            EventType::Bookmark => {}
        }
    }

    /// Says why there is nothing to see, once for each reason.
    fn tell(&mut self, failure: &str) {
        if self.failure != failure {
            tracing::warn!(kind = %self.kind, error = failure, "cannot be watched; trying again");
            failure.clone_into(&mut self.failure);
        }
    }

    fn start(&mut self) -> Result<(), Status> {
        let fields = self.fields.clone();
        let list = self.client.list_items(&self.kind, None, &ListOptions { fields, ..ListOptions::default() })?;
        let filter = WatchFilter { fields: self.fields.clone(), ..WatchFilter::default() };
        let watch = self.client.watch_filtered(&self.kind, None, list.version, filter)?;
        let mut gone = self.known.clone();
        for item in list.items {
            let object = item.object();
            let new = Known::of(item.clone(), &object);
            let kind = match gone.remove(&id(&object)) {
                None => EventType::Added,
                Some(old) if old.version == new.version => continue,
                Some(old) if object::uid(&old.item.object()) == object::uid(&object) => EventType::Modified,
                Some(old) => {
                    self.pending.push_back((EventType::Deleted, old.item));
                    EventType::Added
                }
            };
            self.pending.push_back((kind, item));
        }
        self.pending.extend(gone.into_values().map(|old| (EventType::Deleted, old.item)));
        if !self.synced {
            self.synced = true;
            let object = Arc::new(json!({"metadata": {
                "resourceVersion": list.version.to_string(),
                "annotations": {"k8s.io/initial-events-end": "true"},
            }}));
            self.pending.push_back((EventType::Bookmark, Item::Made(object)));
        }
        self.watch = Some(watch);
        Ok(())
    }
}

fn id(object: &Value) -> Id {
    (object::namespace(object).to_owned(), object::name(object).to_owned())
}
