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
fn a_pod_with_both_families_is_one_endpoint_of_a_service_with_both() {
    let mut both = pod("web", "10.0.0.1", 0);
    both["status"]["podIPs"] = json!([{"ip": "10.0.0.1"}, {"ip": "fd00::1"}]);
    let mut second = slice("web", "fd00::1", true);
    second["metadata"]["name"] = json!("web-v6");
    let mut store = Store::new();
    for object in [service("web"), both, slice("web", "10.0.0.1", true)] {
        store.apply(Event::Apply(object));
    }
    let addresses = |store: &Store| -> Vec<Vec<String>> {
        let snapshot = store.snapshot();
        let endpoints = snapshot.endpoints.of_service(&host("web"), "default").expect("known");
        endpoints.of_port(80).iter().map(|e| e.addresses().cloned().collect()).collect()
    };
    assert_eq!(addresses(&store), [["10.0.0.1"]], "a Service of one family has addresses of that family");
    store.apply(Event::Apply(second));
    assert_eq!(addresses(&store), [["10.0.0.1", "fd00::1"]]);
    let snapshot = store.snapshot();
    assert_eq!(snapshot.endpoints.at_address("fd00::1".parse().unwrap()).count(), 1);
    assert_eq!(snapshot.service_targets(&["fd00::1".parse().unwrap()]).len(), 1);
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
    assert_eq!(facts(&changes), [Fact::Declared], "only its own status tells of it");
    assert_eq!(changes.refused.len(), 1);
    assert_eq!(
        store.snapshot().virtual_services.iter().next().expect("one").spec.http[0].timeout.as_deref(),
        Some("1s")
    );
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

fn virtual_service(name: &str, spec: Value) -> Event {
    Event::Apply(json!({"apiVersion": "networking.istio.io/v1", "kind": "VirtualService",
        "metadata": {"name": name.rsplit('/').next(), "namespace": name.rsplit_once('/').map_or("default", |n| n.0)},
        "spec": spec}))
}

#[test]
fn delegates_are_merged_whatever_comes_first() {
    let root = || {
        virtual_service(
            "root",
            json!({"hosts": ["shop.example"], "http": [
                {"match": [{"uri": {"prefix": "/cart"}}], "timeout": "3s", "delegate": {"name": "cart", "namespace": "team"}},
                {"route": [{"destination": {"host": "web"}}]}]}),
        )
    };
    let cart = |export: &str| {
        virtual_service(
            "team/cart",
            json!({"exportTo": [export], "http": [
                {"match": [{"uri": {"prefix": "/cart/v2"}}], "route": [{"destination": {"host": "cart"}}]},
                {"match": [{"uri": {"prefix": "/pay"}}], "route": [{"destination": {"host": "pay"}}]},
                {"route": [{"destination": {"host": "old"}}]}]}),
        )
    };
    for order in [[root(), cart("*")], [cart("*"), root()]] {
        let mut store = Store::new();
        for event in order {
            assert!(!store.apply(event).is_empty());
        }
        let snapshot = store.snapshot();
        let all: Vec<_> = snapshot.virtual_services.iter().collect();
        let [only] = all[..] else { panic!("{all:?}") };
        let found: Vec<_> = only.spec.http.iter().map(|r| r.route[0].destination.host.as_str()).collect();
        assert_eq!(found, ["cart.team.svc.cluster.local", "old.team.svc.cluster.local", "web"]);
        assert_eq!(only.spec.http[1].matches[0].uri.as_ref().and_then(|u| u.prefix.as_deref()), Some("/cart"));
        assert_eq!(only.spec.http[1].timeout.as_deref(), Some("3s"));
        let findings = &snapshot.delegation_findings[&Key::new(Kind::VirtualService, "default", "root")];
        assert!(matches!(findings.as_slice(), [one] if one.contains("http[1]")), "{findings:?}");

        store.apply(cart("."));
        let snapshot = store.snapshot();
        assert_eq!(snapshot.virtual_services.iter().next().expect("one").spec.http.len(), 1);
        store.apply(Event::Delete(Key::new(Kind::VirtualService, "team", "cart")));
        let snapshot = store.snapshot();
        let findings = &snapshot.delegation_findings[&Key::new(Kind::VirtualService, "default", "root")];
        assert!(findings[0].contains("does not exist"), "{findings:?}");
        store.apply(Event::Delete(Key::new(Kind::VirtualService, "default", "root")));
        assert!(store.snapshot().delegation_findings.is_empty() && store.snapshot().virtual_services.is_empty());
    }
}

#[test]
fn delegates_that_refer_to_each_other_end() {
    let mut store = Store::new();
    let to = |hosts: Value, name: &str| json!({"hosts": hosts, "http": [{"delegate": {"name": name}}]});
    store.apply(virtual_service("a", to(json!([]), "b")));
    store.apply(virtual_service("b", to(json!([]), "a")));
    store.apply(virtual_service("root", to(json!(["web"]), "a")));
    store.apply(virtual_service("self", to(json!(["web"]), "self")));
    let snapshot = store.snapshot();
    assert!(snapshot.virtual_services.iter().all(|vs| vs.spec.http.is_empty()));
    let finding =
        |name: &str| snapshot.delegation_findings[&Key::new(Kind::VirtualService, "default", name)][0].clone();
    assert!(finding("root").contains("delegates further"), "{}", finding("root"));
    assert!(finding("self").contains("has hosts of its own"), "{}", finding("self"));
}

#[test]
fn service_entries_that_differ_in_ports_only_are_one_service() {
    let entry = |name: &str, port: u16, address: &str| {
        json!({"apiVersion": "networking.istio.io/v1", "kind": "ServiceEntry",
            "metadata": {"name": name, "namespace": "default", "creationTimestamp": format!("2026-01-01T00:00:0{port}Z")},
            "spec": {"hosts": ["a.com"], "resolution": "STATIC", "endpoints": [{"address": address}],
                "ports": [{"number": port, "name": "http", "protocol": "HTTP"}]}})
    };
    let mut store = Store::new();
    let both = |store: &Store, port| -> Vec<String> {
        let snapshot = store.snapshot();
        let endpoints = snapshot.endpoints.of_service(&Hostname::new("a.com"), "default").expect("known");
        endpoints.of_port(port).iter().map(|endpoint| endpoint.address.clone()).collect()
    };
    for object in [entry("second", 2, "10.0.0.2"), entry("first", 1, "10.0.0.1"), entry("third", 2, "10.0.0.3")] {
        store.apply(Event::Apply(object));
    }
    let snapshot = store.snapshot();
    let [service] = snapshot.services.of_host(&Hostname::new("a.com")) else { panic!("one service") };
    assert_eq!((service.name(), service.ports.len(), service.parts.len()), ("first", 2, 2));
    assert_eq!(
        (both(&store, 1), both(&store, 2)),
        (vec!["10.0.0.1".into()], vec!["10.0.0.2".into(), "10.0.0.3".into()])
    );
    store.apply(Event::Delete(Key::new(Kind::ServiceEntry, "default", "second")));
    assert_eq!(both(&store, 2), ["10.0.0.3"]);
}

#[test]
fn only_where_virtual_services_lead_changes_what_a_sidecar_reaches() {
    let mut store = Store::new();
    let mut touches_reach = |hosts: &str, timeout: &str, to: &str| {
        let route = json!({"timeout": timeout, "route": [{"destination": {"host": to}}]});
        let changes = store.apply(virtual_service("web", json!({"hosts": [hosts], "http": [route]})));
        assert!(changes.touch(&ReadSet::from_iter([Fact::VirtualServices])));
        changes.touch(&ReadSet::from_iter([Fact::Reach]))
    };
    assert!(touches_reach("web", "1s", "web"), "new");
    assert!(!touches_reach("web", "2s", "web"), "another timeout");
    assert!(touches_reach("web", "2s", "web-v2"), "leads elsewhere");
    assert!(touches_reach("shop", "2s", "web-v2"), "for another host");
}
