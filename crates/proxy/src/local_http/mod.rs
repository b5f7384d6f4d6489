//! The small HTTP servers of the proxy itself (admin, status, metrics) and a small client for the application.
//! Not the data path.

mod client;
mod server;

use bytes::Bytes;
use http::{Response, StatusCode, header};
use http_body_util::Full;

pub use client::{Answer, ClientError, get, post};
pub(crate) use client::{connect, get_over};
pub use server::{Handler, Reached, bind_any, bind_loopback, serve};

/// An answer with its whole body.
pub type Reply = Response<Full<Bytes>>;

/// A text answer.
pub fn text(status: StatusCode, body: impl Into<Bytes>) -> Reply {
    typed(status, "text/plain; charset=utf-8", body)
}

/// An answer of a given type.
pub fn typed(status: StatusCode, content_type: &str, body: impl Into<Bytes>) -> Reply {
    let mut reply = Response::new(Full::new(body.into()));
    *reply.status_mut() = status;
    if let Ok(value) = header::HeaderValue::from_str(content_type) {
        reply.headers_mut().insert(header::CONTENT_TYPE, value);
    }
    reply
}

/// A JSON answer.
pub fn json(value: &serde_json::Value) -> Reply {
    let body = serde_json::to_vec_pretty(value).unwrap_or_default();
    typed(StatusCode::OK, "application/json", body)
}

/// What a path that doesn't exist gets.
pub fn not_found(path: &str, known: &str) -> Reply {
    text(StatusCode::NOT_FOUND, format!("there is nothing at {path}; try {known}\n"))
}

/// What a changing action gets when it is asked for with another method than POST.
pub fn post_only() -> Reply {
    text(StatusCode::METHOD_NOT_ALLOWED, "this changes something: use POST\n")
}
