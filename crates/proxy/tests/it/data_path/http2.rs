//! HTTP/2 and gRPC from end to end, and from one version to the other.

use std::net::SocketAddr;

use bytes::Bytes;
use h2::client::SendRequest;
use http::{HeaderMap, Request, Response, StatusCode};
use tokio::net::TcpStream;

use super::backend::{echo, get, serve};
use super::mesh::{Mesh, Shape, free_port};

/// Small windows make h2 end connections that carry many small frames.
const WINDOW: u32 = 1 << 20;

async fn connect(proxy: SocketAddr) -> SendRequest<Bytes> {
    let stream = TcpStream::connect(proxy).await.expect("connect");
    let (send, connection) = h2::client::Builder::new()
        .initial_window_size(WINDOW)
        .initial_connection_window_size(WINDOW)
        .handshake(stream)
        .await
        .expect("handshake");
    tokio::spawn(async move {
        let _ = connection.await;
    });
    send
}

/// Sends a request with a body; returns the answer's head, body and trailers.
async fn call(
    send: &mut SendRequest<Bytes>,
    path: &str,
    grpc: bool,
    pieces: &[&[u8]],
) -> (Response<()>, Vec<u8>, Option<HeaderMap>) {
    let mut request = Request::post(format!("http://backend{path}"));
    if grpc {
        request = request.header("content-type", "application/grpc").header("te", "trailers");
    }
    let (response, mut stream) =
        send.send_request(request.body(()).expect("request"), pieces.is_empty()).expect("send");
    for (i, piece) in pieces.iter().enumerate() {
        let last = i + 1 == pieces.len();
        stream.send_data(Bytes::copy_from_slice(piece), last).expect("data");
    }
    let (head, mut recv) = response.await.expect("an answer").into_parts();
    let mut body = Vec::new();
    while let Some(data) = recv.data().await {
        let data = data.expect("data");
        let _ = recv.flow_control().release_capacity(data.len());
        body.extend_from_slice(&data);
    }
    let trailers = recv.trailers().await.expect("trailers");
    (Response::from_parts(head, ()), body, trailers)
}

/// A gRPC-like server: answers with what it got and a status in trailers.
async fn grpc_echo() -> SocketAddr {
    serve(|stream| async move {
        let mut builder = h2::server::Builder::new();
        let builder = builder.initial_window_size(WINDOW).initial_connection_window_size(WINDOW);
        let Ok(mut connection) = builder.handshake::<_, Bytes>(stream).await else { return };
        while let Some(Ok((request, mut respond))) = connection.accept().await {
            tokio::spawn(async move {
                let mut recv = request.into_body();
                let response = Response::builder().header("content-type", "application/grpc").body(()).expect("head");
                let mut send = respond.send_response(response, false).expect("send");
                while let Some(Ok(data)) = recv.data().await {
                    let _ = recv.flow_control().release_capacity(data.len());
                    if send.send_data(data, false).is_err() {
                        return;
                    }
                }
                let trailers =
                    HeaderMap::from_iter([("grpc-status".parse().expect("name"), "7".parse().expect("value"))]);
                let _ = send.send_trailers(trailers);
            });
        }
    })
    .await
}

#[tokio::test]
async fn grpc_passes_with_its_trailers_over_http2_all_the_way() {
    let shape = Shape { http2_between: true, http2_server: true };
    let mesh = Mesh::start(grpc_echo().await, shape).await;
    let mut send = connect(mesh.client.address).await.ready().await.expect("ready");
    for _ in 0..3 {
        let (head, body, trailers) = call(&mut send, "/pkg.Service/Method", true, &[b"one", b"two"]).await;
        assert_eq!((head.status(), body.as_slice()), (StatusCode::OK, &b"onetwo"[..]));
        assert_eq!(trailers.expect("trailers")["grpc-status"], "7");
    }
    let seen = mesh.client.sink.last(3).await;
    assert_eq!((seen.grpc, seen.received, seen.sent), (Some(7), 6, 6));
    assert_eq!(mesh.server.sink.last(3).await.grpc, Some(7));
}

#[tokio::test]
async fn thousands_of_tiny_messages_pass() {
    let shape = Shape { http2_between: true, http2_server: true };
    let mesh = Mesh::start(grpc_echo().await, shape).await;
    let mut send = connect(mesh.client.address).await.ready().await.expect("ready");
    let pieces: Vec<&[u8]> = (0..30_000).map(|_| &b"x"[..]).collect();
    let (_, body, trailers) = call(&mut send, "/pkg.Service/Stream", true, &pieces).await;
    assert_eq!(body.len(), 30_000);
    assert!(trailers.is_some());
}

#[tokio::test]
async fn http2_clients_reach_http1_servers() {
    let mesh = Mesh::start(echo().await, Shape::default()).await;
    let mut send = connect(mesh.client.address).await.ready().await.expect("ready");
    let (head, body, _) = call(&mut send, "/a", false, &[b"hello"]).await;
    let text = String::from_utf8_lossy(&body);
    assert_eq!(head.status(), StatusCode::OK);
    assert_eq!(head.headers()["x-app"], "yes");
    assert!(text.starts_with("POST /a HTTP/1.1\r\nhost: backend\r\n"), "{text}");
    let (_, body, _) = call(&mut send, "/b", false, &[]).await;
    assert!(body.starts_with(b"POST /b HTTP/1.1\r\n"));
}

#[tokio::test]
async fn http1_clients_reach_http2_servers() {
    let shape = Shape { http2_between: true, http2_server: false };
    let mesh = Mesh::start(echo().await, shape).await;
    for i in 0..3 {
        let (head, body) = get(mesh.client.address, &format!("/{i}")).await;
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        assert!(body.starts_with(&format!("GET /{i} HTTP/1.1\r\n")), "{body}");
    }
}

#[tokio::test]
async fn grpc_clients_get_errors_as_grpc_status() {
    let shape = Shape { http2_between: true, http2_server: true };
    let mesh = Mesh::start(free_port(), shape).await;
    let mut send = connect(mesh.client.address).await.ready().await.expect("ready");
    let (head, _, _) = call(&mut send, "/pkg.Service/Method", true, &[b"one"]).await;
    assert_eq!(head.status(), StatusCode::OK);
    assert_eq!(head.headers()["grpc-status"], "14");
    let message = head.headers()["grpc-message"].to_str().expect("text");
    assert!(message.starts_with("connection refused by 127.0.0.1:"), "{message}");
}
