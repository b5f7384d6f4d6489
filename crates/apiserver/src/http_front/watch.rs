//! Watches over HTTP: one JSON document per line.

use std::{sync::Arc, time::Duration};

use axum::body::Body;
use bytes::Bytes;
use futures::stream;
use http::{HeaderValue, Response, header};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep_until};

use super::{
    query::Query,
    respond::{self, Form, Include},
};
use crate::{
    client::EventType,
    engine::{Call, Engine, Item, WatchFilter, WatchOptions, Watched},
    registry::Resource,
    status::Status,
};

const BOOKMARKS: Duration = Duration::from_secs(30);
const DEFAULT_TIMEOUT: u64 = 1800;

struct Lines {
    watched: Watched,
    first: Option<Bytes>,
    resource: Arc<Resource>,
    version: String,
    form: Form,
    include: Include,
    bookmarks: bool,
    deadline: Instant,
    next_bookmark: Instant,
    over: bool,
}

fn name(kind: EventType) -> &'static str {
    match kind {
        EventType::Added => "ADDED",
        EventType::Modified => "MODIFIED",
        EventType::Deleted => "DELETED",
        EventType::Bookmark => "BOOKMARK",
    }
}

fn line(kind: &str, out: &mut Vec<u8>, object: impl FnOnce(&mut Vec<u8>)) {
    out.extend_from_slice(b"{\"type\":\"");
    out.extend_from_slice(kind.as_bytes());
    out.extend_from_slice(b"\",\"object\":");
    object(out);
    out.extend_from_slice(b"}\n");
}

fn write(value: &Value, out: &mut Vec<u8>) {
    out.extend_from_slice(value.to_string().as_bytes());
}

impl Lines {
    fn event(&self, kind: EventType, item: &Item, out: &mut Vec<u8>) {
        let whole = self.form == Form::Whole || kind == EventType::Bookmark;
        if whole && self.form != Form::Table {
            // What is stored goes out as it is, to however many watchers.
            return line(name(kind), out, |out| item.write(out));
        }
        let value = respond::object(self.form, self.include, &self.resource, &self.version, &item.object());
        line(name(kind), out, |out| write(&value, out));
    }

    fn bookmark(&mut self, out: &mut Vec<u8>) {
        let bookmark = Item::Made(self.watched.bookmark());
        self.event(EventType::Bookmark, &bookmark, out);
    }

    async fn next(&mut self) -> Option<Bytes> {
        if let Some(first) = self.first.take() {
            return Some(first);
        }
        if self.over {
            return None;
        }
        let mut out = Vec::new();
        tokio::select! {
            events = self.watched.next() => match events {
                Ok(events) => events.iter().for_each(|(k, o)| self.event(*k, o, &mut out)),
                Err(status) => {
                    self.over = true;
                    line("ERROR", &mut out, |out| write(&status.to_value(), out));
                }
            },
            () = sleep_until(self.next_bookmark), if self.bookmarks => {
                self.next_bookmark = Instant::now() + BOOKMARKS;
                self.bookmark(&mut out);
            }
            () = sleep_until(self.deadline) => {
                // The next watch starts from here.
                self.over = true;
                if !self.bookmarks {
                    return None;
                }
                self.bookmark(&mut out);
            }
        }
        Some(out.into())
    }
}

/// Starts a watch and answers with its events.
pub fn stream(engine: Arc<Engine>, call: &Call, query: &Query, form: Form) -> Result<Response<Body>, Status> {
    let (labels, mut fields) = query.selectors()?;
    if !call.name.is_empty() {
        fields = crate::selector::FieldSelector::parse(&format!("metadata.name={}", call.name))
            .map_err(Status::bad_request)?;
    }
    query.check_watch()?;
    let since = query.version()?;
    let initial_events = query.flag("sendInitialEvents");
    // A watch that names no version starts with what there is, unless it says that it doesn't want that.
    let options = match (since, query.get("sendInitialEvents")) {
        (0, "false") => WatchOptions::Since(engine.store.version()),
        (0, _) => WatchOptions::FromList,
        _ if initial_events => WatchOptions::FromList,
        _ => WatchOptions::Since(since),
    };
    let filter = WatchFilter { labels, fields, ..WatchFilter::default() };
    let (watched, initial) = match engine.watch(call, options, filter) {
        Ok(started) => started,
        Err(status) if status.code == 410 => return Ok(response(expired(&status))),
        Err(status) => return Err(status),
    };
    let timeout = query.timeout()?.unwrap_or(DEFAULT_TIMEOUT + fastrand::u64(..DEFAULT_TIMEOUT));
    let now = Instant::now();
    let mut lines = Lines {
        watched,
        first: None,
        resource: Arc::clone(&call.resource),
        version: call.version.clone(),
        form,
        include: Include::parse(query.get("includeObject")),
        bookmarks: query.flag("allowWatchBookmarks"),
        deadline: now + Duration::from_secs(timeout.min(86_400)),
        next_bookmark: now + BOOKMARKS,
        over: false,
    };
    let mut first = Vec::new();
    initial.iter().for_each(|o| lines.event(EventType::Added, o, &mut first));
    if initial_events && lines.bookmarks {
        let mut end = Value::clone(&lines.watched.bookmark());
        end["metadata"]["annotations"] = json!({"k8s.io/initial-events-end": "true"});
        lines.event(EventType::Bookmark, &Item::Made(end.into()), &mut first);
    }
    lines.first = (!first.is_empty()).then(|| first.into());
    let body = stream::unfold(lines, |mut lines| async move {
        let bytes = lines.next().await?;
        Some((Ok::<_, std::convert::Infallible>(bytes), lines))
    });
    Ok(response(Body::from_stream(body)))
}

fn expired(status: &Status) -> Body {
    let mut out = Vec::new();
    line("ERROR", &mut out, |out| write(&status.to_value(), out));
    Body::from(out)
}

fn response(body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
