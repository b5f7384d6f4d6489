//! OpenAPI v2, for clients that insist on it: a valid document without definitions, so that they
//! leave validation to the server.

use axum::body::Body;
use bytes::Bytes;
use http::{Response, StatusCode};
use serde_json::json;

use super::{discovery, respond};

const PROTOBUF: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";
const TITLE: &str = "Kubernetes";

/// `/openapi/v2`
pub fn document(accept: &str) -> Response<Body> {
    let version = discovery::version();
    let version = version["gitVersion"].as_str().unwrap_or_default();
    if accept.contains("proto-openapi") {
        return respond::bytes(StatusCode::OK, PROTOBUF, protobuf(version));
    }
    respond::json(
        StatusCode::OK,
        &json!({
            "swagger": "2.0",
            "info": {"title": TITLE, "version": version},
            "paths": {},
            "definitions": {},
        }),
    )
}

/// Appends a length-delimited field. All lengths here are below 128.
fn field(number: u8, bytes: &[u8], out: &mut Vec<u8>) {
    out.push((number << 3) | 2);
    out.push(u8::try_from(bytes.len() & 0x7f).unwrap_or(0));
    out.extend_from_slice(bytes);
}

/// `openapi.v2.Document { swagger = 1, info = 2 { title = 1, version = 2 }, paths = 8 }`
fn protobuf(version: &str) -> Bytes {
    let mut info = Vec::new();
    field(1, TITLE.as_bytes(), &mut info);
    field(2, version.as_bytes(), &mut info);
    let mut document = Vec::new();
    field(1, b"2.0", &mut document);
    field(2, &info, &mut document);
    field(8, &[], &mut document);
    field(9, &[], &mut document);
    document.into()
}
