use lateen_api::envoy::envoy::config::core::v3::transport_socket;
use lateen_api::envoy::envoy::config::listener::v3::{Filter, FilterChain, Listener, filter};
use lateen_api::envoy::envoy::extensions::filters::network::http_connection_manager::v3::HttpConnectionManager;
use lateen_api::envoy::envoy::extensions::filters::network::tcp_proxy::v3::{TcpProxy, tcp_proxy::ClusterSpecifier};
use lateen_api::envoy::envoy::extensions::transport_sockets::tls::v3::DownstreamTlsContext;
use lateen_api::envoy::envoy::extensions::transport_sockets::tls::v3::tls_parameters::TlsProtocol;
use lateen_api::type_url;
use prost::Name;
use serde_json::{Value, json};

use super::{get, istio, list, mesh, service, shop, sidecar, stock, unpack};

fn last(chain: &FilterChain) -> &Filter {
    chain.filters.last().expect("a filter")
}

fn config(filter: &Filter) -> &lateen_api::google::protobuf::Any {
    match &filter.config_type {
        Some(filter::ConfigType::TypedConfig(any)) => any,
        _ => panic!("no settings"),
    }
}

fn is_http(chain: &FilterChain) -> bool {
    config(last(chain)).type_url == HttpConnectionManager::type_url()
}

fn tcp_cluster(chain: &FilterChain) -> String {
    match unpack::<TcpProxy>(config(last(chain))).cluster_specifier {
        Some(ClusterSpecifier::Cluster(name)) => name,
        other => panic!("{other:?}"),
    }
}

/// Port, transport protocol, number of ALPNs, is it HTTP, is it mutual TLS.
fn inbound_chains(objects: &[Value], port: Option<u32>) -> Vec<(String, usize, bool, bool)> {
    let listener: Listener = get("virtualInbound", &sidecar(), &mesh(objects)).expect("there");
    let of_port = listener.filter_chains.iter().filter(|c| {
        let m = c.filter_chain_match.as_ref().expect("a match");
        m.destination_port.map(|p| p.value) == port && c.name != "virtualInbound-blackhole"
    });
    of_port
        .map(|c| {
            let m = c.filter_chain_match.as_ref().expect("a match");
            (m.transport_protocol.clone(), m.application_protocols.len(), is_http(c), c.transport_socket.is_some())
        })
        .collect()
}

fn peer(mode: &str) -> Value {
    istio("PeerAuthentication", "default", json!({"mtls": {"mode": mode}}))
}

#[test]
fn an_http_service_shares_the_listener_of_its_port() {
    let snapshot = mesh(&shop());
    assert_eq!(list(type_url::LISTENER, &sidecar(), &snapshot), ["0.0.0.0_80", "virtualInbound", "virtualOutbound"]);
    let listener: Listener = get("0.0.0.0_80", &sidecar(), &snapshot).expect("there");
    assert!(is_http(&listener.filter_chains[0]));
    assert_eq!(listener.bind_to_port.map(|b| b.value), Some(false));
    assert_eq!(tcp_cluster(&listener.default_filter_chain.expect("for the rest")), "PassthroughCluster");
}

#[test]
fn a_tcp_service_has_a_listener_at_its_address() {
    let objects = [service("db", "10.96.3.4", json!({"name": "tcp", "port": 9090}))];
    let snapshot = mesh(&objects);
    let listener: Listener = get("10.96.3.4_9090", &sidecar(), &snapshot).expect("there");
    assert_eq!(tcp_cluster(&listener.filter_chains[0]), "outbound|9090||db.default.svc.cluster.local");
    assert!(listener.listener_filters.is_empty());
}

#[test]
fn an_undeclared_port_is_found_out() {
    let objects = [service("db", "10.96.3.4", json!({"port": 80}))];
    let snapshot = mesh(&objects);
    let listener: Listener = get("10.96.3.4_80", &sidecar(), &snapshot).expect("there");
    assert_eq!(listener.filter_chains.iter().map(is_http).collect::<Vec<_>>(), [true]);
    let rest = listener.default_filter_chain.expect("for the rest");
    assert_eq!(tcp_cluster(&rest), "outbound|80||db.default.svc.cluster.local");
    let inspectors: Vec<&str> = listener.listener_filters.iter().map(|f| f.name.as_str()).collect();
    assert_eq!(inspectors, ["envoy.filters.listener.tls_inspector", "envoy.filters.listener.http_inspector"]);
    assert_eq!(list(type_url::ROUTE, &sidecar(), &snapshot), ["db.default.svc.cluster.local:80"]);
}

