use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use lateen_api::envoy::envoy::config::core::v3::socket_address::PortSpecifier;
use lateen_api::envoy::envoy::config::core::v3::{Address, SocketAddress, address};
use lateen_api::envoy::envoy::config::listener::v3::filter::ConfigType;
use lateen_api::envoy::envoy::config::listener::v3::{Filter, FilterChain, Listener as ProtoListener};
use lateen_api::envoy::envoy::config::route::v3::RouteConfiguration;
use lateen_api::envoy::envoy::extensions::filters::http::router::v3::Router;
use lateen_api::envoy::envoy::extensions::filters::network::http_connection_manager::v3::http_connection_manager::RouteSpecifier;
use lateen_api::envoy::envoy::extensions::filters::network::http_connection_manager::v3::http_filter::ConfigType as FilterConfig;
use lateen_api::envoy::envoy::extensions::filters::network::http_connection_manager::v3::{
    HttpConnectionManager, HttpFilter,
};
use lateen_api::google::protobuf::Any;
use lateen_api::type_url;
use lateen_proxy_core::chain::Terminal;
use lateen_proxy_core::load::Loader;
use prost::{Message, Name};

use lateen_proxy_core::Flags;
use lateen_proxy_core::flags::Flag;
use lateen_proxy_core::head::SimpleHead;
use lateen_proxy_core::http::Hcm;
use lateen_proxy_core::listener::{AccessLog, Direction, Listener, LogFilter, LogFormat, Sniff};

use super::*;
use crate::peer::Peer;
use crate::record::{Protocol, RequestRecord, ResponseRecord};

fn listener(direction: Direction) -> Arc<Listener> {
    Arc::new(Listener {
        name: "test".into(),
        address: socket("0.0.0.0:15006"),
        more_addresses: Vec::new(),
        bind_to_port: true,
        use_original_dst: false,
        original_dst: true,
        proxy_protocol: false,
        direction,
        sniff: Sniff::default(),
        chains: Vec::new(),
        default_chain: None,
        access_logs: Vec::new(),
        provenance: None,
    })
}

/// A connection manager as the control plane would send it.
fn hcm() -> Arc<Hcm> {
    let manager = HttpConnectionManager {
        stat_prefix: "test".into(),
        route_specifier: Some(RouteSpecifier::RouteConfig(RouteConfiguration {
            name: "test".into(),
            ..Default::default()
        })),
        http_filters: vec![HttpFilter {
            name: "envoy.filters.http.router".into(),
            config_type: Some(FilterConfig::TypedConfig(pack(&Router::default()))),
            ..Default::default()
        }],
        ..Default::default()
    };
    let filter = Filter {
        name: "envoy.filters.network.http_connection_manager".into(),
        config_type: Some(ConfigType::TypedConfig(pack(&manager))),
    };
    let socket = SocketAddress {
        address: "127.0.0.1".into(),
        port_specifier: Some(PortSpecifier::PortValue(80)),
        ..Default::default()
    };
    let listener = ProtoListener {
        name: "test".into(),
        address: Some(Address { address: Some(address::Address::SocketAddress(socket)) }),
        filter_chains: vec![FilterChain { filters: vec![filter], ..Default::default() }],
        ..Default::default()
    };
    let mut loader = Loader::default();
    let upsert = ("test".to_owned(), listener.encode_to_vec().into());
    assert_eq!(loader.apply(type_url::LISTENER, &[upsert], &[]), []);
    let tables = loader.tables(true);
    let listener = tables.listener("test").expect("listener");
    match &listener.all_chains().next().expect("chain").terminal {
        Terminal::Http(hcm) => hcm.clone(),
        other => panic!("{other:?}"),
    }
}

fn pack<M: Message + Name>(message: &M) -> Any {
    Any { type_url: M::type_url(), value: message.encode_to_vec() }
}

fn socket(text: &str) -> SocketAddr {
    text.parse().expect("address")
}

fn telemetry() -> Telemetry {
    let identity = Identity {
        workload: "backend-v1".into(),
        namespace: "default".into(),
        principal: "spiffe://cluster.local/ns/default/sa/backend".into(),
        app: "backend".into(),
        version: "v1".into(),
        cluster: "Kubernetes".into(),
        canonical_name: "backend".into(),
        canonical_revision: "v1".into(),
    };
    Telemetry::new(2, identity, State::new())
}

