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
    store::{Entry, EntryKind, Gone, Watcher},
};

/// A list, or a page of one.
pub struct ListResult {
    /// The objects in the request's version.
    pub items: Vec<Object>,
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
    fn shows(&self, object: &Value) -> bool {
        self.namespace.as_deref().is_none_or(|ns| object::namespace(object) == ns)
            && self.labels.matches(object::labels(object))
            && self.fields.matches(object)
    }
}

fn gone(gone: &Gone, wanted: u64) -> Status {
    Status::expired(format!("too old resource version: {wanted} ({})", gone.oldest))
}

impl Watched {
    /// Waits for the next changes.
    pub async fn next(&mut self) -> Result<Vec<(EventType, Object)>, Status> {
        loop {
            let since = self.watcher.position();
            let entries = self.watcher.next().await.map_err(|g| gone(&g, since))?;
            let events: Vec<_> = entries.iter().filter_map(|e| self.event(e)).collect();
            if !events.is_empty() {
                return Ok(events);
            }
        }
    }

    fn event(&self, entry: &Entry) -> Option<(EventType, Object)> {
        let shown = |object: &Object| convert::present(&self.resource, &self.version, object);
        let was = entry.previous.as_deref().is_some_and(|old| self.filter.shows(old));
        let is = entry.kind != EntryKind::Deleted && self.filter.shows(&entry.object);
        Some(match (was, is) {
            (false, true) => (EventType::Added, shown(&entry.object)),
            (true, true) => (EventType::Modified, shown(&entry.object)),
            (true, false) => {
                // The state in which the client knew it, at the version of the change.
                let mut last = entry.previous.as_deref().cloned().unwrap_or_default();
                last["metadata"]["resourceVersion"] = entry.version.to_string().into();
                let last = if entry.kind == EntryKind::Deleted { Arc::clone(&entry.object) } else { Arc::new(last) };
                (EventType::Deleted, shown(&last))
            }
            (false, false) => return None,
        })
    }

    /// A bookmark for everything seen so far.
    pub fn bookmark(&self) -> Object {
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

fn encode_token(version: u64, after: &Value) -> String {
    let start = json!([version, object::namespace(after), object::name(after)]);
    URL_SAFE_NO_PAD.encode(start.to_string())
}

fn decode_token(token: &str) -> Result<(u64, String, String), Status> {
    let bad = || Status::bad_request("continue key is not valid");
    let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| bad())?;
    serde_json::from_slice(&bytes).map_err(|_| bad())
}

impl Engine {
    /// One object in the request's version.
    pub fn get(&self, call: &Call) -> Result<Object, Status> {
        let object = self.store.get(&Self::key(call)).ok_or_else(|| call.not_found())?;
        Ok(convert::present(&call.resource, &call.version, &object))
    }

    /// The objects of one namespace or all, as far as they are asked for.
    pub fn list(&self, call: &Call, options: &ListOptions) -> Result<ListResult, Status> {
        if call.resource.virtual_only {
            return Err(Status::method_not_allowed());
        }
        options.fields.check(&call.resource)?;
        let namespace = (!call.namespace.is_empty()).then_some(call.namespace.as_str());
        let collection = &call.resource.collection;
        let (mut items, version) = if !options.continue_token.is_empty() {
            let (version, last_ns, last_name) = decode_token(&options.continue_token)?;
            let mut items = self.store.list_at(collection, namespace, version).map_err(|_| {
                Status::expired(
                    "The provided continue parameter is too old to display a consistent list \
                     result. You must start a new list without the continue parameter.",
                )
            })?;
            items.retain(|o| (object::namespace(o), object::name(o)) > (&last_ns, &last_name));
            (items, version)
        } else if options.exact && options.version > 0 {
            let items =
                self.store.list_at(collection, namespace, options.version).map_err(|g| gone(&g, options.version))?;
            (items, options.version)
        } else {
            let snapshot = self.store.list(collection, namespace);
            if options.version > snapshot.version {
                return Err(Status::new(
                    504,
                    "Timeout",
                    format!("Too large resource version: {}, current: {}", options.version, snapshot.version),
                )
                .with_detail(
                    "causes",
                    json!([{
                        "reason": "ResourceVersionTooLarge", "message": "Too large resource version"
                    }]),
                )
                .with_detail("retryAfterSeconds", 1));
            }
            (snapshot.items, snapshot.version)
        };
        items.retain(|o| options.labels.matches(object::labels(o)) && options.fields.matches(o));
        let mut continue_token = String::new();
        let mut remaining = 0;
        if options.limit > 0 && items.len() > options.limit {
            remaining = items.len() - options.limit;
            items.truncate(options.limit);
            if let Some(last) = items.last() {
                continue_token = encode_token(version, last);
            }
        }
        let items = items.iter().map(|o| convert::present(&call.resource, &call.version, o)).collect();
        Ok(ListResult { items, version, continue_token, remaining })
    }

    /// Starts a watch; also gives the objects that it starts with.
    pub fn watch(
        &self,
        call: &Call,
        options: WatchOptions,
        mut filter: WatchFilter,
    ) -> Result<(Watched, Vec<Object>), Status> {
        filter.fields.check(&call.resource)?;
        filter.namespace = (!call.namespace.is_empty()).then(|| call.namespace.clone());
        let collection = &call.resource.collection;
        let (since, initial) = match options {
            WatchOptions::Since(version) => (version, Vec::new()),
            WatchOptions::FromList => {
                let snapshot = self.store.list(collection, filter.namespace.as_deref());
                let shown = snapshot.items.iter().filter(|o| filter.shows(o));
                let items = shown.map(|o| convert::present(&call.resource, &call.version, o)).collect();
                (snapshot.version, items)
            }
        };
        let watcher = self.store.watch(collection, since);
        watcher.check().map_err(|g| gone(&g, since))?;
        let watched = Watched { watcher, resource: Arc::clone(&call.resource), version: call.version.clone(), filter };
        Ok((watched, initial))
    }
}
