//! HTTP: JSON that says what arrived where.

use std::{collections::BTreeMap, time::Duration};

use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, header, request::Parts};
use hyper::body::Incoming;
use serde::Serialize;

use super::Identity;
use crate::{
    go_duration,
    http_text::{self, capitals, pairs},
    serve::{self, Body},
    tls::Session,
    web_socket,
};

/// The longest that a request may ask to wait.
const LONGEST: Duration = Duration::from_secs(600);

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Assertions<'a> {
    path: &'a str,
    host: &'a str,
    method: &'a str,
    proto: &'a str,
    headers: BTreeMap<String, Vec<String>>,
    http_port: &'a str,
    namespace: &'a str,
    ingress: &'a str,
    service: &'a str,
    pod: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    tls: Option<Tls<'a>>,
    sni: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Tls<'a> {
    version: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    peer_certificates: Vec<String>,
    server_name: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    negotiated_protocol: &'a str,
    cipher_suite: &'a str,
}

pub(super) async fn answer(
    identity: &Identity,
    session: Option<&Session>,
    mut request: Request<Incoming>,
) -> Response<Body> {
    let path = request.uri().path().to_owned();
    if path == "/ws" && web_socket::is_asked(&request) {
        // Every message comes back.
        return web_socket::answer(&mut request, |said| said);
    }
    if path == "/health" {
        return text(StatusCode::OK, "OK");
    }
    if let Some(code) = path.strip_prefix("/status/") {
        let code = code.parse::<u16>().ok().and_then(|code| StatusCode::from_u16(code).ok());
        // 1xx are no answers.
        let code = code.filter(|code| !code.is_informational()).unwrap_or(StatusCode::BAD_REQUEST);
        return text(code, "");
    }
    let (parts, body) = request.into_parts();
    serve::drain(body).await;
    if let Err(reason) = delay(&parts).await {
        return text(StatusCode::INTERNAL_SERVER_ERROR, &reason);
    }
    echo(identity, session, &parts)
}

/// `delay=DURATION` in the query.
async fn delay(parts: &Parts) -> Result<(), String> {
    let query = pairs(parts.uri.query().unwrap_or_default());
    if let Some((_, value)) = query.iter().find(|(name, _)| name == "delay") {
        let delay = go_duration::parse(value).filter(|delay| *delay <= LONGEST);
        tokio::time::sleep(delay.ok_or_else(|| format!("delay={value}: not a duration up to 10m"))?).await;
    }
    Ok(())
}

fn echo(identity: &Identity, session: Option<&Session>, parts: &Parts) -> Response<Body> {
    let assertions = Assertions {
        path: parts.uri.path_and_query().map_or("/", |path| path.as_str()),
        host: http_text::host(&parts.uri, &parts.headers),
        method: parts.method.as_str(),
        proto: http_text::protocol(parts.version),
        headers: headers(&parts.headers),
        http_port: &identity.http_port,
        namespace: &identity.namespace,
        ingress: &identity.ingress,
        service: &identity.service,
        pod: &identity.pod,
        tls: session.map(|session| Tls {
            version: session.version,
            peer_certificates: session.client_certificates(),
            server_name: &session.server_name,
            negotiated_protocol: &session.alpn,
            cipher_suite: &session.cipher_suite,
        }),
        sni: session.map_or("", |session| session.server_name.as_str()),
    };
    // By this line the Gateway API's tests know who got a copy of a request.
    println!("Echoing back request made to {} to client", assertions.path);
    let content = serde_json::to_vec_pretty(&assertions).unwrap_or_default();
    let mut response = Response::new(serve::full(content));
    set_headers(&parts.headers, response.headers_mut());
    let set = [(header::CONTENT_TYPE, "application/json"), (header::X_CONTENT_TYPE_OPTIONS, "nosniff")];
    for (name, value) in set {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

/// Header values by name, as Go shows them; the host has a place of its own.
fn headers(headers: &HeaderMap) -> BTreeMap<String, Vec<String>> {
    let mut shown: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, value) in headers.iter().filter(|(name, _)| *name != header::HOST) {
        let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
        shown.entry(capitals(name.as_str())).or_default().push(value);
    }
    shown
}

/// `X-Echo-Set-Header: NAME:VALUE, ...` asks for headers of the response.
fn set_headers(asked: &HeaderMap, response: &mut HeaderMap) {
    let asked = asked.get_all("x-echo-set-header").iter().filter_map(|value| value.to_str().ok());
    for pair in asked.flat_map(|list| list.split(',')) {
        let (name, value) = pair.trim().split_once(':').unwrap_or((pair.trim(), ""));
        if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), HeaderValue::from_str(value)) {
            response.append(name, value);
        }
    }
}

fn text(status: StatusCode, content: &str) -> Response<Body> {
    let mut response = Response::new(serve::full(content.to_owned()));
    *response.status_mut() = status;
    response
}
