//! Copies of requests for mirrors: they are faithful, and nobody notices what becomes of them.

use std::net::SocketAddr;
use std::time::Duration;

use lateen_api::envoy::envoy::config::cluster::v3::cluster::DiscoveryType;
use lateen_api::envoy::envoy::config::core::v3::RuntimeFractionalPercent;
use lateen_api::envoy::envoy::config::route::v3::route_action::RequestMirrorPolicy;
use lateen_api::envoy::envoy::r#type::v3::FractionalPercent;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::timeout;

use super::backend::{ask, echo, get, header, message, serve};
use super::mesh::{Mesh, OUTBOUND, Shape, free_port};
use super::resources::{cluster, route_to};

fn policy() -> RequestMirrorPolicy {
    RequestMirrorPolicy { cluster: "mirror".into(), disable_shadow_host_suffix_append: true, ..Default::default() }
}

/// Every request goes to `mirror` too.
fn mirror_to(mesh: &Mesh, mirror: SocketAddr, policy: RequestMirrorPolicy) {
    mesh.client.cluster(&cluster("mirror", DiscoveryType::Eds, None));
    mesh.client.endpoints("mirror", &[mirror]);
    let mut action = route_to(OUTBOUND);
    action.request_mirror_policies = vec![policy];
    mesh.route(action);
}

/// A server that tells what it receives and answers 500.
async fn witness() -> (SocketAddr, UnboundedReceiver<(String, Vec<u8>)>) {
    let (tell, told) = unbounded_channel();
    let address = serve(move |mut stream| {
        let tell = tell.clone();
        async move {
            while let Some(received) = message(&mut stream).await {
                let _ = tell.send(received);
                let _ = stream.write_all(b"HTTP/1.1 500 No\r\nContent-Length: 2\r\n\r\nno").await;
            }
        }
    })
    .await;
    (address, told)
}

async fn next(told: &mut UnboundedReceiver<(String, Vec<u8>)>) -> (String, Vec<u8>) {
    timeout(Duration::from_secs(10), told.recv()).await.expect("a copy in time").expect("the witness lives")
}

#[tokio::test]
async fn a_copy_has_the_head_and_the_body_of_the_request() {
    let mesh = Mesh::start(echo().await, Shape::default()).await;
    let (address, mut told) = witness().await;
    mirror_to(&mesh, address, policy());
    let (head, body) = get(mesh.client.address, "/hello?a=b").await;
    assert!(head.starts_with("HTTP/1.1 200"), "the mirror's answer is forgotten: {head}");
    let (copy, _) = next(&mut told).await;
    assert!(copy.starts_with("GET /hello?a=b HTTP/1.1\r\nhost: backend\r\n"), "{copy}");
    assert_eq!(header(&copy, "x-request-id"), header(&body, "x-request-id"), "the same request");

    let mut stream = TcpStream::connect(mesh.client.address).await.expect("connect");
    let sent = "0123456789".repeat(30_000);
    let request = format!("PUT /big HTTP/1.1\r\nHost: backend\r\nContent-Length: {}\r\n\r\n{sent}", sent.len());
    let (head, _) = ask(&mut stream, &request).await;
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    let (copy, body) = next(&mut told).await;
    assert!(copy.starts_with("PUT /big "), "{copy}");
    assert!(body == sent.as_bytes(), "{} of {} bytes", body.len(), sent.len());
    let request = "POST /pieces HTTP/1.1\r\nHost: backend\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    ask(&mut stream, request).await;
    let (_, body) = next(&mut told).await;
    assert_eq!(body, b"3\r\nabc\r\n0\r\n\r\n");
    mesh.client.sink.last(3).await;
    assert_eq!(mesh.client.sink.0.lock().len(), 3, "copies are not recorded");
}

#[tokio::test]
async fn a_share_of_none_copies_nothing_and_the_host_can_be_marked() {
    let mesh = Mesh::start(echo().await, Shape::default()).await;
    let (address, mut told) = witness().await;
    let none = FractionalPercent { numerator: 0, denominator: 0 };
    let none = RuntimeFractionalPercent { default_value: Some(none), ..Default::default() };
    mirror_to(&mesh, address, RequestMirrorPolicy { runtime_fraction: Some(none), ..policy() });
    for _ in 0..20 {
        get(mesh.client.address, "/unseen").await;
    }
    mirror_to(&mesh, address, RequestMirrorPolicy { disable_shadow_host_suffix_append: false, ..policy() });
    get(mesh.client.address, "/seen").await;
    let (copy, _) = next(&mut told).await;
    assert!(copy.starts_with("GET /seen HTTP/1.1\r\nhost: backend-shadow\r\n"), "{copy}");
}

#[tokio::test]
async fn a_mirror_that_is_down_or_never_reads_is_not_noticed() {
    let mesh = Mesh::start(echo().await, Shape::default()).await;
    let stuck = serve(|stream| async move {
        tokio::time::sleep(Duration::from_secs(3600)).await;
        drop(stream);
    })
    .await;
    let sent = "x".repeat(200_000);
    let request = format!("PUT / HTTP/1.1\r\nHost: backend\r\nContent-Length: {}\r\n\r\n{sent}", sent.len());
    for mirror in [stuck, free_port()] {
        mirror_to(&mesh, mirror, policy());
        let mut stream = TcpStream::connect(mesh.client.address).await.expect("connect");
        for _ in 0..30 {
            let answer = timeout(Duration::from_secs(20), ask(&mut stream, &request)).await;
            let (head, body) = answer.expect("the mirror holds nothing up");
            assert!(head.starts_with("HTTP/1.1 200") && body.ends_with(&sent), "{head}");
        }
    }
}
