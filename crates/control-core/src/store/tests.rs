use serde_json::json;

use super::*;
use crate::reads::ReadSet;

fn service(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": "default"},
        "spec": {"clusterIP": "10.96.0.9", "selector": {"app": name}, "ports": [{"name": "http", "port": 80, "targetPort": 8080}]}})
}

fn slice(name: &str, ip: &str, ready: bool) -> Value {
    json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {"name": format!("{name}-x"), "namespace": "default", "labels": {"kubernetes.io/service-name": name}},
        "ports": [{"name": "http", "port": 8080}],
        "endpoints": [{"addresses": [ip], "conditions": {"ready": ready}, "targetRef": {"kind": "Pod", "name": format!("{name}-0")}}]})
}

fn pod(name: &str, ip: &str, restarts: u32) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": format!("{name}-0"), "namespace": "default", "labels": {"app": name, "security.istio.io/tlsMode": "istio"}},
        "spec": {"serviceAccountName": format!("{name}-sa"), "containers": []},
        "status": {"phase": "Running", "podIP": ip, "containerStatuses": [{"restartCount": restarts}]}})
}

fn host(name: &str) -> Hostname {
    Hostname::new(&format!("{name}.default.svc.cluster.local"))
}

fn facts(changes: &Changes) -> Vec<Fact> {
    changes.iter().cloned().collect()
}

#[test]
fn endpoints_know_their_pod_whatever_comes_first() {
    let events = [service("web"), slice("web", "10.0.0.1", true), pod("web", "10.0.0.1", 0)];
    for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0], [1, 0, 2]] {
        let mut store = Store::new();
        for i in order {
            store.apply(Event::Apply(events[i].clone()));
        }
        let snapshot = store.snapshot();
        let endpoints = snapshot.endpoints.of_service(&host("web"), "default").expect("known");
        let endpoint = &endpoints.of_port(80)[0];
        assert_eq!(
            (endpoint.port, endpoint.mesh_tls, endpoint.service_account.as_str()),
            (8080, true, "web-sa"),
            "{order:?}"
        );
    }
}

#[test]
fn a_change_that_matters_to_nobody_changes_nothing() {
    let mut store = Store::new();
    for object in [service("web"), slice("web", "10.0.0.1", true), pod("web", "10.0.0.1", 0)] {
        store.apply(Event::Apply(object));
    }
    assert!(store.apply(Event::Apply(pod("web", "10.0.0.1", 1))).is_empty());
    assert!(store.apply(Event::Apply(service("web"))).is_empty());
}

#[test]
fn an_endpoint_that_goes_changes_its_service_only() {
    let mut store = Store::new();
    for name in ["web", "db"] {
        store.apply(Event::Apply(service(name)));
        store.apply(Event::Apply(slice(name, "10.0.0.1", true)));
        store.apply(Event::Apply(pod(name, "10.0.0.1", 0)));
    }
    let changes = store.apply(Event::Apply(slice("web", "10.0.0.1", false)));
    assert!(facts(&changes).contains(&Fact::Endpoints(host("web"))));
    assert!(changes.touch(&ReadSet::from_iter([Fact::Endpoints(host("web"))])));
    assert!(!changes.touch(&ReadSet::from_iter([Fact::Endpoints(host("db")), Fact::Services])));
}

#[test]
fn a_deleted_service_is_gone() {
    let mut store = Store::new();
    store.apply(Event::Apply(service("web")));
    store.apply(Event::Apply(slice("web", "10.0.0.1", true)));
    let changes = store.apply(Event::Delete(Key::new(Kind::Service, "default", "web")));
    assert!(facts(&changes).contains(&Fact::Services));
    let snapshot = store.snapshot();
    assert!(snapshot.services.of_host(&host("web")).is_empty());
    assert!(snapshot.endpoints.of_service(&host("web"), "default").is_none());
}

#[test]
fn a_broken_object_harms_only_itself() {
    let mut store = Store::new();
    let vs = |timeout: Value| {
        json!({"apiVersion": "networking.istio.io/v1", "kind": "VirtualService", "metadata": {"name": "a"},
            "spec": {"hosts": ["a"], "http": [{"timeout": timeout}]}})
    };
    store.apply(Event::Apply(vs(json!("1s"))));
    let changes = store.apply(Event::Apply(vs(json!(1))));
    assert!(changes.is_empty());
    assert_eq!(changes.refused.len(), 1);
    assert_eq!(store.snapshot().virtual_services[0].spec.http[0].timeout.as_deref(), Some("1s"));
    store.apply(Event::Apply(vs(json!("2s"))));
    assert!(store.refused().is_empty());
}

#[test]
fn an_endpoint_waits_for_its_pod() {
    let mut store = Store::new();
    let count = |store: &Store| {
        let snapshot = store.snapshot();
        snapshot.endpoints.of_service(&host("web"), "default").map_or(0, |e| e.of_port(80).len())
    };
    store.apply(Event::Apply(service("web")));
    store.apply(Event::Apply(slice("web", "10.0.0.1", true)));
    assert_eq!(count(&store), 0);
    let changes = store.apply(Event::Apply(pod("web", "10.0.0.1", 0)));
    assert_eq!(count(&store), 1);
    assert!(changes.touch(&ReadSet::from_iter([Fact::Endpoints(host("web"))])));
}

#[test]
fn rules_are_kept_oldest_first() {
    let mut store = Store::new();
    for (name, time) in [("b", "2026-01-02T00:00:00Z"), ("a", "2026-01-03T00:00:00Z"), ("c", "2026-01-01T00:00:00Z")] {
        store.apply(Event::Apply(json!({"apiVersion": "networking.istio.io/v1", "kind": "VirtualService",
            "metadata": {"name": name, "creationTimestamp": time}, "spec": {"hosts": [name]}})));
    }
    let names = |store: &Store| -> Vec<String> {
        store.snapshot().virtual_services.iter().map(|v| v.meta.name.clone()).collect()
    };
    assert_eq!(names(&store), ["c", "b", "a"]);
    store.apply(Event::Delete(Key::new(Kind::VirtualService, "default", "b")));
    assert_eq!(names(&store), ["c", "a"]);
}

#[test]
fn snapshots_do_not_change() {
    let mut store = Store::new();
    store.apply(Event::Apply(service("web")));
    let before = store.snapshot();
    store.apply(Event::Apply(service("db")));
    assert_eq!(before.services.hosts().count(), 1);
    assert_eq!(store.snapshot().services.hosts().count(), 2);
}

#[test]
fn a_destination_rule_touches_the_hosts_it_is_for() {
    let mut store = Store::new();
    store.apply(Event::Apply(service("web")));
    let dr = json!({"apiVersion": "networking.istio.io/v1", "kind": "DestinationRule", "metadata": {"name": "all"},
        "spec": {"host": "*.default.svc.cluster.local"}});
    let changes = store.apply(Event::Apply(dr));
    assert!(changes.touch(&ReadSet::from_iter([Fact::DestinationRules(host("web"))])));
}
