//! Endpoints that show the request.

use base64::{Engine, engine::general_purpose::STANDARD};
use http::{HeaderValue, Response, StatusCode, header};
use serde_json::{Value, json};

use crate::http_text::pairs;

use super::{Flavor, json as answer, received::Received, status};
use crate::serve::Body;

pub(super) fn get(received: &Received) -> Response<Body> {
    let mut shown = json!({
        "args": received.args_json(),
        "headers": received.headers_json(),
        "origin": received.origin(),
        "url": received.url(),
    });
    if received.flavor == Flavor::Go {
        shown["method"] = json!(received.method().as_str());
    }
    sorted(shown)
}

pub(super) fn data(received: &Received) -> Response<Body> {
    shown(received, received.flavor == Flavor::Go)
}

pub(super) fn anything(received: &Received) -> Response<Body> {
    shown(received, true)
}

fn shown(received: &Received, method: bool) -> Response<Body> {
    let kind = received.header("content-type").unwrap_or_default();
    let text = match std::str::from_utf8(&received.body) {
        Ok(text) => text.to_owned(),
        Err(_) => format!("data:application/octet-stream;base64,{}", STANDARD.encode(&received.body)),
    };
    let form = kind.starts_with("application/x-www-form-urlencoded");
    let mut shown = json!({
        "args": received.args_json(),
        "data": if form && received.flavor == Flavor::Python { "" } else { text.as_str() },
        "files": {},
        "form": received.grouped(if form { pairs(&text) } else { Vec::new() }),
        "headers": received.headers_json(),
        "json": serde_json::from_str::<Value>(&text).unwrap_or(Value::Null),
        "origin": received.origin(),
        "url": received.url(),
    });
    if method {
        shown["method"] = json!(received.method().as_str());
    }
    sorted(shown)
}

fn sorted(mut shown: Value) -> Response<Body> {
    if let Some(fields) = shown.as_object_mut() {
        fields.sort_keys();
    }
    answer(&shown)
}

pub(super) fn headers(received: &Received) -> Response<Body> {
    answer(&json!({ "headers": received.headers_json() }))
}

pub(super) fn ip(received: &Received) -> Response<Body> {
    answer(&json!({ "origin": received.origin() }))
}

pub(super) fn user_agent(received: &Received) -> Response<Body> {
    answer(&json!({ "user-agent": received.header("user-agent") }))
}

pub(super) fn hostname() -> Response<Body> {
    let name = std::env::var("HOSTNAME").ok();
    let name = name.or_else(|| std::fs::read_to_string("/proc/sys/kernel/hostname").ok()).unwrap_or_default();
    answer(&json!({ "hostname": name.trim() }))
}

/// `/cookies`, `/cookies/set?name=value`, `/cookies/set/name/value`, `/cookies/delete?name`.
pub(super) fn cookies(received: &Received, rest: &[&str]) -> Response<Body> {
    match rest {
        [] => {
            let cookies = received.cookies().into_iter().map(|(name, value)| (name, json!(value))).collect();
            answer(&json!({ "cookies": Value::Object(cookies) }))
        }
        ["set"] => set_cookies(received.query().iter().map(|(name, value)| format!("{name}={value}; Path=/"))),
        ["set", name, value] => set_cookies([format!("{name}={value}; Path=/")].into_iter()),
        ["delete"] => set_cookies(received.query().iter().map(|(name, _)| format!("{name}=; Max-Age=0; Path=/"))),
        _ => status(StatusCode::NOT_FOUND),
    }
}

fn set_cookies(cookies: impl Iterator<Item = String>) -> Response<Body> {
    let mut response = status(StatusCode::FOUND);
    let headers = response.headers_mut();
    headers.insert(header::LOCATION, HeaderValue::from_static("/cookies"));
    for cookie in cookies {
        if let Ok(cookie) = HeaderValue::from_str(&cookie) {
            headers.append(header::SET_COOKIE, cookie);
        }
    }
    response
}
