//! The HTTP check: the request itself, or as much of it as the proxy passes on; the answer's status is the verdict.

use std::fmt::Write as _;

use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;

use super::{ALLOWED, CHECK, OVERRIDE, RECEIVED, RESULT, bounded, reason, verdict};
use crate::{
    http_text,
    serve::{self, Body},
};

/// The largest body that is read.
const BODY_LIMIT: usize = 16 << 20;

pub(super) async fn answer(request: Request<Incoming>) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let body = match Limited::new(body, BODY_LIMIT).collect().await {
        Ok(collected) => String::from_utf8_lossy(&collected.to_bytes()).into_owned(),
        Err(_) => return empty(StatusCode::PAYLOAD_TOO_LARGE),
    };
    let allowed = parts.headers.get(CHECK).is_some_and(|value| value == ALLOWED);
    let host = http_text::host(&parts.uri, &parts.headers);
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    let headers = shown(&parts.headers);
    let received = format!("{} {host}{path}, headers: {headers}, body: [{}]", parts.method, bounded(body));
    println!("[HTTP][{}]: {received}", verdict(allowed));
    let mut response = if allowed { empty(StatusCode::OK) } else { denial() };
    let headers = response.headers_mut();
    headers.insert(RESULT, HeaderValue::from_static(verdict(allowed)));
    let overridden = parts.headers.get(OVERRIDE).cloned();
    headers.insert(OVERRIDE, overridden.unwrap_or(HeaderValue::from_static("")));
    // A body may hold what no header can.
    let received: String = received.chars().map(|one| if one.is_control() { ' ' } else { one }).collect();
    if let Ok(received) = HeaderValue::from_str(&bounded(received)) {
        headers.insert(RECEIVED, received);
    }
    response
}

/// Headers as Go shows a map of them.
fn shown(headers: &HeaderMap) -> String {
    let mut names: Vec<_> = headers.keys().filter(|name| **name != header::HOST).collect();
    names.sort_unstable_by_key(|name| name.as_str());
    let mut text = String::from("map[");
    for name in names {
        let values: Vec<_> =
            headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes())).collect();
        let separator = if text.ends_with('[') { "" } else { " " };
        let _ = write!(text, "{separator}{}:[{}]", http_text::capitals(name.as_str()), values.join(" "));
    }
    text.push(']');
    text
}

fn empty(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(serve::full(""));
    *response.status_mut() = status;
    response
}

fn denial() -> Response<Body> {
    let mut response = Response::new(serve::full(reason()));
    *response.status_mut() = StatusCode::FORBIDDEN;
    let kind = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}
