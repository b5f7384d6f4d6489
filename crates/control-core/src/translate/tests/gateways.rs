use lateen_api::envoy::envoy::config::listener::v3::{FilterChain, Listener};
use lateen_api::envoy::envoy::config::route::v3::RouteConfiguration;
use lateen_api::envoy::envoy::extensions::transport_sockets::tls::v3::tls_parameters::TlsProtocol;
use lateen_api::envoy::envoy::extensions::transport_sockets::tls::v3::{DownstreamTlsContext, Secret};
use lateen_api::type_url;

use super::*;
use crate::view::ProxyKind;

/// The gateway at 10.0.0.100, which no Service leads to, in namespace `default`.
fn router() -> ProxyView {
    let labels = [("istio".to_owned(), "ingressgateway".to_owned())].into();
    ProxyView { kind: ProxyKind::Router, labels, addresses: vec!["10.0.0.100".parse().expect("address")], ..sidecar() }
}

fn gateway(name: &str, created: &str, servers: Value) -> Value {
    let mut object = istio("Gateway", name, json!({"selector": {"istio": "ingressgateway"}, "servers": servers}));
    object["metadata"]["creationTimestamp"] = json!(created);
    object
}

fn server(number: u16, name: &str, protocol: &str, host: &str, tls: Value) -> Value {
    let mut server = json!({"port": {"number": number, "name": name, "protocol": protocol}, "hosts": [host]});
    if !tls.is_null() {
        server["tls"] = tls;
    }
    server
}

fn to_backend(name: &str, gateway: &str, host: &str) -> Value {
    let destination = json!({"destination": {"host": "backend", "port": {"number": 80}}});
    istio(
        "VirtualService",
        name,
        json!({
            "hosts": [host], "gateways": [gateway],
            "http": [{"route": [destination]}],
            "tcp": [{"route": [destination]}],
            "tls": [{"match": [{"sniHosts": [host]}], "route": [destination]}],
        }),
    )
}

fn edge(more: &[Value]) -> std::sync::Arc<Snapshot> {
    let mut objects = shop();
    objects.extend_from_slice(more);
    mesh(&objects)
}

fn server_names(chain: &FilterChain) -> Vec<String> {
    chain.filter_chain_match.clone().unwrap_or_default().server_names
}

fn context(chain: &FilterChain) -> DownstreamTlsContext {
    use lateen_api::envoy::envoy::config::core::v3::transport_socket::ConfigType;
    let socket = chain.transport_socket.as_ref().expect("TLS ends here");
    let Some(ConfigType::TypedConfig(any)) = &socket.config_type else { panic!("no context") };
    unpack(any)
}

#[test]
fn a_port_is_listened_on_where_something_is_served() {
    let simple = json!({"mode": "SIMPLE", "credentialName": "cert"});
    let snapshot = edge(&[
        gateway(
            "edge",
            "1",
            json!([
                server(80, "http", "HTTP", "*", Value::Null),
                server(443, "https", "HTTPS", "a.com", simple),
                server(9000, "tcp", "TCP", "*", Value::Null),
                server(9001, "nobody", "TCP", "unknown.com", Value::Null),
            ]),
        ),
        to_backend("a", "edge", "a.com"),
    ]);
    assert_eq!(list(type_url::LISTENER, &router(), &snapshot), ["0.0.0.0_443", "0.0.0.0_80", "0.0.0.0_9000"]);
    assert_eq!(list(type_url::ROUTE, &router(), &snapshot), ["http.80", "https.443.https.edge.default"]);
    let other = ProxyView { labels: Default::default(), ..router() };
    assert!(list(type_url::LISTENER, &other, &snapshot).is_empty(), "it is selected by its labels");
}

#[test]
fn servers_of_tls_are_told_apart_by_name_and_the_older_keeps_it() {
    let credential = |name: &str| json!({"mode": "SIMPLE", "credentialName": name});
    let snapshot = edge(&[
        gateway("new", "2", json!([server(443, "x", "HTTPS", "a.com", credential("stolen"))])),
        gateway(
            "old",
            "1",
            json!([
                server(443, "a", "HTTPS", "a.com", credential("cert")),
                server(443, "b", "TLS", "b.com", json!({"mode": "PASSTHROUGH"})),
            ]),
        ),
        gateway("plain", "3", json!([server(443, "http", "HTTP", "c.com", Value::Null)])),
        to_backend("b", "old", "b.com"),
    ]);
    let listener: Listener = get("0.0.0.0_443", &router(), &snapshot).expect("is there");
    let names: Vec<Vec<String>> = listener.filter_chains.iter().map(server_names).collect();
    assert_eq!(names, [["a.com"], ["b.com"]]);
    let common = context(&listener.filter_chains[0]).common_tls_context.expect("is there");
    assert_eq!(common.tls_certificate_sds_secret_configs[0].name, "kubernetes://cert");
    assert_eq!(common.alpn_protocols, ["h2", "http/1.1"]);
    assert!(listener.filter_chains[1].transport_socket.is_none(), "passed through");
}

