//! Get, list and watch.

use std::sync::Arc;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use super::{Call, Engine, ListOptions, convert};
use crate::{
    client::EventType,
    object::{self, Object},
    registry::Resource,
    selector::{FieldSelector, LabelSelector},
    status::Status,
    store::{Entry, EntryKind, Gone, Stored, Watcher},
};

/// An object in the request's version.
#[derive(Clone)]
pub enum Item {
    /// As it is stored.
    Stored(Arc<Stored>),
    /// Made for the request.
    Made(Object),
}

impl Item {
    /// Decoded.
    pub fn object(&self) -> Object {
        match self {
            Self::Stored(stored) => stored.object(),
            Self::Made(object) => Arc::clone(object),
        }
    }

    /// Appends it as JSON text.
    pub fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Stored(stored) => out.extend_from_slice(stored.bytes()),
            Self::Made(object) => out.extend_from_slice(object.to_string().as_bytes()),
        }
    }

    /// A stored object in a version of its resource.
    fn of(resource: &Resource, version: &str, stored: &Arc<Stored>) -> Self {
        if stored.api_version() == resource.api_version(version) {
            return Self::Stored(Arc::clone(stored));
        }
        Self::Made(convert::present(resource, version, &stored.object()))
    }
}

/// A list, or a page of one.
pub struct ListResult {
    /// The objects in the request's version.
    pub items: Vec<Item>,
    /// The version the list is at.
    pub version: u64,
    /// How to ask for the next page; empty at the end.
    pub continue_token: String,
    /// How many objects are on later pages.
    pub remaining: usize,
}

/// What a watch shows.
#[derive(Clone, Default)]
pub struct WatchFilter {
    /// One namespace or all.
    pub namespace: Option<String>,
    /// Only objects with these labels.
    pub labels: LabelSelector,
    /// Only objects with these fields.
    pub fields: FieldSelector,
}

/// From where a watch starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WatchOptions {
    /// After this version.
    Since(u64),
    /// With everything there is, then the changes.
    FromList,
}

/// A running watch: decides what of the store's changes its client sees, and as what.
pub struct Watched {
    watcher: Watcher,
    resource: Arc<Resource>,
    version: String,
    filter: WatchFilter,
}

impl WatchFilter {
    fn shows(&self, (namespace, name): &(Arc<str>, Arc<str>), stored: &Stored) -> bool {
        let of_another = |wanted: Option<&str>, found: &str| wanted.is_some_and(|wanted| wanted != found);
        // What namespace and name rule out needs no decoding.
        !of_another(self.namespace.as_deref(), namespace)
            && !of_another(self.fields.required("metadata.name"), name)
            && self.selects(stored)
    }

    fn selects(&self, stored: &Stored) -> bool {
        // Most watches want everything; nothing needs decoding then either.
        if self.labels.is_empty() && self.fields.is_empty() {
            return true;
        }
        let object = stored.object();
        self.labels.matches(object::labels(&object)) && self.fields.matches(&object)
    }
}

fn gone(gone: &Gone, wanted: u64) -> Status {
    Status::expired(format!("too old resource version: {wanted} ({})", gone.oldest))
}

impl Watched {
    /// Waits for the next changes.
    pub async fn next(&mut self) -> Result<Vec<(EventType, Item)>, Status> {
        loop {
            let since = self.watcher.position();
            let entries = self.watcher.next().await.map_err(|g| gone(&g, since))?;
            let events: Vec<_> = entries.iter().filter_map(|e| self.event(e)).collect();
            if !events.is_empty() {
                return Ok(events);
            }
        }
    }

    fn event(&self, entry: &Entry) -> Option<(EventType, Item)> {
        let shown = |stored: &Arc<Stored>| Item::of(&self.resource, &self.version, stored);
        let shows = |stored: &Stored| self.filter.shows(&entry.id, stored);
        let was = entry.previous.as_deref().is_some_and(shows);
        let is = entry.kind != EntryKind::Deleted && shows(&entry.object);
        Some(match (was, is) {
            (false, true) => (EventType::Added, shown(&entry.object)),
            (true, true) => (EventType::Modified, shown(&entry.object)),
            (true, false) if entry.kind == EntryKind::Deleted => (EventType::Deleted, shown(&entry.object)),
            (true, false) => {
                // The state in which the client knew it, at the version of the change.
                let mut last = entry.previous.as_ref().map(|p| Value::clone(&p.object())).unwrap_or_default();
                last["metadata"]["resourceVersion"] = entry.version.to_string().into();
                let last = convert::present(&self.resource, &self.version, &Arc::new(last));
                (EventType::Deleted, Item::Made(last))
            }
            (false, false) => return None,
        })
    }

    /// A bookmark for everything seen so far.
    pub fn bookmark(&mut self) -> Object {
        self.watcher.advance();
        Arc::new(json!({
            "kind": self.resource.kind,
            "apiVersion": self.resource.api_version(&self.version),
            "metadata": {
                "resourceVersion": self.watcher.position().to_string(),
                "creationTimestamp": null,
            },
        }))
    }
}

/// Where a page ended: the version of the list (0: whatever is newest then) and the last object.
fn encode_token(version: u64, after: &Value) -> String {
    let start = json!([version, object::namespace(after), object::name(after)]);
    URL_SAFE_NO_PAD.encode(start.to_string())
}