fn record<'a>(
    listener: &'a Arc<Listener>,
    logs: &'a [Arc<AccessLog>],
    request: Option<RequestRecord<'a>>,
    peer: Option<&'a Arc<Peer>>,
) -> Record<'a> {
    Record {
        listener,
        filter_chain: "",
        access_logs: logs,
        stats: true,
        protocol: if request.is_some() { Protocol::Http11 } else { Protocol::Tcp },
        request,
        response: ResponseRecord { status: if request.is_some() { 200 } else { 0 }, head: None, grpc_status: None },
        route: None,
        cluster_name: "inbound|5678||",
        cluster: None,
        endpoint: None,
        upstream_local: Some(socket("127.0.0.6:4242")),
        attempts: 1,
        flags: Flags::default(),
        details: "via_upstream",
        termination_details: "",
        transport_failure: "",
        cause: "",
        start: SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_123),
        duration: Duration::from_micros(7_400),
        upstream_time: Some(Duration::from_millis(6)),
        bytes_received: 0,
        bytes_sent: 12,
        request_head_bytes: 100,
        response_head_bytes: 50,
        downstream_local: socket("10.244.0.5:5678"),
        downstream_remote: socket("10.244.0.4:40000"),
        sni: Some("outbound_.80_._.backend.default.svc.cluster.local"),
        mtls: true,
        downstream_principal: Some("spiffe://cluster.local/ns/default/sa/frontend"),
        upstream_principal: None,
        peer,
    }
}

