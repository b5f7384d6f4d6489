use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{Name, RData, RecordType};
use lateen_api::nds::name_table::NameInfo;
use serde::Deserialize;

use super::*;
use crate::state::State;
use crate::telemetry::Identity;

fn info(ips: &[&str], shortname: &str, namespace: &str) -> NameInfo {
    NameInfo {
        ips: ips.iter().map(|ip| (*ip).to_owned()).collect(),
        registry: "Kubernetes".into(),
        shortname: shortname.into(),
        namespace: namespace.into(),
        alt_hosts: Vec::new(),
    }
}

fn query(name: &str, kind: RecordType) -> Vec<u8> {
    let mut message = Message::new(77, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(Name::from_ascii(name).expect("name"), kind));
    message.to_vec().expect("query")
}

fn addresses(answer: &[u8]) -> (ResponseCode, Vec<String>, bool) {
    let message = Message::from_vec(answer).expect("answer");
    assert_eq!(message.metadata.id, 77);
    let mut found: Vec<String> = message
        .answers
        .iter()
        .map(|record| match &record.data {
            RData::A(ip) => ip.0.to_string(),
            RData::AAAA(ip) => ip.0.to_string(),
            other => other.to_string(),
        })
        .collect();
    found.sort();
    (message.metadata.response_code, found, message.metadata.truncation)
}

async fn proxy(upstream: Vec<SocketAddr>) -> (Arc<DnsProxy>, SocketAddr) {
    let telemetry = Arc::new(Telemetry::new(1, Identity::default(), State::new()));
    let proxy = Arc::new(DnsProxy {
        namespace: "ns1".into(),
        domain: "ns1.svc.cluster.local".into(),
        search: vec!["ns1.svc.cluster.local".into(), "svc.cluster.local".into()],
        table: Mutex::default(),
        upstream: Upstream { servers: upstream, timeout: Duration::from_millis(200), mark: None },
        forwarded: Arc::new(Semaphore::new(8)),
        telemetry,
    });
    let many: Vec<String> = (1..60).map(|i| format!("10.9.0.{i}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let table = BTreeMap::from([
        ("web.ns1.svc.cluster.local".to_owned(), info(&["10.96.0.7", "fd00::7"], "web", "ns1")),
        ("headless.ns1.svc.cluster.local".to_owned(), info(&many, "headless", "ns1")),
    ]);
    proxy.replace(NameTable { table });
    let (udp, tcp, address) = bind().await;
    tokio::spawn(proxy.clone().serve_udp(Arc::new(udp)));
    tokio::spawn(proxy.clone().serve_tcp(tcp));
    (proxy, address)
}

/// A port that is free for datagrams and for connections.
async fn bind() -> (UdpSocket, TcpListener, SocketAddr) {
    loop {
        let udp = UdpSocket::bind("127.0.0.1:0").await.expect("udp");
        let address = udp.local_addr().expect("address");
        if let Ok(tcp) = TcpListener::bind(address).await {
            return (udp, tcp, address);
        }
    }
}

async fn ask_udp(server: SocketAddr, query: &[u8]) -> Vec<u8> {
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("bind");
    socket.send_to(query, server).await.expect("send");
    let mut buffer = vec![0; 4096];
    let len =
        tokio::time::timeout(Duration::from_secs(3), socket.recv(&mut buffer)).await.expect("in time").expect("answer");
    buffer.truncate(len);
    buffer
}

async fn ask_tcp(server: SocketAddr, query: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(server).await.expect("connect");
    upstream::write_framed(&mut stream, query).await.expect("send");
    upstream::read_framed(&mut stream).await.expect("answer")
}

/// A nameserver that gives 9.9.9.9 for everything.
async fn nameserver() -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("bind");
    let address = socket.local_addr().expect("address");
    tokio::spawn(async move {
        let mut buffer = vec![0; 4096];
        loop {
            let (len, client) = socket.recv_from(&mut buffer).await.expect("query");
            let query = Message::from_vec(&buffer[..len]).expect("query");
            let mut answer = Message::response(query.metadata.id, OpCode::Query);
            answer.add_queries(query.queries.iter().cloned());
            let data = RData::A(hickory_proto::rr::rdata::A([9, 9, 9, 9].into()));
            let name = query.queries[0].name().clone();
            answer.add_answer(hickory_proto::rr::Record::from_rdata(name, 60, data));
            let wrong = Message::response(query.metadata.id.wrapping_add(1), OpCode::Query).to_vec().expect("wrong");
            socket.send_to(&wrong, client).await.expect("send");
            socket.send_to(&answer.to_vec().expect("answer"), client).await.expect("send");
        }
    });
    address
}

#[tokio::test]
async fn answers_for_the_mesh_and_asks_others_for_the_rest() {
    let (proxy, address) = proxy(vec![nameserver().await]).await;
    let cases = [
        ("web.", RecordType::A, &["10.96.0.7"][..]),
        ("WEB.ns1.svc.cluster.local.", RecordType::A, &["10.96.0.7"]),
        ("web.ns1.", RecordType::AAAA, &["fd00::7"]),
        ("example.com.", RecordType::A, &["9.9.9.9"]),
        ("web.ns1.svc.cluster.local.ns1.svc.cluster.local.", RecordType::A, &[]),
    ];
    for (name, kind, expected) in cases {
        let (code, found, _) = addresses(&ask_udp(address, &query(name, kind)).await);
        assert_eq!(
            (code, found),
            (ResponseCode::NoError, expected.iter().map(|s| (*s).to_owned()).collect()),
            "{name}"
        );
    }
    assert_eq!(proxy.telemetry.process().dns_upstream_requests.load(Relaxed), 1);
}

