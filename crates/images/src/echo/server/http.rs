//! HTTP: the answer tells what the server saw.

use std::sync::Arc;

use http::{HeaderValue, Request, Response, StatusCode, header};
use hyper::body::Incoming;

use super::{Connection, Server, order::Order};
use crate::{
    echo::{lines::Lines, options::Port},
    http_text,
    serve::{self, Body},
    web_socket,
};

pub(super) async fn answer(
    server: Arc<Server>,
    port: Port,
    connection: Arc<Connection>,
    mut request: Request<Incoming>,
) -> Response<Body> {
    server.count(&port);
    if web_socket::is_asked(&request) {
        let told = told(&server, &port, &connection, &request).finish();
        return web_socket::answer(&mut request, move |said| format!("{told}StatusCode=200\nEcho={said}\n"));
    }
    let (parts, body) = request.into_parts();
    serve::drain(body).await;
    let request = Request::from_parts(parts, ());
    match Order::parse(request.uri().query().unwrap_or_default()) {
        Err(reason) => text(StatusCode::BAD_REQUEST, format!("{reason}\n")),
        Ok(order) => {
            tokio::time::sleep(order.delay).await;
            let mut told = told(&server, &port, &connection, &request);
            if order.size > 0 {
                told.field("Payload", "a".repeat(order.size));
            }
            let mut response = text(order.status(fastrand::u32(..)), told.finish());
            response.headers_mut().extend(order.headers);
            response
        }
    }
}

fn told<B>(server: &Server, port: &Port, connection: &Connection, request: &Request<B>) -> Lines {
    let mut lines = Lines::plain();
    server.describe(&mut lines, port, connection);
    lines.field("Host", http_text::host(request.uri(), request.headers()));
    lines.field("URL", request.uri().path_and_query().map_or("/", |path| path.as_str()));
    lines.field("Method", request.method());
    lines.field("Proto", http_text::protocol(request.version()));
    let mut others = request.headers().clone();
    others.remove(header::HOST);
    lines.headers("RequestHeader", &others);
    lines.field("Hostname", &server.hostname);
    lines
}

/// `/metrics`, for Prometheus.
pub(super) fn metrics(server: &Server, path: &str) -> Response<Body> {
    match path {
        "/metrics" => text(StatusCode::OK, server.metrics()),
        _ => text(StatusCode::NOT_FOUND, "the counters are at /metrics\n".into()),
    }
}

fn text(status: StatusCode, content: String) -> Response<Body> {
    let mut response = Response::new(serve::full(content));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}