fn with_request(check: impl FnOnce(RequestRecord<'_>)) {
    let head = SimpleHead::get("backend", "/hello?x=1").with("user-agent", "curl/8\nevil");
    let hcm = hcm();
    check(RequestRecord {
        head: &head,
        request_id: "id-1",
        forwarded_for: None,
        authority: "backend",
        path: "/hello?x=1",
        grpc: false,
        hcm: &hcm,
        request_messages: 0,
        response_messages: 0,
    });
}

fn peer() -> Arc<Peer> {
    Arc::new(Peer {
        workload: "frontend".into(),
        namespace: "default".into(),
        app: "frontend".into(),
        ..Peer::default()
    })
}

#[test]
fn requests_are_counted_under_istios_labels_across_workers() {
    let (telemetry, listener, peer) = (telemetry(), listener(Direction::Inbound), peer());
    with_request(|request| {
        for worker in [0, 1, 1] {
            telemetry.record(worker, &record(&listener, &[], Some(request), Some(&peer)));
        }
    });
    let text = telemetry.text();
    let line = text.lines().find(|l| l.starts_with("istio_requests_total{")).expect("counted");
    assert!(line.ends_with("} 3"), "{line}");
    for label in [
        r#"reporter="destination""#,
        r#"source_workload="frontend""#,
        r#"source_principal="spiffe://cluster.local/ns/default/sa/frontend""#,
        r#"source_version="unknown""#,
        r#"destination_workload="backend-v1""#,
        r#"destination_principal="spiffe://cluster.local/ns/default/sa/backend""#,
        r#"destination_canonical_revision="v1""#,
        r#"request_protocol="http""#,
        r#"response_code="200""#,
        r#"response_flags="-""#,
        r#"connection_security_policy="mutual_tls""#,
    ] {
        assert!(line.contains(label), "{label} in {line}");
    }
    assert!(text.contains(r#"le="10"} 3"#) && text.contains(r#"le="5"} 0"#), "duration of 7.4 ms");
    let sum = text.lines().find(|l| l.starts_with("istio_request_bytes_sum")).expect("bytes");
    assert!(sum.ends_with(" 300"), "{sum}");
}

#[test]
fn byte_streams_have_their_own_metrics() {
    let (telemetry, listener) = (telemetry(), listener(Direction::Inbound));
    let stream = record(&listener, &[], None, None);
    telemetry.tcp_opened(0, &stream);
    telemetry.tcp_progress(0, &stream, 10, 20);
    telemetry.tcp_progress(0, &stream, 1, 2);
    telemetry.record(0, &stream);
    let text = telemetry.text();
    for (name, value) in [
        ("istio_tcp_connections_opened_total", 1),
        ("istio_tcp_connections_closed_total", 1),
        ("istio_tcp_received_bytes_total", 11),
        ("istio_tcp_sent_bytes_total", 22),
    ] {
        let line = text.lines().find(|l| l.starts_with(&format!("{name}{{"))).expect(name);
        assert!(line.ends_with(&format!(" {value}")) && line.contains(r#"request_protocol="tcp""#), "{line}");
    }
    assert!(!text.contains("istio_requests_total"));
}

#[test]
fn what_clients_send_cannot_make_series_without_end() {
    let (telemetry, listener) = (telemetry(), listener(Direction::Inbound));
    with_request(|request| {
        for i in 0..5000 {
            let principal = format!("spiffe://cluster.local/ns/default/sa/{i}");
            let mut record = record(&listener, &[], Some(request), None);
            record.downstream_principal = Some(&principal);
            telemetry.record(0, &record);
        }
    });
    let text = telemetry.text();
    let lines: Vec<_> = text.lines().filter(|l| l.starts_with("istio_requests_total{")).collect();
    assert_eq!(lines.len(), 2001);
    assert!(lines.iter().any(|l| l.contains(r#"reporter="overflow""#) && l.ends_with(" 3000")));
}

fn logged(format: LogFormat, filter: Option<LogFilter>, change: impl Fn(&mut Record<'_>)) -> String {
    let file = tempfile::NamedTempFile::new().expect("file");
    let path = file.path().to_str().expect("path").into();
    let logs = [Arc::new(AccessLog { path, format, filter })];
    let (telemetry, listener) = (telemetry(), listener(Direction::Inbound));
    with_request(|request| {
        let mut record = record(&listener, &logs, Some(request), None);
        change(&mut record);
        telemetry.record(0, &record);
    });
    telemetry.flush();
    std::fs::read_to_string(file.path()).expect("log")
}

#[test]
fn the_default_line_is_istios() {
    let line = logged(LogFormat::Default, None, |_| {});
    assert_eq!(
        line,
        "[2023-11-14T22:13:20.123Z] \"GET /hello?x=1 HTTP/1.1\" 200 - via_upstream - \"-\" 0 12 7 6 \"-\" \
         \"curl/8 evil\" \"id-1\" \"backend\" \"-\" inbound|5678|| 127.0.0.6:4242 10.244.0.5:5678 10.244.0.4:40000 \
         outbound_.80_._.backend.default.svc.cluster.local -\n"
    );
}

#[test]
fn json_keeps_numbers_and_says_what_is_missing() {
    let fields = [
        ("code", "%RESPONSE_CODE%"),
        ("ua", "%REQ(USER-AGENT)%"),
        ("none", "%UPSTREAM_HOST%"),
        ("mix", "a %PROTOCOL:4%"),
    ];
    let fields = fields.iter().map(|(key, text)| ((*key).into(), (*text).into())).collect();
    let line = logged(LogFormat::Json(fields), None, |_| {});
    assert_eq!(line, "{\"code\":200,\"ua\":\"curl/8\\nevil\",\"none\":null,\"mix\":\"a HTTP\"}\n");
}

#[test]
fn a_filter_decides_what_is_logged() {
    let only_no_route = || Some(LogFilter::Flags(vec!["NR".into()]));
    let format = || LogFormat::Text("%RESPONSE_FLAGS% %START_TIME(%Y/%m)% 100%\n".into());
    assert_eq!(logged(format(), only_no_route(), |_| {}), "");
    let line = logged(format(), only_no_route(), |record| record.flags.set(Flag::NoRouteFound));
    assert_eq!(line, "NR 2023/11 100%\n");
}

#[test]
fn callers_are_known_by_identity_or_else_by_address() {
    let (telemetry, listener) = (telemetry(), listener(Direction::Inbound));
    with_request(|request| {
        let proven = Record { filter_chain: "inbound", ..record(&listener, &[], Some(request), None) };
        telemetry.record(0, &proven);
        telemetry.record(1, &proven);
        telemetry.record(0, &Record { mtls: false, downstream_principal: None, ..proven });
        let refused =
            Record { filter_chain: "", details: "filter_chain_not_found", request: None, mtls: false, ..proven };
        telemetry.record(0, &refused);
        telemetry.record(0, &Record { details: "handshake", ..refused });
        telemetry.record(0, &Record { details: "rbac_access_denied_matched_policy[none]", ..proven });
    });
    let outbound = super::tests::listener(Direction::Outbound);
    telemetry.record(0, &Record { filter_chain: "out", ..record(&outbound, &[], None, None) });
    let told = telemetry.callers(SystemTime::now());
    let mut lines: Vec<String> = told["callers"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|call| {
            let text = |key: &str| call[key].as_str().unwrap_or("-").to_owned();
            let who = if call["principal"].is_string() { "identity" } else { "address" };
            assert_eq!(call["principal"].is_string(), call["address"].is_null());
            format!("{who} {} {} {} {}", text("method"), text("path"), call["calls"], call["refused"])
        })
        .collect();
    lines.sort();
    assert_eq!(lines, ["address   1 1", "address GET /hello 1 0", "identity GET /hello 2 0"]);
}
