//! The Gateway API, from objects to what proxies get.

use lateen_api::envoy::envoy::config::listener::v3::Listener;
use lateen_api::envoy::envoy::config::route::v3::route::Action;
use lateen_api::envoy::envoy::config::route::v3::{RouteConfiguration, VirtualHost};
use lateen_api::envoy::envoy::extensions::transport_sockets::tls::v3::Secret;
use lateen_api::type_url;

use super::*;
use crate::resource::{Key, Kind};
use crate::translate::is_granted;
use crate::view::ProxyKind;

const GROUP: &str = "gateway.networking.k8s.io/v1";

/// The pod of Gateway `edge`, behind its Service.
fn edge_pod() -> ProxyView {
    let addresses = vec!["10.0.0.50".parse().expect("address")];
    ProxyView { kind: ProxyKind::Router, addresses, service_account: "edge-istio".into(), ..sidecar() }
}

fn object(kind: &str, namespace: &str, name: &str, spec: Value) -> Value {
    json!({"apiVersion": GROUP, "kind": kind, "metadata": {"name": name, "namespace": namespace}, "spec": spec})
}

fn edge(listeners: Value) -> Vec<Value> {
    let mut front = service("edge-istio", "10.96.0.9", json!({"name": "http", "port": 80}));
    front["spec"]["ports"] = json!([{"name": "http", "port": 80}, {"name": "https", "port": 443}]);
    let mut all = shop();
    all.push(front);
    all.extend(pod("edge-istio", "v1", "10.0.0.50", json!({"name": "http", "port": 80})));
    all.push(object("Gateway", "default", "edge", json!({"gatewayClassName": "istio", "listeners": listeners})));
    all
}

fn http(name: &str, hostname: Option<&str>, from: &str) -> Value {
    let mut listener = json!({"name": name, "port": 80, "protocol": "HTTP",
        "allowedRoutes": {"namespaces": {"from": from}}});
    if let Some(hostname) = hostname {
        listener["hostname"] = json!(hostname);
    }
    listener
}

fn route(namespace: &str, name: &str, parent: Value, hosts: &[&str], rules: Value) -> Value {
    object("HTTPRoute", namespace, name, json!({"parentRefs": [parent], "hostnames": hosts, "rules": rules}))
}

fn to(backend: &str) -> Value {
    json!([{"backendRefs": [{"name": backend, "port": 80}]}])
}

fn hosts(snapshot: &Snapshot) -> Vec<VirtualHost> {
    get::<RouteConfiguration>("http.80", &edge_pod(), snapshot).expect("is there").virtual_hosts
}

fn host<'a>(hosts: &'a [VirtualHost], domain: &str) -> &'a VirtualHost {
    hosts.iter().find(|host| host.domains[0] == domain).expect("the host")
}

fn reason(snapshot: &Snapshot, kind: Kind, namespace: &str, name: &str, condition: &str) -> String {
    let status = snapshot.gateway_api.statuses.get(&Key::new(kind, namespace, name)).expect("a status");
    let conditions = status.wanted().pointer("/parents/0/conditions").or(status.wanted().pointer("/conditions"));
    let found = conditions.and_then(Value::as_array).into_iter().flatten().find(|c| c["type"] == condition);
    found.and_then(|c| c["reason"].as_str()).unwrap_or_default().to_owned()
}

#[test]
fn requests_are_for_the_narrowest_listener_only() {
    let mut objects = edge(json!([
        http("all", None, "Same"),
        http("shop", Some("*.shop.com"), "Same"),
        http("empty", Some("nothing.shop.com"), "Same")
    ]));
    objects.push(route(
        "default",
        "all",
        json!({"name": "edge", "sectionName": "all"}),
        &["a.shop.com", "b.com"],
        to("web"),
    ));
    objects.push(route("default", "shop", json!({"name": "edge", "sectionName": "shop"}), &[], to("backend")));
    let hosts = hosts(&mesh(&objects));
    let domains: Vec<&str> = hosts.iter().map(|host| host.domains[0].as_str()).collect();
    assert_eq!(domains, ["*", "*.shop.com", "b.com", "nothing.shop.com"], "a.shop.com is for the other listener");
    assert!(host(&hosts, "nothing.shop.com").routes.is_empty() && host(&hosts, "*").routes.is_empty(), "404");
    assert_eq!((host(&hosts, "b.com").routes.len(), host(&hosts, "*.shop.com").routes.len()), (1, 1));
}

