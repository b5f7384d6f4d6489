//! Retries that do no harm, and how many there may be.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use lateen_api::envoy::envoy::config::cluster::v3::cluster::{DiscoveryType, LbPolicy};
use lateen_api::envoy::envoy::config::cluster::v3::{
    CircuitBreakers, circuit_breakers::Thresholds, circuit_breakers::thresholds::RetryBudget,
};
use lateen_api::envoy::envoy::config::core::v3::Metadata;
use lateen_api::google::protobuf::{Struct, Value, value::Kind};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::backend::{ask, message, serve};
use super::mesh::{Mesh, OUTBOUND, Shape, free_port};
use super::resources::{cluster, retry, route_to, routes};

/// Closes the first `failures` connections after a request, and answers on others.
async fn closing(failures: usize) -> (SocketAddr, Arc<AtomicUsize>) {
    let count = Arc::new(AtomicUsize::new(0));
    let counted = count.clone();
    let address = serve(move |mut stream| {
        let count = counted.clone();
        async move {
            while message(&mut stream).await.is_some() {
                if count.fetch_add(1, Ordering::SeqCst) < failures {
                    return;
                }
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
            }
        }
    })
    .await;
    (address, count)
}

/// A mesh whose client tries twice more on these conditions.
async fn retrying(server: SocketAddr, on: &str, safe: bool) -> Mesh {
    let mesh = Mesh::start(server, Shape::default()).await;
    let mut action = route_to(OUTBOUND);
    action.retry_policy = retry(on, 2);
    let mut config = routes("80", action);
    if safe {
        let text = Value { kind: Some(Kind::StringValue("safe".into())) };
        let fields = Struct { fields: [("retries".to_owned(), text)].into() };
        let metadata = Metadata { filter_metadata: [("lateen".to_owned(), fields)].into(), ..Metadata::default() };
        config.virtual_hosts[0].routes[0].metadata = Some(metadata);
    }
    mesh.client.routes(&config);
    mesh
}

/// The client calls these servers without a sidecar before them.
fn call_directly(mesh: &Mesh, servers: &[SocketAddr]) {
    mesh.client.cluster(&cluster(OUTBOUND, DiscoveryType::Eds, None));
    mesh.client.endpoints(OUTBOUND, servers);
}

async fn send(mesh: &Mesh, method: &str) -> String {
    let mut stream = TcpStream::connect(mesh.client.address).await.expect("connect");
    let request = format!("{method} / HTTP/1.1\r\nHost: backend\r\nContent-Length: 5\r\n\r\nhello");
    ask(&mut stream, &request).await.0
}

#[tokio::test]
async fn what_the_server_may_have_done_is_not_asked_for_twice() {
    for (method, safe, status, requests) in [
        ("POST", true, "503", 1),
        ("PATCH", true, "503", 1),
        ("PUT", true, "200", 2),
        ("DELETE", true, "200", 2),
        ("POST", false, "200", 2),
    ] {
        let (server, count) = closing(1).await;
        let mesh = retrying(server, "reset", safe).await;
        call_directly(&mesh, &[server]);
        let head = send(&mesh, method).await;
        assert!(head.starts_with(&format!("HTTP/1.1 {status}")), "{method} {safe}: {head}");
        assert_eq!(count.load(Ordering::SeqCst), requests, "{method} {safe}");
    }
}

#[tokio::test]
async fn what_no_server_can_have_got_is_asked_for_elsewhere() {
    let (server, count) = closing(0).await;
    let mesh = retrying(server, "connect-failure", true).await;
    call_directly(&mesh, &[free_port(), server]);
    let mut in_turn = cluster(OUTBOUND, DiscoveryType::Eds, None);
    in_turn.lb_policy = LbPolicy::RoundRobin.into();
    mesh.client.cluster(&in_turn);
    for _ in 0..10 {
        let head = send(&mesh, "POST").await;
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    }
    assert_eq!(count.load(Ordering::SeqCst), 10);
}

#[tokio::test]
async fn a_sidecar_tells_that_its_application_was_not_reached() {
    // The server's sidecar finds nobody listening, and says so; the client's may try again without harm.
    let mesh = retrying(free_port(), "connect-failure", true).await;
    let head = send(&mesh, "POST").await;
    assert!(head.starts_with("HTTP/1.1 503") && head.to_lowercase().contains("x-lateen-unreached: true"), "{head}");
    assert_eq!(mesh.client.sink.last(1).await.attempts, 3);
    let mesh = retrying(free_port(), "connect-failure", false).await;
    send(&mesh, "POST").await;
    assert_eq!(mesh.client.sink.last(1).await.attempts, 1, "as in Istio");
}

#[tokio::test]
async fn a_connection_that_the_server_tired_of_harms_no_request() {
    // Closes a connection when a second request comes: one that is idle for long is about to be closed.
    let server = serve(|mut stream| async move {
        let _ = message(&mut stream).await;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
        let _ = message(&mut stream).await;
    })
    .await;
    let mesh = retrying(server, "connect-failure", true).await;
    call_directly(&mesh, &[server]);
    for method in ["POST", "POST", "PUT", "GET"] {
        let head = send(&mesh, method).await;
        assert!(head.starts_with("HTTP/1.1 200"), "{method}: {head}");
        if method == "POST" {
            tokio::time::sleep(Duration::from_millis(1100)).await;
        }
    }
}

#[tokio::test]
async fn retries_keep_within_their_budget() {
    let count = Arc::new(AtomicUsize::new(0));
    let counted = count.clone();
    let server = serve(move |mut stream| {
        let count = counted.clone();
        async move {
            while message(&mut stream).await.is_some() {
                count.fetch_add(1, Ordering::SeqCst);
                tokio::time::sleep(Duration::from_millis(300)).await;
                let _ = stream.write_all(b"HTTP/1.1 500 Sorry\r\nContent-Length: 0\r\n\r\n").await;
            }
        }
    })
    .await;
    let mesh = retrying(server, "5xx", false).await;
    call_directly(&mesh, &[server]);
    let mut limited = cluster(OUTBOUND, DiscoveryType::Eds, None);
    limited.circuit_breakers = Some(CircuitBreakers {
        thresholds: vec![Thresholds { retry_budget: Some(RetryBudget::default()), ..Thresholds::default() }],
        ..CircuitBreakers::default()
    });
    mesh.client.cluster(&limited);
    let mesh = Arc::new(mesh);
    let calls: Vec<_> = (0..12)
        .map(|_| {
            let mesh = mesh.clone();
            tokio::spawn(async move { send(&mesh, "GET").await })
        })
        .collect();
    for call in calls {
        assert!(call.await.expect("runs").starts_with("HTTP/1.1 500"));
    }
    // Three of the twelve may try again at a time, and each at most twice.
    let tries = count.load(Ordering::SeqCst);
    assert!((15..=22).contains(&tries), "{tries}");
}
