//! What clients get when something is wrong, and what is recorded of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use lateen_api::google::protobuf::Duration as ProtoDuration;
use lateen_api::type_url;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::backend::{ask, echo, get, message, serve};
use super::mesh::{Mesh, OUTBOUND, Shape, free_port};
use super::resources::{endpoints_with, named, retry, route_to};

#[tokio::test]
async fn a_wrong_target_port_is_named_with_the_right_one() {
    let nobody = free_port();
    let mesh = Mesh::start(nobody, Shape::default()).await;
    let (head, body) = get(mesh.client.address, "/").await;
    assert!(head.starts_with("HTTP/1.1 503 Service Unavailable\r\n"), "{head}");
    assert_eq!(
        body,
        format!(
            "connection refused by {nobody}; no container behind Service `backend` declares port {}; did you mean \
             `targetPort: 5678`?",
            nobody.port()
        )
    );
    let seen = mesh.server.sink.last(1).await;
    assert_eq!((seen.status, seen.flags.as_str()), (503, "UF"));
    assert_eq!(seen.cause, body);
    assert_eq!(mesh.client.sink.last(1).await.details, "via_upstream");
}

#[tokio::test]
async fn an_endpoint_is_reached_at_the_first_of_its_addresses_that_answers() {
    let mesh = Mesh::start(echo().await, Shape::default()).await;
    let (nobody, server) = (free_port(), mesh.server.address);
    mesh.client.apply(type_url::ENDPOINT, named(OUTBOUND, &endpoints_with(OUTBOUND, &[&[nobody, free_port()]])));
    let (head, body) = get(mesh.client.address, "/").await;
    assert!(head.starts_with("HTTP/1.1 503"), "{head}");
    assert!(body.starts_with(&format!("connection refused by {nobody}")), "the preferred address tells why: {body}");
    mesh.client.apply(type_url::ENDPOINT, named(OUTBOUND, &endpoints_with(OUTBOUND, &[&[nobody, server]])));
    let (head, body) = get(mesh.client.address, "/").await;
    assert!(head.starts_with("HTTP/1.1 200"), "{head}{body}");
}

#[tokio::test]
async fn missing_clusters_endpoints_and_routes_are_told_apart() {
    let mesh = Mesh::start(echo().await, Shape::default()).await;
    mesh.client.endpoints(OUTBOUND, &[]);
    let (head, body) = get(mesh.client.address, "/").await;
    assert!(head.starts_with("HTTP/1.1 503") && body.contains("has no endpoints"), "{head}{body}");
    assert_eq!(mesh.client.sink.last(1).await.flags, "UH");
    mesh.route(route_to("outbound|80|v9|backend.default.svc.cluster.local"));
    let (head, body) = get(mesh.client.address, "/").await;
    assert!(head.starts_with("HTTP/1.1 503") && body.contains("doesn't exist"), "{head}{body}");
    assert_eq!(mesh.client.sink.last(2).await.flags, "NC");
}

#[tokio::test]
async fn slow_answers_time_out() {
    let backend = serve(|mut stream| async move {
        let _ = message(&mut stream).await;
        tokio::time::sleep(Duration::from_secs(30)).await;
    })
    .await;
    let mesh = Mesh::start(backend, Shape::default()).await;
    let mut action = route_to(OUTBOUND);
    action.timeout = Some(ProtoDuration { seconds: 0, nanos: 100_000_000 });
    mesh.route(action);
    let (head, body) = get(mesh.client.address, "/").await;
    assert!(head.starts_with("HTTP/1.1 504") && body.contains("no answer within 100ms"), "{head}{body}");
    let seen = mesh.client.sink.last(1).await;
    assert_eq!((seen.flags.as_str(), seen.details.as_str()), ("UT", "upstream_response_timeout"));
    assert_eq!(mesh.server.sink.last(1).await.flags, "DC", "the server's sidecar is told to give up");
}

/// A server that answers 503 to the first `failures` requests.
async fn flaky(failures: usize) -> std::net::SocketAddr {
    let count = Arc::new(AtomicUsize::new(0));
    serve(move |mut stream| {
        let count = count.clone();
        async move {
            while let Some((_, body)) = message(&mut stream).await {
                let n = count.fetch_add(1, Ordering::SeqCst);
                let status = if n < failures { "503 Service Unavailable" } else { "200 OK" };
                let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n", body.len());
                let _ = stream.write_all(&[head.as_bytes(), &body].concat()).await;
            }
        }
    })
    .await
}

#[tokio::test]
async fn answers_are_retried_with_the_same_body_as_often_as_allowed() {
    for (failures, status, attempts, flags) in [(2, "200", 3, "-"), (5, "503", 3, "URX")] {
        let mesh = Mesh::start(flaky(failures).await, Shape::default()).await;
        let mut action = route_to(OUTBOUND);
        action.retry_policy = retry("5xx", 2);
        mesh.route(action);
        let mut stream = TcpStream::connect(mesh.client.address).await.expect("connect");
        let request = "POST / HTTP/1.1\r\nHost: backend\r\nContent-Length: 5\r\n\r\nhello";
        let (head, body) = ask(&mut stream, request).await;
        assert!(head.starts_with(&format!("HTTP/1.1 {status}")), "{head}");
        assert_eq!(body, "hello");
        let seen = mesh.client.sink.last(1).await;
        assert_eq!((seen.attempts, seen.flags.as_str()), (attempts, flags));
        assert_eq!(mesh.server.sink.last(3).await.received, 5, "the body came each time");
    }
}

#[tokio::test]
async fn a_kept_connection_that_was_closed_is_no_error() {
    let backend = serve(|mut stream| async move {
        let _ = message(&mut stream).await;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
    })
    .await;
    let mesh = Mesh::start(backend, Shape::default()).await;
    let mut stream = TcpStream::connect(mesh.client.address).await.expect("connect");
    for _ in 0..10 {
        let (head, body) = ask(&mut stream, "GET / HTTP/1.1\r\nHost: backend\r\n\r\n").await;
        assert!(head.starts_with("HTTP/1.1 200") && body == "ok", "{head}{body}");
    }
}

#[tokio::test]
async fn what_is_no_request_is_refused_and_the_connection_ended() {
    let mesh = Mesh::start(echo().await, Shape::default()).await;
    for request in [
        "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
    ] {
        let mut stream = TcpStream::connect(mesh.client.address).await.expect("connect");
        stream.write_all(request.as_bytes()).await.expect("write");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("the connection ends");
        assert!(answer.starts_with("HTTP/1.1 400"), "{request:?}: {answer}");
    }
    assert!(mesh.server.sink.0.lock().is_empty(), "nothing of it reached the server");
}

#[tokio::test]
async fn a_client_that_leaves_is_noticed() {
    let backend = serve(|mut stream| async move {
        let _ = message(&mut stream).await;
        tokio::time::sleep(Duration::from_secs(30)).await;
    })
    .await;
    let mesh = Mesh::start(backend, Shape::default()).await;
    let mut stream = TcpStream::connect(mesh.client.address).await.expect("connect");
    stream.write_all(b"GET / HTTP/1.1\r\nHost: backend\r\n\r\n").await.expect("write");
    tokio::time::sleep(Duration::from_millis(200)).await;
    drop(stream);
    let seen = mesh.client.sink.last(1).await;
    assert_eq!((seen.status, seen.flags.as_str()), (0, "DC"));
    assert_eq!(mesh.server.sink.last(1).await.flags, "DC");
}