#[tokio::test]
async fn a_large_answer_needs_tcp() {
    let (_proxy, address) = proxy(Vec::new()).await;
    let question = query("headless.ns1.", RecordType::A);
    let (_, found, truncated) = addresses(&ask_udp(address, &question).await);
    assert!(truncated && found.is_empty());
    let (_, found, truncated) = addresses(&ask_tcp(address, &question).await);
    assert!(!truncated);
    assert_eq!(found.len(), 59);
}

#[tokio::test]
async fn says_so_when_no_nameserver_answers() {
    let silent = UdpSocket::bind("127.0.0.1:0").await.expect("bind");
    let (_proxy, address) = proxy(vec![silent.local_addr().expect("address")]).await;
    let (code, found, _) = addresses(&ask_udp(address, &query("example.com.", RecordType::A)).await);
    assert_eq!((code, found), (ResponseCode::ServFail, Vec::new()));
}

#[tokio::test]
async fn junk_is_ignored_and_the_next_query_answered() {
    let (_proxy, address) = proxy(Vec::new()).await;
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("bind");
    socket.send_to(b"\x00junk", address).await.expect("send");
    let (code, ..) = addresses(&ask_udp(address, &query("web.", RecordType::A)).await);
    assert_eq!(code, ResponseCode::NoError);
}

#[derive(Deserialize)]
struct File<R> {
    fixture: Fixture,
    rows: Vec<R>,
}

#[derive(Deserialize)]
struct Fixture {
    proxy_namespace: String,
    proxy_domain: String,
    search_domains: Vec<String>,
    name_table: BTreeMap<String, Info>,
}

#[derive(Deserialize)]
struct Info {
    ips: Vec<String>,
    registry: String,
    #[serde(default)]
    namespace: String,
    #[serde(default)]
    shortname: String,
    #[serde(default)]
    alt_hosts: Vec<String>,
}

impl Fixture {
    fn table(self) -> LookupTable {
        let table = self.name_table.into_iter().map(|(host, info)| {
            let Info { ips, registry, shortname, namespace, alt_hosts } = info;
            (host, NameInfo { ips, registry, shortname, namespace, alt_hosts })
        });
        let table = NameTable { table: table.collect() };
        LookupTable::new(&table, &self.proxy_namespace, &self.proxy_domain, &self.search_domains)
    }
}

/// A question and its answer.
#[derive(Deserialize)]
struct Row {
    name: String,
    host: String,
    query_aaaa: bool,
    #[serde(default)]
    expected: Option<Vec<Expected>>,
    expect_resolution_failure: serde_json::Value,
}

#[derive(Deserialize)]
struct Expected {
    address: String,
}

/// The names of the table that begin alike.
#[derive(Deserialize)]
struct Names {
    name: String,
    starts_with: String,
    expected: Vec<String>,
}

/// The table of a file of the group `dns`, and its rows; `None` where the data is absent.
fn conformance<R: serde::de::DeserializeOwned>(name: &str) -> Option<(LookupTable, Vec<R>)> {
    let root = std::env::var("LATEEN_CONFORMANCE").map(PathBuf::from);
    let root = root.unwrap_or_else(|_| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/conformance"));
    let text = std::fs::read_to_string(root.join("dns").join(name)).ok()?;
    let file: File<R> = serde_saphyr::from_str(&text).expect("file");
    Some((file.fixture.table(), file.rows))
}

#[test]
fn resolves_as_istio_does() {
    let (Some((table, questions)), Some((names, listed))) =
        (conformance::<Row>("testdns.yaml"), conformance::<Names>("buildalternatehosts.yaml"))
    else {
        println!("dns: skipped, no conformance data; set LATEEN_CONFORMANCE to its folder");
        return;
    };
    let all = questions.len() + listed.len();
    let questions = questions.iter().map(|row| check(&table, row));
    let listed = listed.iter().map(|row| check_names(&names, row));
    let failed: Vec<_> = questions.chain(listed).filter_map(Result::err).collect();
    println!("dns: passed {} of {all}", all - failed.len());
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

/// Names are known with and without the final dot, so that they are compared without.
fn check_names(table: &LookupTable, row: &Names) -> Result<(), String> {
    let plain = |name: &str| name.trim_end_matches('.').to_owned();
    let expected: BTreeSet<String> = row.expected.iter().map(|name| plain(name)).collect();
    let found: BTreeSet<String> = table.names().filter(|name| name.starts_with(&plain(&row.starts_with))).collect();
    if found == expected { Ok(()) } else { Err(format!("{}: {found:?}, expected {expected:?}", row.name)) }
}

fn check(table: &LookupTable, row: &Row) -> Result<(), String> {
    let kind = if row.query_aaaa { RecordType::AAAA } else { RecordType::A };
    let reaction = answer::react(&query(&row.host, kind), table, false, |_| {});
    let mut expected: Vec<_> = row.expected.iter().flatten().map(|e| e.address.clone()).collect();
    expected.sort();
    match reaction {
        Reaction::Answer(bytes) if addresses(&bytes).1 == expected => Ok(()),
        // What the table doesn't know is for another server to answer or refuse.
        Reaction::Forward if row.name.starts_with("tcp:") || row.expect_resolution_failure == "NXDOMAIN" => Ok(()),
        Reaction::Answer(bytes) => Err(format!("{}: {:?}", row.name, addresses(&bytes))),
        Reaction::Forward | Reaction::Ignore => Err(format!("{}: not answered", row.name)),
    }
}
