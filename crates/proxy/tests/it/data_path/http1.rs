//! HTTP/1.1 from end to end.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::backend::{ask, echo, get, header, message, serve};
use super::mesh::{CLIENT, Mesh, SERVER, Shape};
use super::resources::{flag, http_filter_chain, http10_filter_chain, listener};

#[tokio::test]
async fn a_request_travels_over_mutual_tls_and_both_ends_know_each_other() {
    let mesh = Mesh::start(echo().await, Shape::default()).await;
    let (head, body) = get(mesh.client.address, "/hello?a=b").await;
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert_eq!(header(&head, "x-app").as_deref(), Some("yes"));
    assert_eq!(header(&head, "server").as_deref(), Some("istio-envoy"));
    assert!(header(&head, "x-envoy-upstream-service-time").is_some(), "{head}");
    assert!(body.starts_with("GET /hello?a=b HTTP/1.1\r\nhost: backend\r\n"), "{body}");
    let certificate = header(&body, "x-forwarded-client-cert").expect("the server learns who asks");
    assert!(certificate.contains(&format!("URI={CLIENT}")) && certificate.contains(&format!("By={SERVER}")));
    assert_eq!(header(&body, "x-envoy-attempt-count").as_deref(), Some("1"));
    assert_eq!(header(&body, "x-request-id").map(|id| id.len()), Some(36));
    let seen = mesh.client.sink.last(1).await;
    assert_eq!((seen.status, seen.flags.as_str(), seen.details.as_str()), (200, "-", "via_upstream"));
    assert_eq!(seen.upstream_principal, SERVER);
    assert_eq!(seen.route, "default");
    let seen = mesh.server.sink.last(1).await;
    assert_eq!((seen.status, seen.principal.as_str()), (200, CLIENT));
}

#[tokio::test]
async fn one_connection_serves_many_requests_also_pipelined() {
    let mesh = Mesh::start(echo().await, Shape::default()).await;
    let mut stream = TcpStream::connect(mesh.client.address).await.expect("connect");
    for i in 0..20 {
        let (_, body) = ask(&mut stream, &format!("GET /{i} HTTP/1.1\r\nHost: backend\r\n\r\n")).await;
        assert!(body.starts_with(&format!("GET /{i} ")), "{body}");
    }
    let two =
        "POST /a HTTP/1.1\r\nHost: backend\r\nContent-Length: 3\r\n\r\nabcGET /b HTTP/1.1\r\nHost: backend\r\n\r\n";
    let (_, first) = ask(&mut stream, two).await;
    assert!(first.starts_with("POST /a ") && first.ends_with("\r\n\r\nabc"), "{first}");
    let (_, second) = message(&mut stream).await.expect("the second answer");
    assert!(second.starts_with(b"GET /b "));
}

