//! Endpoints that make a response to order: a status, a delay, headers, a redirect, a body.

use std::time::Duration;

use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use serde_json::{Map, Value, json};

use super::{DELAY_LIMIT, bodies, content, inspect, json as answer, received::Received, status};
use crate::serve::Body;

pub(super) async fn route(received: &Received, segments: &[&str]) -> Response<Body> {
    match segments {
        ["status", codes] => by_status(codes),
        ["delay", seconds] => delay(received, seconds).await,
        ["response-headers"] => response_headers(received),
        ["redirect", count] | ["relative-redirect", count] => redirect(count),
        ["absolute-redirect", count] => absolute_redirect(received, count),
        ["redirect-to"] => redirect_to(received),
        ["cache"] => cache(received),
        ["cache", seconds] => cached_for(received, seconds),
        ["etag", tag] => etag(received, tag),
        _ => bodies::route(received, segments).await,
    }
}

/// One status, or one of several by weight: `200:3,503:1`.
fn by_status(codes: &str) -> Response<Body> {
    let mut choices = Vec::new();
    for choice in codes.split(',') {
        let (code, weight) = choice.split_once(':').unwrap_or((choice, "1"));
        let code = code.trim().parse::<u16>().ok().and_then(|code| StatusCode::from_u16(code).ok());
        match (code, weight.trim().parse::<f64>()) {
            (Some(code), Ok(weight)) if weight > 0.0 && code.as_u16() >= 200 => choices.push((code, weight)),
            _ => return refused("Invalid status code"),
        }
    }
    let total: f64 = choices.iter().map(|(_, weight)| weight).sum();
    let mut point = fastrand::f64() * total;
    let chosen = choices.iter().find(|(_, weight)| {
        point -= weight;
        point < 0.0
    });
    let Some((code, _)) = chosen.or(choices.last()) else {
        return refused("Invalid status code");
    };
    let mut response = status(*code);
    match code.as_u16() {
        301..=303 | 305 | 307 | 308 => {
            response.headers_mut().insert(header::LOCATION, HeaderValue::from_static("/redirect/1"));
        }
        401 => {
            let challenge = HeaderValue::from_static("Basic realm=\"Fake Realm\"");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
        }
        418 => *response.body_mut() = crate::serve::full("I'm a teapot.\n"),
        _ => {}
    }
    response
}

async fn delay(received: &Received, seconds: &str) -> Response<Body> {
    let seconds = seconds.trim_end_matches('s').parse::<f64>();
    match seconds {
        Ok(seconds) if seconds >= 0.0 => {
            tokio::time::sleep(Duration::from_secs_f64(seconds.min(DELAY_LIMIT))).await;
            inspect::data(received)
        }
        _ => refused("Invalid delay"),
    }
}

fn response_headers(received: &Received) -> Response<Body> {
    let pairs = received.query();
    let mut response = answer(&received.grouped(pairs.clone()));
    for (name, value) in pairs {
        if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), HeaderValue::from_str(&value)) {
            response.headers_mut().append(name, value);
        }
    }
    response
}

fn redirect(count: &str) -> Response<Body> {
    match count.parse::<u32>() {
        Ok(0) | Err(_) => refused("Invalid redirect count"),
        Ok(1) => to("/get", StatusCode::FOUND),
        Ok(count) => to(&format!("/relative-redirect/{}", count - 1), StatusCode::FOUND),
    }
}

fn absolute_redirect(received: &Received, count: &str) -> Response<Body> {
    let host = received.host();
    match count.parse::<u32>() {
        Ok(0) | Err(_) => refused("Invalid redirect count"),
        Ok(1) => to(&format!("http://{host}/get"), StatusCode::FOUND),
        Ok(count) => to(&format!("http://{host}/absolute-redirect/{}", count - 1), StatusCode::FOUND),
    }
}

fn redirect_to(received: &Received) -> Response<Body> {
    let code = received.number::<u16>("status_code").and_then(|code| StatusCode::from_u16(code).ok());
    let code = code.filter(StatusCode::is_redirection).unwrap_or(StatusCode::FOUND);
    match received.parameter("url") {
        Some(url) => to(&url, code),
        None => refused("Missing URL"),
    }
}

fn to(location: &str, code: StatusCode) -> Response<Body> {
    let Ok(location) = HeaderValue::from_str(location) else {
        return refused("Invalid URL");
    };
    let mut response = status(code);
    response.headers_mut().insert(header::LOCATION, location);
    response
}

fn cache(received: &Received) -> Response<Body> {
    if received.header("if-modified-since").or_else(|| received.header("if-none-match")).is_some() {
        return status(StatusCode::NOT_MODIFIED);
    }
    inspect::get(received)
}

fn cached_for(received: &Received, seconds: &str) -> Response<Body> {
    let Ok(seconds) = seconds.parse::<u32>() else {
        return refused("Invalid number of seconds");
    };
    let mut response = inspect::get(received);
    if let Ok(value) = HeaderValue::from_str(&format!("public, max-age={seconds}")) {
        response.headers_mut().insert(header::CACHE_CONTROL, value);
    }
    response
}

fn etag(received: &Received, tag: &str) -> Response<Body> {
    let quoted = format!("\"{tag}\"");
    let asked = |name: &str| received.header(name).map(|list| list == "*" || list.contains(&quoted));
    let mut response = match (asked("if-none-match"), asked("if-match")) {
        (Some(true), _) => status(StatusCode::NOT_MODIFIED),
        (_, Some(false)) => status(StatusCode::PRECONDITION_FAILED),
        _ => inspect::get(received),
    };
    if let Ok(value) = HeaderValue::from_str(&quoted) {
        response.headers_mut().insert(header::ETAG, value);
    }
    response
}

fn refused(reason: &'static str) -> Response<Body> {
    let mut response = content("text/plain; charset=utf-8", reason);
    *response.status_mut() = StatusCode::BAD_REQUEST;
    response
}

/// A line of `/stream`: the request, numbered.
pub(super) fn stream_line(received: &Received, id: u32) -> String {
    let mut shown: Map<String, Value> = Map::new();
    shown.insert("args".into(), received.args_json());
    shown.insert("headers".into(), received.headers_json());
    shown.insert("id".into(), json!(id));
    shown.insert("origin".into(), json!(received.origin()));
    shown.insert("url".into(), json!(received.url()));
    format!("{}\n", Value::Object(shown))
}