fn decode_token(token: &str) -> Result<(u64, String, String), Status> {
    let bad = || Status::bad_request("continue key is not valid: unable to decode the token");
    let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| bad())?;
    serde_json::from_slice(&bytes).map_err(|_| bad())
}

/// A page that history no longer reaches; the rest of the list can still be had as it is now.
fn stale_page(namespace: &str, name: &str) -> Status {
    let after = json!({"metadata": {"namespace": namespace, "name": name}});
    Status::expired(
        "The provided continue parameter is too old to display a consistent list result. You can start a new list \
         without the continue parameter, or use the continue token in this response to retrieve the remainder of the \
         results. Continuing with the provided token results in an inconsistent list - objects that were created, \
         modified, or deleted between the time the first chunk was returned and now may show up in the list.",
    )
    .with_continue(encode_token(0, &after))
}

fn too_large(wanted: u64, current: u64) -> Status {
    let cause = json!([{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}]);
    Status::new(504, "Timeout", format!("Too large resource version: {wanted}, current: {current}"))
        .with_detail("causes", cause)
        .with_detail("retryAfterSeconds", 1)
}

impl Engine {
    /// One object in the request's version.
    pub fn get(&self, call: &Call) -> Result<Object, Status> {
        let object = self.store.get(&Self::key(call)).ok_or_else(|| call.not_found())?;
        Ok(convert::present(&call.resource, &call.version, &object))
    }

    /// Whether there is such an object, as a write that comes now would find it.
    pub fn has(&self, call: &Call) -> bool {
        self.store.has(&Self::key(call))
    }

    /// The objects of one namespace or all, as far as they are asked for.
    pub fn list(&self, call: &Call, options: &ListOptions) -> Result<ListResult, Status> {
        if call.resource.virtual_only {
            return Err(Status::method_not_allowed());
        }
        options.fields.check(&call.resource)?;
        let (mut items, version) = self.state_of(call, options)?;
        if !(options.labels.is_empty() && options.fields.is_empty()) {
            items.retain(|stored| {
                let object = stored.object();
                options.labels.matches(object::labels(&object)) && options.fields.matches(&object)
            });
        }
        let mut continue_token = String::new();
        let mut remaining = 0;
        if options.limit > 0 && items.len() > options.limit {
            remaining = items.len() - options.limit;
            items.truncate(options.limit);
            if let Some(last) = items.last() {
                continue_token = encode_token(version, &last.object());
            }
        }
        let items = items.iter().map(|stored| Item::of(&call.resource, &call.version, stored)).collect();
        Ok(ListResult { items, version, continue_token, remaining })
    }

    /// What a list chooses from, and the version of it.
    fn state_of(&self, call: &Call, options: &ListOptions) -> Result<(Vec<Arc<Stored>>, u64), Status> {
        let namespace = (!call.namespace.is_empty()).then_some(call.namespace.as_str());
        let collection = &call.resource.collection;
        if !options.continue_token.is_empty() {
            let (version, last_ns, last_name) = decode_token(&options.continue_token)?;
            let (mut items, version) = if version == 0 {
                let now = self.store.list(collection, namespace);
                (now.items, now.version)
            } else {
                let then = self.store.list_at(collection, namespace, version);
                (then.map_err(|_| stale_page(&last_ns, &last_name))?, version)
            };
            let first = items.partition_point(|stored| {
                let object = stored.object();
                (object::namespace(&object), object::name(&object)) <= (&last_ns, &last_name)
            });
            items.drain(..first);
            return Ok((items, version));
        }
        if options.exact && options.version > 0 {
            let newest = self.store.version();
            if options.version > newest {
                return Err(too_large(options.version, newest));
            }
            let items = self.store.list_at(collection, namespace, options.version);
            return Ok((items.map_err(|g| gone(&g, options.version))?, options.version));
        }
        let snapshot = self.store.list(collection, namespace);
        if options.version > snapshot.version {
            return Err(too_large(options.version, snapshot.version));
        }
        Ok((snapshot.items, snapshot.version))
    }

    /// Starts a watch; also gives the objects that it starts with.
    pub fn watch(
        &self,
        call: &Call,
        options: WatchOptions,
        mut filter: WatchFilter,
    ) -> Result<(Watched, Vec<Item>), Status> {
        filter.fields.check(&call.resource)?;
        filter.namespace = (!call.namespace.is_empty()).then(|| call.namespace.clone());
        let collection = &call.resource.collection;
        let (since, initial) = match options {
            WatchOptions::Since(version) => {
                let newest = self.store.version();
                if version > newest {
                    return Err(too_large(version, newest));
                }
                (version, Vec::new())
            }
            WatchOptions::FromList => {
                let snapshot = self.store.list(collection, filter.namespace.as_deref());
                // The list is of the wanted namespace already.
                let shown = snapshot.items.iter().filter(|stored| filter.selects(stored));
                let items = shown.map(|stored| Item::of(&call.resource, &call.version, stored)).collect();
                (snapshot.version, items)
            }
        };
        let watcher = self.store.watch(collection, since);
        watcher.check().map_err(|g| gone(&g, since))?;
        let watched = Watched { watcher, resource: Arc::clone(&call.resource), version: call.version.clone(), filter };
        Ok((watched, initial))
    }
}
