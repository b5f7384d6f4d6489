use std::net::Ipv4Addr;
use std::str::FromStr;

use hickory_proto::rr::rdata::A;
use hickory_proto::rr::{Name, RData, Record, RecordType};
use serde_json::json;

use super::*;

fn zones(endpoints: usize) -> Zones {
    let service = |name: &str, spec: serde_json::Value| {
        Arc::new(json!({"metadata": {"name": name, "namespace": "default"}, "spec": spec}))
    };
    let many: Vec<_> =
        (0..endpoints).map(|i| json!({"addresses": [format!("10.244.{}.{}", i / 256, i % 256)]})).collect();
    let slice = Arc::new(json!({
        "metadata": {"name": "s", "namespace": "default",
            "labels": {"kubernetes.io/service-name": "many"}},
        "addressType": "IPv4", "ports": [], "endpoints": many,
    }));
    let services = [
        service("web", json!({"clusterIP": "10.96.1.1"})),
        service("many", json!({"clusterIP": "None"})),
        service("out", json!({"type": "ExternalName", "externalName": "example.org"})),
    ];
    let zones = Zones::default();
    zones.publish(Zone::build("cluster.local", &services, &[slice]));
    zones
}

async fn start(zones: Zones, upstreams: Upstreams) -> (SocketAddr, JoinSet<()>) {
    let sockets = Sockets::bind((Ipv4Addr::LOCALHOST, 0).into()).await.unwrap();
    let address = sockets.local_addr().unwrap();
    (address, serve(sockets, zones, upstreams))
}

fn query(name: &str) -> Vec<u8> {
    let name = Name::from_str(name).unwrap();
    foreign_query(Query::query(name, RecordType::A)).to_vec().unwrap()
}

async fn ask_udp(server: SocketAddr, name: &str) -> Message {
    let upstreams = Upstreams::new([server]);
    Message::from_vec(&upstreams.ask(&query(name), false).await.unwrap()).unwrap()
}

/// A name server outside that knows one name.
async fn outside() -> SocketAddr {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let mut buffer = vec![0; 512];
        while let Ok((length, peer)) = socket.recv_from(&mut buffer).await {
            let query = Message::from_vec(&buffer[..length]).unwrap();
            let mut answer = failure(&query, ResponseCode::NoError);
            let name = query.queries[0].name().clone();
            answer.add_answer(Record::from_rdata(name, 60, RData::A(A::new(192, 0, 2, 1))));
            socket.send_to(&answer.to_vec().unwrap(), peer).await.unwrap();
        }
    });
    address
}

#[tokio::test]
async fn names_resolve_over_datagrams_and_connections() {
    let (server, _tasks) = start(zones(0), Upstreams::new([])).await;
    let answer = ask_udp(server, "web.default.svc.cluster.local.").await;
    assert_eq!(answer.answers[0].data, RData::A(A::new(10, 96, 1, 1)));
    let bytes = Upstreams::new([server]).ask(&query("web.default.svc.cluster.local."), true).await;
    let answer = Message::from_vec(&bytes.unwrap()).unwrap();
    assert_eq!(answer.answers.len(), 1);
}

#[tokio::test]
async fn long_answers_are_cut_in_datagrams_and_whole_over_connections() {
    let (server, _tasks) = start(zones(300), Upstreams::new([])).await;
    let cut = ask_udp(server, "many.default.svc.cluster.local.").await;
    assert!(cut.metadata.truncation);
    let bytes = Upstreams::new([server]).ask(&query("many.default.svc.cluster.local."), true).await;
    let whole = Message::from_vec(&bytes.unwrap()).unwrap();
    assert!(!whole.metadata.truncation);
    assert_eq!(whole.answers.len(), 300);
}

#[tokio::test]
async fn foreign_names_are_asked_outside() {
    let (server, _tasks) = start(zones(0), Upstreams::new([outside().await])).await;
    let answer = ask_udp(server, "example.org.").await;
    assert_eq!(answer.answers[0].data, RData::A(A::new(192, 0, 2, 1)));
    let alias = ask_udp(server, "out.default.svc.cluster.local.").await;
    assert_eq!(alias.answers.len(), 2);
    assert_eq!(alias.answers[1].data, RData::A(A::new(192, 0, 2, 1)));
}

#[tokio::test]
async fn foreign_names_fail_at_once_where_nobody_can_be_asked() {
    let (server, _tasks) = start(zones(0), Upstreams::new([])).await;
    let answer = ask_udp(server, "example.org.").await;
    assert_eq!(answer.metadata.response_code, ResponseCode::ServFail);
}

#[tokio::test]
async fn garbage_is_ignored() {
    let (server, _tasks) = start(zones(0), Upstreams::new([])).await;
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    socket.send_to(b"?", server).await.unwrap();
    let answer = ask_udp(server, "web.default.svc.cluster.local.").await;
    assert_eq!(answer.metadata.response_code, ResponseCode::NoError);
}
