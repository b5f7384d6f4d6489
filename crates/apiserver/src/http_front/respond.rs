//! Responses, in the form that the client accepts.

use std::{convert::Infallible, sync::Arc};

use axum::body::Body;
use bytes::Bytes;
use futures::stream;
use http::{HeaderValue, Request, Response, StatusCode, header};
use serde_json::{Map, Value, json};

use crate::{engine::Item, object::Object, registry::Resource, status::Status, table};

/// The form of objects and lists that the client wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// As they are.
    Whole,
    /// Rows for people.
    Table,
    /// Only the metadata.
    Metadata,
}

/// The `Accept` header.
pub fn accept<B>(request: &Request<B>) -> String {
    let value = request.headers().get(header::ACCEPT).and_then(|v| v.to_str().ok());
    value.unwrap_or_default().to_owned()
}

fn parameter<'a>(media: &'a str, key: &str) -> Option<&'a str> {
    media.split(';').skip(1).find_map(|p| p.trim().strip_prefix(key)?.strip_prefix('='))
}

/// The first form in an `Accept` header that we have.
pub fn form(accept: &str) -> Result<Form, Status> {
    if accept.is_empty() {
        return Ok(Form::Whole);
    }
    for media in accept.split(',').map(str::trim) {
        let kind = media.split(';').next().unwrap_or_default().trim();
        if !matches!(kind, "application/json" | "*/*" | "application/*" | "application/yaml") {
            continue;
        }
        let meta = parameter(media, "g") == Some("meta.k8s.io") && parameter(media, "v") == Some("v1");
        match parameter(media, "as") {
            None => return Ok(Form::Whole),
            Some("Table") if meta => return Ok(Form::Table),
            Some("PartialObjectMetadata" | "PartialObjectMetadataList") if meta => {
                return Ok(Form::Metadata);
            }
            Some(_) => {}
        }
    }
    Err(Status::new(
        406,
        "NotAcceptable",
        "only the following media types are accepted: application/json, application/yaml",
    ))
}

/// A JSON response.
pub fn json(code: StatusCode, value: &Value) -> Response<Body> {
    bytes(code, "application/json", value.to_string().into())
}

/// A list: the members of `head`, then the items, written as they go out.
pub fn list(head: &Value, items: Vec<Item>) -> Response<Body> {
    const CHUNK: usize = 64 << 10;
    let mut first = head.to_string().into_bytes();
    first.pop();
    first.extend_from_slice(b",\"items\":[");
    let chunks = stream::unfold(Some((first, items.into_iter().peekable())), |state| async move {
        let (mut chunk, mut items) = state?;
        while chunk.len() < CHUNK {
            let Some(item) = items.next() else {
                chunk.extend_from_slice(b"]}");
                return Some((Ok::<_, Infallible>(Bytes::from(chunk)), None));
            };
            item.write(&mut chunk);
            if items.peek().is_some() {
                chunk.push(b',');
            }
        }
        Some((Ok(chunk.into()), Some((Vec::new(), items))))
    });
    let mut response = Response::new(Body::from_stream(chunks));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// A response of any type.
pub fn bytes(code: StatusCode, kind: &'static str, body: Bytes) -> Response<Body> {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = code;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

/// Plain text.
pub fn text(body: &'static str) -> Response<Body> {
    bytes(StatusCode::OK, "text/plain; charset=utf-8", body.into())
}

/// An error.
pub fn status(status: &Status) -> Response<Body> {
    let code = StatusCode::from_u16(status.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = json(code, &status.to_value());
    if let Some(seconds) = status.details.get("retryAfterSeconds").and_then(Value::as_u64) {
        response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
    }
    response
}

/// Adds warnings for the client: at most 256 bytes of each and 4096 of all, as Kubernetes does.
pub fn warn(response: &mut Response<Body>, warnings: &[String]) {
    const ONE: usize = 256;
    const ALL: usize = 4096;
    let total: usize = warnings.iter().map(String::len).sum();
    let mut left = ALL;
    for text in warnings {
        let long = if total > ALL { text.floor_char_boundary(ONE) } else { text.len() };
        let text: String = text[..long].chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        if text.len() > left {
            break;
        }
        left -= text.len();
        let quoted = text.replace('\\', "\\\\").replace('"', "\\\"");
        if let Ok(value) = HeaderValue::from_bytes(format!("299 - \"{quoted}\"").as_bytes()) {
            response.headers_mut().append(header::WARNING, value);
        }
    }
}

/// Only metadata of an object.
pub fn metadata(object: &Value) -> Value {
    json!({
        "kind": "PartialObjectMetadata",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": object["metadata"],
    })
}

/// How table rows carry their objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Include {
    /// Not at all.
    None,
    /// Their metadata.
    Metadata,
    /// Whole.
    Object,
}

impl Include {
    /// From the parameter `includeObject`.
    pub fn parse(text: &str) -> Self {
        match text {
            "None" => Self::None,
            "Object" => Self::Object,
            _ => Self::Metadata,
        }
    }

    fn of(self, object: &Object) -> Value {
        match self {
            Self::None => Value::Null,
            Self::Metadata => metadata(object),
            Self::Object => Value::clone(object),
        }
    }
}

/// A table of objects.
pub fn table(
    resource: &Resource,
    version: &str,
    objects: &[Object],
    include: Include,
    meta: Map<String, Value>,
) -> Value {
    let rows: Vec<Value> = objects
        .iter()
        .map(|object| {
            json!({
                "cells": table::cells(resource, version, object),
                "object": include.of(object),
            })
        })
        .collect();
    json!({
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": meta,
        "columnDefinitions": table::columns(resource, version),
        "rows": rows,
    })
}

/// A Scale as a table.
pub fn scale_table(scale: &Value) -> Value {
    let column = |name: &str, kind: &str, format: &str| json!({"name": name, "type": kind, "format": format, "description": "", "priority": 0});
    json!({
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": {"resourceVersion": scale["metadata"]["resourceVersion"]},
        "columnDefinitions": [
            column("Name", "string", "name"),
            column("Desired", "integer", ""),
            column("Available", "integer", ""),
            column("Age", "date", ""),
        ],
        "rows": [{
            "cells": [
                scale["metadata"]["name"],
                scale["spec"]["replicas"],
                scale["status"]["replicas"],
                table::age(scale),
            ],
            "object": metadata(scale),
        }],
    })
}

/// One object in the wanted form.
pub fn object(form: Form, include: Include, resource: &Resource, version: &str, object: &Object) -> Value {
    match form {
        Form::Whole => Value::clone(object),
        Form::Metadata => metadata(object),
        Form::Table => {
            let mut meta = Map::new();
            meta.insert("resourceVersion".into(), object["metadata"]["resourceVersion"].clone());
            table(resource, version, &[Arc::clone(object)], include, meta)
        }
    }
}