#[tokio::test]
async fn large_bodies_stream_both_ways() {
    let mesh = Mesh::start(echo().await, Shape::default()).await;
    let mut stream = TcpStream::connect(mesh.client.address).await.expect("connect");
    let body: String = (0..300_000).map(|i| char::from(b'a' + (i % 26) as u8)).collect();
    let request = format!("PUT /big HTTP/1.1\r\nHost: backend\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let (_, answer) = ask(&mut stream, &request).await;
    assert!(answer.ends_with(&body), "all of it comes back");
    let seen = mesh.client.sink.last(1).await;
    assert_eq!(seen.received, 300_000);
    let chunks: String = body
        .as_bytes()
        .chunks(7001)
        .map(|chunk| format!("{:x}\r\n{}\r\n", chunk.len(), String::from_utf8_lossy(chunk)))
        .collect();
    let request = format!("PUT /big HTTP/1.1\r\nHost: backend\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}0\r\n\r\n");
    let (_, answer) = ask(&mut stream, &request).await;
    assert_eq!(header(&answer, "transfer-encoding").as_deref(), Some("chunked"));
    assert!(answer.ends_with("\r\n0\r\n\r\n"));
    assert_eq!(mesh.client.sink.last(2).await.received, 300_000);
}

#[tokio::test]
async fn expectations_are_met_before_the_body_is_sent() {
    let mesh = Mesh::start(echo().await, Shape::default()).await;
    let mut stream = TcpStream::connect(mesh.client.address).await.expect("connect");
    let head = "POST / HTTP/1.1\r\nHost: backend\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n";
    let (proceed, _) = ask(&mut stream, head).await;
    assert_eq!(proceed, "HTTP/1.1 100 Continue\r\n\r\n");
    let (head, body) = ask(&mut stream, "body").await;
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    assert!(body.ends_with("body") && header(&body, "expect").is_none(), "{body}");
}

#[tokio::test]
async fn heads_and_empty_answers_keep_the_connection_in_step() {
    let backend = serve(|mut stream| async move {
        while let Some((head, _)) = message(&mut stream).await {
            let reply = match head.split(' ').next() {
                Some("HEAD") => "HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n",
                Some("DELETE") => "HTTP/1.1 204 No Content\r\n\r\n",
                _ => "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 1\r\n\r\n",
            };
            stream.write_all(reply.as_bytes()).await.expect("write");
        }
    })
    .await;
    let mesh = Mesh::start(backend, Shape::default()).await;
    let mut stream = TcpStream::connect(mesh.client.address).await.expect("connect");
    let send = |method: &str| format!("{method} / HTTP/1.1\r\nHost: backend\r\n\r\n");
    stream.write_all(send("HEAD").as_bytes()).await.expect("write");
    let mut bytes = vec![0; 4096];
    let n = stream.read(&mut bytes).await.expect("read");
    let head = String::from_utf8_lossy(&bytes[..n]).into_owned();
    assert!(head.ends_with("\r\n\r\n") && header(&head, "content-length").as_deref() == Some("500"), "{head}");
    let (head, body) = ask(&mut stream, &send("DELETE")).await;
    assert!(head.starts_with("HTTP/1.1 204") && header(&head, "content-length").is_none() && body.is_empty(), "{head}");
    let (_, body) = ask(&mut stream, &send("GET")).await;
    assert!(body.contains("2\r\nok\r\n0\r\nx-sum: 1\r\n\r\n"), "trailers are passed on: {body}");
}

#[tokio::test]
async fn web_sockets_become_a_tunnel() {
    let backend = serve(|mut stream| async move {
        let Some((head, _)) = message(&mut stream).await else { return };
        assert_eq!(header(&head, "upgrade").as_deref(), Some("websocket"));
        let reply = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
        stream.write_all(reply).await.expect("write");
        let (mut read, mut write) = stream.split();
        let _ = tokio::io::copy(&mut read, &mut write).await;
    })
    .await;
    let mesh = Mesh::start(backend, Shape::default()).await;
    let mut stream = TcpStream::connect(mesh.client.address).await.expect("connect");
    let request = "GET /ws HTTP/1.1\r\nHost: backend\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    let (head, _) = ask(&mut stream, request).await;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    assert_eq!(header(&head, "upgrade").as_deref(), Some("websocket"));
    for text in ["ping", "pong"] {
        stream.write_all(text.as_bytes()).await.expect("write");
        let mut bytes = [0; 4];
        stream.read_exact(&mut bytes).await.expect("read");
        assert_eq!(&bytes, text.as_bytes());
    }
    stream.shutdown().await.expect("shutdown");
    assert_eq!(stream.read(&mut [0; 8]).await.expect("the end"), 0);
    assert_eq!(mesh.client.sink.last(1).await.status, 101);
}

/// The mesh with a port that is declared HTTP, so that nothing is told by its first bytes.
async fn declared_http(chain: lateen_api::envoy::envoy::config::listener::v3::FilterChain) -> Mesh {
    let mesh = Mesh::start(echo().await, Shape::default()).await;
    let mut port = listener("0.0.0.0_80", "0.0.0.0:80".parse().expect("address"), 2, vec![chain]);
    port.bind_to_port = flag(false);
    port.listener_filters.clear();
    mesh.client.listener(&port);
    mesh
}

/// Sends `request` on a connection of its own and reads until its end.
async fn until_end(mesh: &Mesh, request: &str) -> String {
    let mut stream = TcpStream::connect(mesh.client.address).await.expect("connect");
    stream.write_all(request.as_bytes()).await.expect("write");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.expect("the end");
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn clients_of_http_1_0_are_told_to_upgrade() {
    let mesh = declared_http(http_filter_chain("80")).await;
    let answer = until_end(&mesh, "GET / HTTP/1.0\r\nHost: backend\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 426 Upgrade Required\r\n"), "{answer}");
    assert_eq!(header(&answer, "connection").as_deref(), Some("close"));
    assert!(answer.contains("use HTTP/1.1"), "it says what to do: {answer}");
    assert_eq!(mesh.client.sink.last(1).await.status, 426);
}

#[tokio::test]
async fn clients_of_http_1_0_are_served_where_they_are_accepted() {
    let mesh = declared_http(http10_filter_chain("80")).await;
    let answer = until_end(&mesh, "GET /old HTTP/1.0\r\nHost: backend\r\n\r\n").await;
    assert!(answer.contains(" 200 OK\r\n") && answer.contains("GET /old HTTP/1.1\r\n"), "{answer}");
    assert!(header(&answer, "transfer-encoding").is_none(), "they know no chunks: {answer}");
    let mut stream = TcpStream::connect(mesh.client.address).await.expect("connect");
    for path in ["/a", "/b"] {
        let request = format!("GET {path} HTTP/1.0\r\nHost: backend\r\nConnection: keep-alive\r\n\r\n");
        let (head, body) = ask(&mut stream, &request).await;
        assert_eq!(header(&head, "connection").as_deref(), Some("keep-alive"), "{head}");
        assert!(body.starts_with(&format!("GET {path} ")), "{body}");
    }
}

#[tokio::test]
async fn an_offer_of_h2c_is_not_passed_on_and_the_request_served() {
    let mesh = Mesh::start(echo().await, Shape::default()).await;
    let mut stream = TcpStream::connect(mesh.client.address).await.expect("connect");
    let offer = "GET / HTTP/1.1\r\nHost: backend\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\
                 HTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n";
    let (head, body) = ask(&mut stream, offer).await;
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    for name in ["upgrade", "http2-settings", "connection"] {
        assert!(header(&body, name).is_none(), "{name}: {body}");
    }
    let (_, body) = ask(&mut stream, "GET /next HTTP/1.1\r\nHost: backend\r\n\r\n").await;
    assert!(body.starts_with("GET /next "), "{body}");
}

#[tokio::test]
async fn trailers_of_requests_reach_the_server() {
    let mesh = Mesh::start(echo().await, Shape::default()).await;
    let mut stream = TcpStream::connect(mesh.client.address).await.expect("connect");
    let request = "POST / HTTP/1.1\r\nHost: backend\r\nTransfer-Encoding: chunked\r\nTE: trailers\r\n\
                   Trailer: X-Sum\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 6\r\n\r\n";
    let (_, body) = ask(&mut stream, request).await;
    assert!(body.ends_with("3\r\nabc\r\n0\r\nx-sum: 6\r\n\r\n"), "{body}");
}
