//! httpbin: shows requests, and makes responses to order. One program for both flavours of the well-known images.

mod auth;
mod bodies;
mod inspect;
mod order;
mod received;

use std::{net::SocketAddr, process::ExitCode};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use serde_json::Value;

use crate::serve::{self, Body};
use received::Received;

/// The largest request body that is read.
const BODY_LIMIT: usize = 16 << 20;
/// The longest that a request may ask to wait.
const DELAY_LIMIT: f64 = 10.0;

/// Which of the images is imitated: they differ in their default port and in how JSON shows repeated values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flavor {
    /// `kennethreitz/httpbin`, `kong/httpbin`.
    Python,
    /// `mccutchen/go-httpbin`.
    Go,
}

pub(crate) async fn run(flavor: Flavor, args: &[String]) -> ExitCode {
    let environment = |name: &str| std::env::var(name).ok().filter(|text| !text.is_empty());
    let address = match address(flavor, args, environment("HOST"), environment("PORT")) {
        Ok(address) => address,
        Err(reason) => {
            eprintln!("httpbin: {reason}");
            return ExitCode::from(2);
        }
    };
    let listener = match serve::listen(&address).await {
        Ok(listener) => listener,
        Err(error) => {
            eprintln!("httpbin: can't listen on {address}: {error}");
            return ExitCode::FAILURE;
        }
    };
    println!("httpbin is listening on {address}");
    let served = serve::serve(listener, move |request, peer| respond(flavor, request, peer));
    match served.await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("httpbin: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Where to listen: gunicorn's `-b ADDRESS` and go-httpbin's `-host`, `-port` are understood, whatever else is given
/// (workers, the application's name) means nothing here.
fn address(
    flavor: Flavor,
    args: &[String],
    mut host: Option<String>,
    mut port: Option<String>,
) -> Result<String, String> {
    let mut bind = None;
    let mut words = args.iter();
    while let Some(word) = words.next() {
        let (name, inline) = match word.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (word.as_str(), None),
        };
        let mut value =
            || inline.clone().or_else(|| words.next().cloned()).ok_or_else(|| format!("{name} needs a value"));
        match name {
            "-b" | "--bind" => bind = Some(value()?),
            "-host" | "--host" => host = Some(value()?),
            "-port" | "--port" => port = Some(value()?),
            _ => {}
        }
    }
    let default = if flavor == Flavor::Go { "8080" } else { "80" };
    let address =
        bind.unwrap_or_else(|| format!("{}:{}", host.unwrap_or_default(), port.unwrap_or_else(|| default.into())));
    let valid = address.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    if valid { Ok(address) } else { Err(format!("{address:?} is not an address; write HOST:PORT")) }
}

async fn respond(flavor: Flavor, request: Request<Incoming>, peer: SocketAddr) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let content = match Limited::new(body, BODY_LIMIT).collect().await {
        Ok(collected) => collected.to_bytes(),
        Err(_) => return status(StatusCode::PAYLOAD_TOO_LARGE),
    };
    let received = Received::new(flavor, parts, content, peer);
    let mut response = route(&received).await;
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
    let origin = received.header("origin").and_then(|origin| HeaderValue::from_str(origin).ok());
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.unwrap_or(HeaderValue::from_static("*")));
    response
}

async fn route(received: &Received) -> Response<Body> {
    let path = received.path().to_owned();
    let segments: Vec<&str> = path.trim_matches('/').split('/').collect();
    match segments.as_slice() {
        [""] => bodies::index(),
        ["get"] => only(received, &[Method::GET], inspect::get),
        ["head"] => only(received, &[Method::HEAD], inspect::get),
        ["post"] => only(received, &[Method::POST], inspect::data),
        ["put"] => only(received, &[Method::PUT], inspect::data),
        ["patch"] => only(received, &[Method::PATCH], inspect::data),
        ["delete"] => only(received, &[Method::DELETE], inspect::data),
        ["anything", ..] => inspect::anything(received),
        ["headers"] => inspect::headers(received),
        ["ip"] => inspect::ip(received),
        ["user-agent"] => inspect::user_agent(received),
        ["hostname"] => inspect::hostname(),
        ["cookies", rest @ ..] => inspect::cookies(received, rest),
        ["basic-auth", user, password] => auth::basic(received, user, password, StatusCode::UNAUTHORIZED),
        ["hidden-basic-auth", user, password] => auth::basic(received, user, password, StatusCode::NOT_FOUND),
        ["bearer"] => auth::bearer(received),
        _ => order::route(received, &segments).await,
    }
}

fn only(received: &Received, methods: &[Method], answer: impl FnOnce(&Received) -> Response<Body>) -> Response<Body> {
    let head_of_get = received.method() == Method::HEAD && methods.contains(&Method::GET);
    if head_of_get || methods.contains(received.method()) {
        return answer(received);
    }
    let mut response = status(StatusCode::METHOD_NOT_ALLOWED);
    let allowed = methods.iter().map(Method::as_str).collect::<Vec<_>>().join(", ");
    if let Ok(allowed) = HeaderValue::from_str(&allowed) {
        response.headers_mut().insert(header::ALLOW, allowed);
    }
    response
}

/// A response with a body of this type.
fn content(kind: &'static str, content: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(serve::full(content));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

/// A response that shows a value as indented JSON.
fn json(value: &Value) -> Response<Body> {
    let mut text = serde_json::to_string_pretty(value).unwrap_or_default();
    text.push('\n');
    content("application/json", text)
}

/// A response that is only a status.
fn status(status: StatusCode) -> Response<Body> {
    let mut response = content("text/html; charset=utf-8", Bytes::new());
    *response.status_mut() = status;
    response
}

#[cfg(test)]
mod tests;