#[test]
fn clients_are_asked_for_certificates_as_the_mode_says() {
    for (mode, required, checked) in [
        ("SIMPLE", false, false),
        ("MUTUAL", true, true),
        ("OPTIONAL_MUTUAL", false, true),
        ("ISTIO_MUTUAL", true, true),
    ] {
        let tls = json!({"mode": mode, "credentialName": "cert"});
        let snapshot = edge(&[gateway("edge", "1", json!([server(443, "a", "HTTPS", "a.com", tls)]))]);
        let listener: Listener = get("0.0.0.0_443", &router(), &snapshot).expect("is there");
        let context = context(&listener.filter_chains[0]);
        let common = context.common_tls_context.expect("is there");
        assert_eq!(context.require_client_certificate.map(|r| r.value), Some(required), "{mode}");
        assert_eq!(common.validation_context_type.is_some(), checked, "{mode}");
        let names: Vec<String> = common.tls_certificate_sds_secret_configs.into_iter().map(|s| s.name).collect();
        assert_eq!(names, [if mode == "ISTIO_MUTUAL" { "default" } else { "kubernetes://cert" }], "{mode}");
    }
}

#[test]
fn routes_for_everything_come_last_and_plain_requests_are_sent_to_https() {
    let early = istio(
        "VirtualService",
        "early",
        json!({"hosts": ["a.com"], "gateways": ["edge"],
        "http": [{"name": "all", "route": [{"destination": {"host": "web"}}]}]}),
    );
    let late = istio(
        "VirtualService",
        "late",
        json!({"hosts": ["*"], "gateways": ["default/edge"],
        "http": [{"name": "some", "match": [{"uri": {"prefix": "/b"}}, {"gateways": ["other"]}],
            "route": [{"destination": {"host": "backend"}}]}]}),
    );
    let redirect = json!({"httpsRedirect": true});
    let servers =
        json!([server(80, "http", "HTTP", "a.com", Value::Null), server(80, "more", "HTTP", "b.com", redirect),]);
    let snapshot = edge(&[gateway("edge", "1", servers), early, late]);
    let routes: RouteConfiguration = get("http.80", &router(), &snapshot).expect("is there");
    let found: Vec<(&str, Vec<&str>, i32)> = routes
        .virtual_hosts
        .iter()
        .map(|h| (h.name.as_str(), h.routes.iter().map(|r| r.name.as_str()).collect(), h.require_tls))
        .collect();
    assert_eq!(found, [("a.com:80", vec!["some", "all"], 0), ("b.com:80", vec!["some"], 2)]);
}

#[test]
fn credentials_are_for_proxies_of_their_namespace() {
    let secret = |namespace: &str, name: &str, data: Value| json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": namespace}, "data": data});
    let pair = json!({"tls.crt": "Y2VydA==", "tls.key": "a2V5", "ca.crt": "Y2E="});
    let snapshot = edge(&[
        secret("default", "cert", pair.clone()),
        secret("other", "theirs", pair),
        secret("default", "token", json!({"token": "dA=="})),
    ]);
    let found = |name: &str| get::<Secret>(&format!("kubernetes://{name}"), &router(), &snapshot).is_some();
    assert!(found("cert") && found("cert-cacert") && found("default/cert"));
    for name in ["theirs", "other/theirs", "token", "token-cacert", "missing"] {
        assert!(!found(name), "{name}");
    }
}

#[test]
fn the_mesh_limits_tls_where_a_server_says_nothing() {
    let params = |mesh: &str, tls: Value| {
        let mut objects = vec![gateway("edge", "1", json!([server(443, "a", "HTTPS", "a.com", tls)]))];
        objects.push(json!({"apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": "istio", "namespace": "istio-system"}, "data": {"mesh": mesh}}));
        let listener: Listener = get("0.0.0.0_443", &router(), &edge(&objects)).expect("is there");
        context(&listener.filter_chains[0]).common_tls_context.and_then(|c| c.tls_params).expect("settings")
    };
    let (v12, v13): (i32, i32) = (TlsProtocol::TlSv12.into(), TlsProtocol::TlSv13.into());
    let defaults = "tlsDefaults:\n  minProtocolVersion: TLSV1_3\n  ecdhCurves: [P-256, nonsense]\n  cipherSuites: \
                    [AES128-SHA]\n";
    let plain = json!({"mode": "SIMPLE", "credentialName": "cert"});
    let own = json!({"mode": "SIMPLE", "credentialName": "cert", "minProtocolVersion": "TLSV1_2",
        "maxProtocolVersion": "TLSV1_2", "cipherSuites": ["RC4", "ECDHE-RSA-AES128-GCM-SHA256"]});

    let nothing = params("", plain.clone());
    assert_eq!((nothing.tls_minimum_protocol_version, nothing.cipher_suites.len()), (v12, 0));
    let of_mesh = params(defaults, plain);
    assert_eq!(of_mesh.tls_minimum_protocol_version, v13);
    assert_eq!((of_mesh.ecdh_curves, of_mesh.cipher_suites), (vec!["P-256".into()], vec!["AES128-SHA".into()]));
    let own = params(defaults, own);
    assert_eq!((own.tls_minimum_protocol_version, own.tls_maximum_protocol_version), (v12, v12));
    assert_eq!(own.cipher_suites, ["ECDHE-RSA-AES128-GCM-SHA256"], "a stock Envoy refuses what it does not know");
    let mutual = params(defaults, json!({"mode": "ISTIO_MUTUAL"}));
    assert_eq!(mutual.tls_minimum_protocol_version, v12, "the mesh's own TLS has settings of its own");
}
