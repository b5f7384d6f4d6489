//! Behaviour of translation, on small meshes.

mod authentication;
mod authorization;
mod clusters;
mod gateway_api;
mod gateways;
mod listeners;
mod routes;

use lateen_api::discovery::Node;
use lateen_api::envoy::envoy::config::core::v3::Extension;
use lateen_api::google::protobuf::Any;
use prost::{Message, Name};
use serde_json::{Value, json};

use super::{common_names, names, own_names, resource};
use crate::snapshot::Snapshot;
use crate::store::{Event, Store};
use crate::view::ProxyView;

/// A mesh of `objects`.
fn mesh(objects: &[Value]) -> std::sync::Arc<Snapshot> {
    let mut store = Store::new();
    for object in objects {
        store.apply(Event::Apply(object.clone()));
    }
    store.settle();
    assert!(store.refused().is_empty(), "{:?}", store.refused());
    store.snapshot()
}

/// The sidecar of pod `web-0` at 10.0.0.1 in namespace `default`.
fn sidecar() -> ProxyView {
    let extensions = vec![Extension { name: "lateen".into(), ..Default::default() }];
    let id = "sidecar~10.0.0.1~web-0.default~default.svc.cluster.local".into();
    ProxyView::from_node(&Node { id, extensions, ..Default::default() }).expect("a good node")
}

/// The same, but a stock Envoy.
fn stock() -> ProxyView {
    ProxyView { lateen: false, ..sidecar() }
}

/// A resource, unpacked.
fn get<M: Message + Name + Default>(name: &str, view: &ProxyView, snapshot: &Snapshot) -> Option<M> {
    let made = resource(&M::type_url(), name, view, snapshot)?;
    Some(M::decode(made.resource.value).expect("decodes"))
}

fn list(type_url: &str, view: &ProxyView, snapshot: &Snapshot) -> Vec<String> {
    names(type_url, view, snapshot).names
}

fn unpack<M: Message + Name + Default>(any: &Any) -> M {
    assert_eq!(any.type_url, M::type_url());
    M::decode(any.value.as_slice()).expect("decodes")
}

/// A Service `name` in `default` with a virtual address and one port.
fn service(name: &str, ip: &str, port: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": "default"},
        "spec": {"clusterIP": ip, "selector": {"app": name}, "ports": [port]}})
}

/// A ready pod with a sidecar and the slice that leads to it.
fn pod(app: &str, version: &str, ip: &str, port: Value) -> [Value; 2] {
    let name = format!("{app}-{version}");
    [
        json!({"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": name, "namespace": "default",
                "labels": {"app": app, "version": version, "security.istio.io/tlsMode": "istio"}},
            "spec": {"serviceAccountName": app}, "status": {"phase": "Running", "podIP": ip}}),
        json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "metadata": {"name": name, "namespace": "default", "labels": {"kubernetes.io/service-name": app}},
            "ports": [port], "endpoints": [{"addresses": [ip], "targetRef": {"kind": "Pod", "name": name}}]}),
    ]
}

/// An Istio object in `default`.
fn istio(kind: &str, name: &str, spec: Value) -> Value {
    let security = matches!(kind, "PeerAuthentication" | "AuthorizationPolicy" | "RequestAuthentication");
    let group = if security { "security.istio.io" } else { "networking.istio.io" };
    json!({"apiVersion": format!("{group}/v1"), "kind": kind,
        "metadata": {"name": name, "namespace": "default"}, "spec": spec})
}

/// `web` and `backend` with declared HTTP, two versions of `backend`.
fn shop() -> Vec<Value> {
    let http = || json!({"name": "http", "port": 80, "targetPort": 8080});
    let target = || json!({"name": "http", "port": 8080});
    let mut all = vec![service("web", "10.96.0.1", http()), service("backend", "10.96.0.2", http())];
    all.extend(pod("web", "v1", "10.0.0.1", target()));
    all.extend(pod("backend", "v1", "10.0.0.2", target()));
    all.extend(pod("backend", "v2", "10.0.0.3", target()));
    all
}

#[test]
fn equal_meshes_get_equal_resources() {
    use lateen_api::type_url;
    let (one, other) = (mesh(&shop()), mesh(&shop()));
    for url in [type_url::LISTENER, type_url::ROUTE, type_url::NAME_TABLE] {
        for name in list(url, &sidecar(), &one) {
            let make = |snapshot: &Snapshot| resource(url, &name, &sidecar(), snapshot);
            assert!(make(&one).is_some(), "{name}");
            assert_eq!(make(&one).map(|g| g.reads), make(&other).map(|g| g.reads), "{name}");
        }
    }
}

#[test]
fn names_are_those_in_common_and_ones_own() {
    use lateen_api::type_url;
    let tcp = || json!({"name": "tcp", "port": 3306});
    let mut objects = shop();
    objects.push(service("db", "None", tcp()));
    objects.extend(pod("db", "a", "10.0.0.8", tcp()));
    objects.extend(pod("db", "b", "10.0.0.9", tcp()));
    let mesh = mesh(&objects);
    let at = |address: &str| ProxyView { addresses: vec![address.parse().expect("an address")], ..sidecar() };
    let (caller, member) = (at("10.0.0.1"), at("10.0.0.9"));
    for url in [type_url::LISTENER, type_url::CLUSTER, type_url::NAME_TABLE] {
        let common = common_names(url, &caller, &mesh);
        assert_eq!(common, common_names(url, &member, &mesh), "{url}");
        for view in [&caller, &member] {
            let all = common.names.iter().cloned().chain(own_names(url, view, &mesh).names);
            let mut made: Vec<String> = all.filter(|name| resource(url, name, view, &mesh).is_some()).collect();
            made.sort();
            assert_eq!(made, list(url, view, &mesh), "{url}");
        }
    }
    let listeners = common_names(type_url::LISTENER, &member, &mesh).names;
    assert!(listeners.contains(&"10.0.0.9_3306".to_owned()), "others call it there: {listeners:?}");
}
