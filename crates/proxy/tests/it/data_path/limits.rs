//! Time limits of streams and connections.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use lateen_api::envoy::envoy::config::cluster::v3::UpstreamConnectionOptions;
use lateen_api::envoy::envoy::config::cluster::v3::cluster::DiscoveryType;
use lateen_api::envoy::envoy::config::core::v3::{HttpProtocolOptions, TcpKeepalive};
use lateen_api::envoy::envoy::config::route::v3::route_action::MaxStreamDuration;
use lateen_api::google::protobuf::{Duration as ProtoDuration, UInt32Value};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use super::backend::{ask, echo, get, message, serve};
use super::mesh::{Mesh, OUTBOUND, Shape};
use super::resources::{cluster, http2, route_to};

fn millis(millis: i32) -> Option<ProtoDuration> {
    Some(ProtoDuration { seconds: 0, nanos: millis * 1_000_000 })
}

/// Reads the request and never answers.
async fn silent() -> SocketAddr {
    serve(|mut stream| async move {
        let _ = message(&mut stream).await;
        tokio::time::sleep(Duration::from_secs(30)).await;
    })
    .await
}

/// Answers with a byte every 50 ms, for ever.
async fn dripping() -> SocketAddr {
    serve(|mut stream| async move {
        let _ = message(&mut stream).await;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await;
        while stream.write_all(b"1\r\nx\r\n").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await
}

#[tokio::test]
async fn the_deadline_of_a_grpc_call_is_kept() {
    let mesh = Mesh::start(silent().await, Shape::default()).await;
    let call = |timeout: &str| {
        format!(
            "POST /a.B/C HTTP/1.1\r\nHost: backend\r\nContent-Type: application/grpc\r\ngrpc-timeout: {timeout}\r\n\
             Content-Length: 0\r\n\r\n"
        )
    };
    // As asked, and no later than the route allows.
    for (asked, most) in [("150m", ProtoDuration::default()), ("20S", millis(150).expect("some"))] {
        let mut action = route_to(OUTBOUND);
        action.max_stream_duration =
            Some(MaxStreamDuration { grpc_timeout_header_max: Some(most), ..MaxStreamDuration::default() });
        mesh.route(action);
        let mut stream = TcpStream::connect(mesh.client.address).await.expect("connect");
        let (head, _) = ask(&mut stream, &call(asked)).await;
        assert!(head.starts_with("HTTP/1.1 200") && head.to_lowercase().contains("grpc-status: 4"), "{head}");
    }
    let seen = mesh.client.sink.last(2).await;
    assert_eq!((seen.flags.as_str(), seen.details.as_str()), ("DT", "max_duration_timeout"));
}

#[tokio::test]
async fn streams_end_at_their_limit_though_they_move() {
    let mesh = Mesh::start(dripping().await, Shape::default()).await;
    let mut action = route_to(OUTBOUND);
    action.max_stream_duration =
        Some(MaxStreamDuration { max_stream_duration: millis(400), ..MaxStreamDuration::default() });
    mesh.route(action);
    let mut stream = TcpStream::connect(mesh.client.address).await.expect("connect");
    stream.write_all(b"GET / HTTP/1.1\r\nHost: backend\r\n\r\n").await.expect("write");
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    assert!(answer.starts_with(b"HTTP/1.1 200") && !answer.ends_with(b"0\r\n\r\n"));
    assert_eq!(mesh.client.sink.last(1).await.flags, "DT");
}

#[tokio::test]
async fn streams_on_which_nothing_moves_end_and_others_go_on() {
    let mut action = route_to(OUTBOUND);
    action.idle_timeout = millis(300);
    let mesh = Mesh::start(silent().await, Shape::default()).await;
    mesh.route(action.clone());
    let (head, body) = get(mesh.client.address, "/").await;
    assert!(head.starts_with("HTTP/1.1 504") && body.contains("neither got nor sent"), "{head}{body}");
    assert_eq!(mesh.client.sink.last(1).await.flags, "SI");
    let mut stream = TcpStream::connect(mesh.client.address).await.expect("connect");
    let (head, _) = ask(&mut stream, "POST / HTTP/1.1\r\nHost: backend\r\nContent-Length: 9\r\n\r\npart").await;
    assert!(head.starts_with("HTTP/1.1 408"), "{head}");

    let mesh = Mesh::start(dripping().await, Shape::default()).await;
    mesh.route(action);
    let mut stream = TcpStream::connect(mesh.client.address).await.expect("connect");
    stream.write_all(b"GET / HTTP/1.1\r\nHost: backend\r\n\r\n").await.expect("write");
    let (begin, mut bytes) = (Instant::now(), [0; 4096]);
    while begin.elapsed() < Duration::from_secs(1) {
        assert!(stream.read(&mut bytes).await.expect("goes on") > 0);
    }
}

/// A server that counts the connections it got.
async fn counting() -> (SocketAddr, Arc<AtomicUsize>) {
    let count = Arc::new(AtomicUsize::new(0));
    let counted = count.clone();
    let address = serve(move |mut stream| {
        counted.fetch_add(1, Ordering::SeqCst);
        async move {
            while message(&mut stream).await.is_some() {
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
            }
        }
    })
    .await;
    (address, count)
}

/// A mesh whose client calls the server directly, by a cluster with these options for HTTP.
async fn direct(server: SocketAddr, options: HttpProtocolOptions) -> Mesh {
    let mesh = Mesh::start(server, Shape::default()).await;
    let mut cluster = cluster(OUTBOUND, DiscoveryType::Eds, None);
    #[allow(deprecated)]
    {
        cluster.common_http_protocol_options = Some(options);
    }
    mesh.client.cluster(&cluster);
    mesh.client.endpoints(OUTBOUND, &[server]);
    mesh
}

async fn requests(mesh: &Mesh, count: usize, pause: Duration) {
    let mut stream = TcpStream::connect(mesh.client.address).await.expect("connect");
    for _ in 0..count {
        let (head, _) = ask(&mut stream, "GET / HTTP/1.1\r\nHost: backend\r\n\r\n").await;
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        tokio::time::sleep(pause).await;
    }
}

#[tokio::test]
async fn a_connection_serves_as_many_requests_as_it_may() {
    let (server, count) = counting().await;
    let two = HttpProtocolOptions { max_requests_per_connection: Some(UInt32Value { value: 2 }), ..Default::default() };
    let mesh = direct(server, two).await;
    requests(&mesh, 6, Duration::ZERO).await;
    assert_eq!(count.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn a_connection_over_http2_serves_as_many_requests_as_it_may() {
    let count = Arc::new(AtomicUsize::new(0));
    let counted = count.clone();
    let server = serve(move |stream| {
        counted.fetch_add(1, Ordering::SeqCst);
        async move {
            let Ok(mut connection) = h2::server::handshake(stream).await else { return };
            while let Some(Ok((_, mut respond))) = connection.accept().await {
                let _ = respond.send_response(http::Response::new(()), true);
            }
        }
    })
    .await;
    let mesh = Mesh::start(server, Shape::default()).await;
    let mut cluster = http2(cluster(OUTBOUND, DiscoveryType::Eds, None));
    #[allow(deprecated)]
    {
        cluster.max_requests_per_connection = Some(UInt32Value { value: 2 });
    }
    mesh.client.cluster(&cluster);
    mesh.client.endpoints(OUTBOUND, &[server]);
    requests(&mesh, 6, Duration::ZERO).await;
    assert_eq!(count.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn connections_are_renewed_when_they_are_old() {
    let (server, count) = counting().await;
    let mesh = direct(server, HttpProtocolOptions { max_connection_duration: millis(250), ..Default::default() }).await;
    requests(&mesh, 3, Duration::from_millis(300)).await;
    assert_eq!(count.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn connecting_takes_no_longer_than_it_may() {
    // A full queue of connections that nobody accepts: the next one is never established.
    let socket = TcpSocket::new_v4().expect("socket");
    socket.bind("127.0.0.1:0".parse().expect("address")).expect("bind");
    let full = socket.listen(1).expect("listen");
    let address = full.local_addr().expect("address");
    let mut waiting = Vec::new();
    while let Ok(Ok(stream)) = tokio::time::timeout(Duration::from_millis(300), TcpStream::connect(address)).await {
        waiting.push(stream);
    }
    let mesh = Mesh::start(echo().await, Shape::default()).await;
    let mut cluster = cluster(OUTBOUND, DiscoveryType::Eds, None);
    cluster.connect_timeout = millis(250);
    mesh.client.cluster(&cluster);
    mesh.client.endpoints(OUTBOUND, &[address]);
    let begin = Instant::now();
    let (head, body) = get(mesh.client.address, "/").await;
    assert!(head.starts_with("HTTP/1.1 503") && body.contains("250ms"), "{head}{body}");
    assert!(begin.elapsed() >= Duration::from_millis(250));
    assert_eq!(mesh.client.sink.last(1).await.flags, "UF");
}

#[tokio::test]
async fn connections_are_probed_while_they_are_silent() {
    let server = silent().await;
    let mesh = Mesh::start(server, Shape::default()).await;
    let mut cluster = cluster(OUTBOUND, DiscoveryType::Eds, None);
    cluster.upstream_connection_options = Some(UpstreamConnectionOptions {
        tcp_keepalive: Some(TcpKeepalive {
            keepalive_time: Some(UInt32Value { value: 10 }),
            ..TcpKeepalive::default()
        }),
        ..UpstreamConnectionOptions::default()
    });
    mesh.client.cluster(&cluster);
    mesh.client.endpoints(OUTBOUND, &[server]);
    let mut stream = TcpStream::connect(mesh.client.address).await.expect("connect");
    stream.write_all(b"GET / HTTP/1.1\r\nHost: backend\r\n\r\n").await.expect("write");
    // The kernel's table tells which timer runs for a connection: 02 is the one for probes.
    let probed = || {
        let table = std::fs::read_to_string("/proc/net/tcp").unwrap_or_default();
        table.lines().any(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            fields.len() > 5 && fields[2].ends_with(&format!(":{:04X}", server.port())) && fields[5].starts_with("02:")
        })
    };
    for _ in 0..100 {
        if probed() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("no probes for connections to {server}");
}