#[test]
fn unknown_destinations_pass_or_not() {
    for (mode, cluster) in [("ALLOW_ANY", "PassthroughCluster"), ("REGISTRY_ONLY", "BlackHoleCluster")] {
        let yaml = format!("outboundTrafficPolicy:\n  mode: {mode}\n");
        let config = json!({"apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": "istio", "namespace": "istio-system"}, "data": {"mesh": yaml}});
        let listener: Listener = get("virtualOutbound", &sidecar(), &mesh(&[config])).expect("there");
        assert_eq!(tcp_cluster(listener.filter_chains.last().expect("a chain")), cluster);
        assert_eq!(listener.use_original_dst.map(|b| b.value), Some(true));
    }
}

#[test]
fn a_workload_accepts_what_its_policy_says() {
    let text = |t: &str| t.to_owned();
    for (mode, expect) in [
        ("STRICT", vec![(text("tls"), 0, true, true)]),
        ("PERMISSIVE", vec![(text("tls"), 5, true, true), (text("raw_buffer"), 0, true, false)]),
        ("DISABLE", vec![(text(""), 0, true, false)]),
    ] {
        let mut objects = shop();
        objects.push(peer(mode));
        assert_eq!(inbound_chains(&objects, Some(8080)), expect, "{mode}");
    }
    assert_eq!(inbound_chains(&shop(), None).len(), 5);
}

#[test]
fn a_strict_workload_has_no_chain_for_plain_text() {
    let mut objects = shop();
    objects.push(peer("STRICT"));
    for port in [Some(8080), None] {
        assert!(inbound_chains(&objects, port).iter().all(|(transport, _, _, mtls)| transport == "tls" && *mtls));
    }
}

#[test]
fn a_stock_envoy_gets_no_filter_it_lacks() {
    let snapshot = mesh(&shop());
    for (view, lateen) in [(stock(), false), (sidecar(), true)] {
        let listener: Listener = get("0.0.0.0_80", &view, &snapshot).expect("there");
        let manager: HttpConnectionManager = unpack(config(last(&listener.filter_chains[0])));
        let istio =
            manager.http_filters.iter().filter(|f| f.name.contains("istio") || f.name.contains("peer_metadata"));
        assert_eq!(istio.count() > 0, lateen);
        assert_eq!(manager.http_filters.last().map(|f| f.name.as_str()), Some("envoy.filters.http.router"));
    }
}

#[test]
fn mesh_mtls_says_which_tls_workloads_accept() {
    let params = |yaml: &str| {
        let config = json!({"apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": "istio", "namespace": "istio-system"}, "data": {"mesh": yaml}});
        let mut objects = shop();
        objects.push(config);
        let listener: Listener = get("virtualInbound", &sidecar(), &mesh(&objects)).expect("there");
        let socket = listener.filter_chains.iter().find_map(|chain| chain.transport_socket.as_ref()).expect("has TLS");
        let Some(transport_socket::ConfigType::TypedConfig(any)) = &socket.config_type else { panic!("no settings") };
        unpack::<DownstreamTlsContext>(any).common_tls_context.and_then(|c| c.tls_params).expect("settings")
    };
    let default = params("");
    assert_eq!((default.tls_minimum_protocol_version, default.cipher_suites.len()), (TlsProtocol::TlSv12.into(), 6));
    let limited = params("meshMTLS:\n  minProtocolVersion: TLSV1_3\n  cipherSuites: [ECDHE-RSA-AES256-GCM-SHA384]\n");
    assert_eq!(limited.tls_minimum_protocol_version, i32::from(TlsProtocol::TlSv13));
    assert_eq!(limited.cipher_suites, ["ECDHE-RSA-AES256-GCM-SHA384"]);
}

#[test]
fn clients_of_http_1_0_are_served_by_proxies_that_are_asked_to() {
    let mut objects = shop();
    objects.push(service("any", "10.96.0.9", json!({"name": "any", "port": 90})));
    let snapshot = mesh(&objects);
    for http10 in [false, true] {
        let view = crate::view::ProxyView { http10, ..sidecar() };
        let accepts = |chain: &FilterChain| {
            let manager: HttpConnectionManager = unpack(config(last(chain)));
            manager.http_protocol_options.is_some_and(|options| options.accept_http_10)
        };
        for name in ["10.96.0.9_90", "virtualInbound"] {
            let listener: Listener = get(name, &view, &snapshot).expect("there");
            let http: Vec<&FilterChain> = listener.filter_chains.iter().filter(|chain| is_http(chain)).collect();
            assert!(!http.is_empty() && http.iter().all(|chain| accepts(chain) == http10), "{name}");
        }
        let told: Listener = get("10.96.0.9_90", &view, &snapshot).expect("there");
        let recognized = |chain: &FilterChain| {
            let protocols = &chain.filter_chain_match.as_ref().expect("a match").application_protocols;
            protocols.iter().any(|protocol| protocol == "http/1.0")
        };
        let chain = told.filter_chains.iter().find(|chain| is_http(chain)).expect("HTTP");
        assert_eq!(recognized(chain), http10);
    }
}