#[test]
fn a_backend_elsewhere_needs_a_grant_there_and_leads_nowhere_without() {
    let mut objects = edge(json!([http("all", None, "Same")]));
    let rules = json!([{"backendRefs": [{"name": "api", "namespace": "bank", "port": 80}]}]);
    objects.push(route("default", "to-bank", json!({"name": "edge"}), &[], rules));
    let mut api = service("api", "10.96.0.20", json!({"name": "http", "port": 80}));
    api["metadata"]["namespace"] = json!("bank");
    objects.push(api);
    let without = mesh(&objects);
    assert_eq!(reason(&without, Kind::HttpRoute, "default", "to-bank", "ResolvedRefs"), "RefNotPermitted");
    let Some(Action::Route(action)) = hosts(&without)[0].routes[0].action.clone() else { panic!("no route") };
    assert_eq!(action.cluster_not_found_response_code, 2, "500");
    let grant = json!({"from": [{"group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "namespace": "default"}],
        "to": [{"group": "", "kind": "Service", "name": "api"}]});
    objects.push(object("ReferenceGrant", "bank", "from-default", grant));
    assert_eq!(reason(&mesh(&objects), Kind::HttpRoute, "default", "to-bank", "ResolvedRefs"), "ResolvedRefs");
}

#[test]
fn a_secret_elsewhere_is_for_the_pods_of_the_gateway_that_names_it() {
    let text = |text: &str| {
        use base64::Engine as _;
        base64::engine::general_purpose::STANDARD.encode(text)
    };
    let pem = |label: &str| text(&format!("-----BEGIN {label}-----\nAAAA\n-----END {label}-----\n"));
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "cert", "namespace": "bank"},
        "data": {"tls.crt": pem("CERTIFICATE"), "tls.key": pem("PRIVATE KEY")}});
    let https = json!({"name": "https", "port": 443, "protocol": "HTTPS",
        "tls": {"certificateRefs": [{"name": "cert", "namespace": "bank"}]}});
    let mut objects = edge(json!([https]));
    objects.push(secret);
    let name = "kubernetes-gateway://bank/cert";
    let refused = mesh(&objects);
    assert!(get::<Secret>(name, &edge_pod(), &refused).is_none());
    assert!(list(type_url::LISTENER, &edge_pod(), &refused).is_empty(), "no grant");
    let grant = json!({"from": [{"group": "gateway.networking.k8s.io", "kind": "Gateway", "namespace": "default"}],
        "to": [{"group": "", "kind": "Secret"}]});
    objects.push(object("ReferenceGrant", "bank", "from-default", grant));
    let granted = mesh(&objects);
    assert!(get::<Listener>("0.0.0.0_443", &edge_pod(), &granted).is_some());
    assert!(get::<Secret>(name, &edge_pod(), &granted).is_some());
    assert!(is_granted(name, "default", "edge-istio", &granted));
    assert!(!is_granted(name, "default", "web", &granted) && !is_granted(name, "other", "edge-istio", &granted));
    assert!(!is_granted("kubernetes://cert", "default", "edge-istio", &granted));
    assert!(get::<Secret>(name, &ProxyView { namespace: "other".into(), ..edge_pod() }, &granted).is_none());
}

#[test]
fn mesh_routes_are_for_all_callers_in_the_services_namespace_and_for_their_own_elsewhere() {
    let parent = || json!({"group": "", "kind": "Service", "name": "backend", "namespace": "default"});
    let mut objects = shop();
    objects.push(route("default", "producer", parent(), &[], to("web")));
    let header = json!([{"backendRefs": [{"name": "backend", "namespace": "default", "port": 80}],
        "timeouts": {"request": "3s"}}]);
    objects.push(route("bank", "consumer", parent(), &[], header));
    let snapshot = mesh(&objects);
    let timeout = |namespace: &str| {
        let view = ProxyView { namespace: namespace.into(), ..sidecar() };
        let routes: RouteConfiguration = get("80", &view, &snapshot).expect("is there");
        let host = routes.virtual_hosts.into_iter().find(|h| h.name.starts_with("backend.")).expect("the host");
        let Some(Action::Route(action)) = host.routes[0].action.clone() else { panic!("no route") };
        action.timeout.map(|t| t.seconds)
    };
    assert_eq!((timeout("default"), timeout("bank"), timeout("other")), (Some(0), Some(3), Some(0)));
}

#[test]
fn a_removed_prefix_leaves_one_slash() {
    let mut objects = edge(json!([http("all", None, "Same")]));
    let rules = json!([{
        "matches": [{"path": {"type": "PathPrefix", "value": "/a.b/"}}],
        "filters": [{"type": "URLRewrite", "urlRewrite": {"path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/"}}}],
        "backendRefs": [{"name": "web", "port": 80}],
    }]);
    objects.push(route("default", "strip", json!({"name": "edge"}), &[], rules));
    let Some(Action::Route(action)) = hosts(&mesh(&objects))[0].routes[0].action.clone() else { panic!("no route") };
    let rewrite = action.regex_rewrite.expect("a rewrite");
    assert_eq!(rewrite.pattern.map(|p| p.regex).as_deref(), Some(r"^/a\.b/*(.*)"));
    assert_eq!(rewrite.substitution, r"/\1");
}
