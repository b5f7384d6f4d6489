//! What objects are told, on small meshes.

use serde_json::{Value, json};

use super::*;
use crate::resource::Kind;
use crate::store::{Event, Store};

/// A pod with a proxy, and the slice that makes it an endpoint of the Service of its `app`.
fn pod(app: &str, version: &str, ip: &str, role: &str) -> [Value; 2] {
    let name = format!("{app}-{version}");
    [
        json!({"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": name, "namespace": "shop",
                "labels": {"app": app, "version": version, "security.istio.io/tlsMode": "istio"}},
            "spec": {"containers": [{"name": "istio-proxy", "args": ["proxy", role]}]},
            "status": {"phase": "Running", "podIP": ip}}),
        json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "metadata": {"name": name, "namespace": "shop", "labels": {"kubernetes.io/service-name": app}},
            "ports": [{"name": "http", "port": 8080}],
            "endpoints": [{"addresses": [ip], "targetRef": {"kind": "Pod", "name": name}}]}),
    ]
}

fn service(name: &str, port: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": "shop"},
        "spec": {"clusterIP": "10.96.0.1", "selector": {"app": name}, "ports": [port]}})
}

/// `web`, `backend` in two versions, a database, a gateway: five proxies.
fn shop() -> Vec<Value> {
    let http = || json!({"name": "http", "port": 80, "targetPort": 8080});
    let mut all = vec![
        service("web", http()),
        service("backend", http()),
        service("edge", http()),
        service("db", json!({"name": "tcp", "port": 5432})),
    ];
    for (app, version, ip, role) in [
        ("web", "v1", "10.0.0.1", "sidecar"),
        ("backend", "v1", "10.0.0.2", "sidecar"),
        ("backend", "v2", "10.0.0.3", "sidecar"),
        ("db", "v1", "10.0.0.4", "sidecar"),
        ("edge", "v1", "10.0.0.5", "router"),
    ] {
        all.extend(pod(app, version, ip, role));
    }
    all
}

fn object(kind: &str, name: &str, spec: Value) -> Value {
    let security = matches!(kind, "PeerAuthentication" | "AuthorizationPolicy" | "RequestAuthentication");
    let group = if security { "security.istio.io" } else { "networking.istio.io" };
    json!({"apiVersion": format!("{group}/v1"), "kind": kind,
        "metadata": {"name": name, "namespace": "shop", "generation": 2, "creationTimestamp": "2026-01-01T00:00:00Z"},
        "spec": spec})
}

/// The same, a day younger.
fn younger(mut object: Value) -> Value {
    object["metadata"]["creationTimestamp"] = json!("2026-01-02T00:00:00Z");
    object
}

fn route(destination: Value) -> Value {
    json!([{"route": [{"destination": destination}]}])
}

/// What the last of `objects` is told in the shop.
fn told(objects: &[Value]) -> String {
    let mut store = Store::new();
    for object in shop().iter().chain(objects) {
        store.apply(Event::Apply(object.clone()));
    }
    let key = Key::of(objects.last().expect("an object")).expect("a known kind");
    let reports = reports(&store.snapshot());
    let report = &reports[&key];
    assert_eq!(report.generation, 2);
    let reason = report.faults.first().map_or("", |fault| fault.reason.word);
    format!("{reason} {}", report.message()).trim().to_owned()
}

#[track_caller]
fn check(objects: &[Value], expected: &str) {
    assert_eq!(told(objects), expected);
}

fn vs(name: &str, spec: Value) -> Value {
    object("VirtualService", name, spec)
}

fn rule(name: &str, spec: Value) -> Value {
    object("DestinationRule", name, spec)
}

fn versions() -> Value {
    rule("backend", json!({"host": "backend", "subsets": [{"name": "v1", "labels": {"version": "v1"}}]}))
}

fn gateway() -> Value {
    let port = json!({"number": 80, "name": "http", "protocol": "HTTP"});
    object(
        "Gateway",
        "edge",
        json!({"selector": {"app": "edge"}, "servers": [{"port": port, "hosts": ["*.shop.com"]}]}),
    )
}

#[test]
fn what_works_says_on_how_many_proxies() {
    let to_backend = json!({"hosts": ["backend"], "http": route(json!({"host": "backend"}))});
    check(&[vs("a", to_backend)], "in effect on 4 proxies");
    check(&[versions()], "in effect on 5 proxies");
    check(&[gateway()], "in effect on 1 proxy");
    let bound = json!({"hosts": ["a.shop.com"], "gateways": ["edge"], "http": route(json!({"host": "web"}))});
    check(&[gateway(), vs("a", bound)], "in effect on 1 proxy");
    let selector = json!({"matchLabels": {"app": "backend"}});
    for kind in ["PeerAuthentication", "AuthorizationPolicy", "RequestAuthentication"] {
        check(
            &[object(kind, "a", json!({"selector": selector, "mtls": {"mode": "STRICT"}}))],
            "in effect on 2 proxies",
        );
    }
    check(
        &[object("Sidecar", "a", json!({"egress": [{"hosts": ["./*", "*/web.shop.svc.cluster.local"]}]}))],
        "in effect on 4 proxies",
    );
}

#[test]
fn destinations_that_lead_nowhere_are_named() {
    let to = |destination: Value| vs("a", json!({"hosts": ["backend"], "http": route(destination)}));
    check(
        &[to(json!({"host": "nope"}))],
        "HostUnknown in effect on 4 proxies, except: http[0].route[0].destination: no service is called \
         nope.shop.svc.cluster.local; requests that go there get 503",
    );
    check(
        &[to(json!({"host": "backend", "port": {"number": 81}}))],
        "PortMismatch in effect on 4 proxies, except: http[0].route[0].destination: backend.shop.svc.cluster.local \
         has no port 81, but 80; requests get 503",
    );
    let v2 = json!({"host": "backend", "subset": "v2"});
    check(
        &[to(v2.clone())],
        "SubsetUnknown in effect on 4 proxies, except: http[0].route[0].destination: no DestinationRule for \
         backend.shop.svc.cluster.local is there, so that subset v2 isn't known; requests that go there get 503",
    );
    check(
        &[versions(), to(v2)],
        "SubsetUnknown in effect on 4 proxies, except: http[0].route[0].destination: DestinationRule shop/backend \
         has no subset v2; requests that go there get 503",
    );
    check(&[versions(), to(json!({"host": "backend", "subset": "v1"}))], "in effect on 4 proxies");
    let empty = rule("backend", json!({"host": "backend", "subsets": [{"name": "v3", "labels": {"version": "v3"}}]}));
    check(
        &[empty, to(json!({"host": "backend", "subset": "v3"}))],
        "SubsetWithoutPods in effect on 4 proxies, except: http[0].route[0].destination: no pod of \
         backend.shop.svc.cluster.local has the labels of subset v3; requests that go there get 503",
    );
}

#[test]
fn a_virtual_service_for_nobody_says_why() {
    let spec = || json!({"hosts": ["backend"], "http": route(json!({"host": "backend"}))});
    check(
        &[vs("first", spec()), younger(vs("second", spec()))],
        "Shadowed not in effect: host backend.shop.svc.cluster.local: that of the older VirtualService shop/first \
         counts; merge the two",
    );
    let mut hidden = spec();
    hidden["exportTo"] = json!(["bank"]);
    check(
        &[vs("a", hidden)],
        "NotExported not in effect: host backend.shop.svc.cluster.local: no sidecar sees it; look at exportTo and at \
         the Sidecars",
    );
    let unknown = json!({"hosts": ["bakend"], "http": route(json!({"host": "backend"}))});
    assert!(told(&[vs("a", unknown)]).starts_with("HostUnknown"));
    let http_for_tcp = json!({"hosts": ["db"], "http": route(json!({"host": "db"}))});
    assert!(told(&[vs("a", http_for_tcp)]).starts_with("PortMismatch"));
}

#[test]
fn bindings_to_gateways_are_checked() {
    let bound = |gateway: &str, host: &str| {
        vs("a", json!({"hosts": [host], "gateways": [gateway], "http": route(json!({"host": "web"}))}))
    };
    check(&[bound("nope", "a.shop.com")], "GatewayAbsent not in effect: gateways[0]: there is no Gateway shop/nope");
    check(
        &[gateway(), bound("edge", "bank.com")],
        "HostNotInGateway not in effect: gateways[0]: no server of Gateway shop/edge has any of the hosts; add them \
         there",
    );
    let mut nowhere = gateway();
    nowhere["spec"]["selector"] = json!({"app": "gone"});
    check(
        &[nowhere.clone(), bound("edge", "a.shop.com")],
        "GatewayWithoutProxies not in effect: gateways[0]: Gateway shop/edge is served by no gateway that runs",
    );
    check(&[nowhere], "NoMatchingWorkloads not in effect: selector: no gateway runs in a pod with the labels app=gone");
}

#[test]
fn servers_of_gateways_are_checked() {
    let server = |port: u16, protocol: &str, tls: Value| json!({"port": {"number": port, "name": "p", "protocol": protocol}, "hosts": ["*.shop.com"], "tls": tls});
    let with = |server: Value| object("Gateway", "new", json!({"selector": {"app": "edge"}, "servers": [server]}));
    assert!(told(&[gateway(), younger(with(server(80, "TCP", Value::Null)))]).starts_with("Shadowed not in effect"));
    check(
        &[with(server(8443, "HTTP", Value::Null))],
        "PortMismatch in effect on 1 proxy, except: servers[0]: no Service of these gateways has port 8443; add it \
         there",
    );
    let tls = json!({"mode": "SIMPLE", "credentialName": "shop-cert"});
    let told = told(&[with(server(80, "HTTPS", tls))]);
    assert!(told.contains("namespace shop has no Secret shop-cert"), "{told}");
}

#[test]
fn delegates_and_what_is_left_out_of_them_are_reported() {
    let root = |name: &str| {
        vs(
            "root",
            json!({"hosts": ["backend"], "http": [{"match": [{"uri": {"prefix": "/a"}}], "delegate": {"name": name}}]}),
        )
    };
    let delegate = || vs("part", json!({"http": route(json!({"host": "backend"}))}));
    check(&[root("part"), delegate()], "in effect on 4 proxies");
    check(
        &[root("gone"), delegate()],
        "NotReferredTo not in effect: it has no hosts, and no VirtualService delegates to it",
    );
    check(
        &[delegate(), root("gone")],
        "DelegateNotInEffect in effect on 4 proxies, except: http[0]: delegate shop/gone does not exist; the route is \
         left out",
    );
    let further = vs("part", json!({"http": [{"delegate": {"name": "root"}}]}));
    assert!(told(&[further, root("part")]).contains("delegates further at http[0]"));
}

#[test]
fn rules_for_destinations_are_checked() {
    check(
        &[rule("a", json!({"host": "bakend"}))],
        "HostUnknown not in effect: host: no service is called bakend.shop.svc.cluster.local; correct the name, or \
         create it",
    );
    check(
        &[rule("a", json!({"host": "backend", "subsets": [{"name": "v3", "labels": {"version": "v3"}}]}))],
        "SubsetWithoutPods in effect on 5 proxies, except: subsets[0]: no pod of backend.shop.svc.cluster.local has \
         the labels version=v3 of subset v3; requests to it get 503",
    );
    let policy = |ports: Value| json!({"host": "backend", "trafficPolicy": {"portLevelSettings": ports, "tls": {"mode": "DISABLE"}}});
    check(
        &[rule("a", policy(json!([{"port": {"number": 81}}])))],
        "PortMismatch in effect on 5 proxies, except: trafficPolicy.portLevelSettings[0]: \
         backend.shop.svc.cluster.local has no port 81",
    );
    check(
        &[rule("a", policy(json!([]))), younger(rule("b", policy(json!([]))))],
        "Shadowed in effect on 5 proxies, except: trafficPolicy: that of the older DestinationRule shop/a counts",
    );
    let twice = younger(rule("b", versions()["spec"].clone()));
    assert!(told(&[versions(), twice]).contains("subset v1 of the older DestinationRule shop/backend counts"));
    let wide = rule("wide", json!({"host": "*.shop.svc.cluster.local"}));
    check(&[versions(), wide], "in effect on 5 proxies");
    let hidden = rule("a", json!({"host": "backend", "workloadSelector": {"matchLabels": {"app": "gone"}}}));
    assert!(told(&[hidden]).starts_with("NoMatchingWorkloads not in effect"));
}

#[test]
fn entries_for_services_are_checked() {
    let entry = |name: &str, spec: Value| object("ServiceEntry", name, spec);
    let spec = |resolution: &str| {
        json!({"hosts": ["api.example.com"], "ports": [{"number": 443, "name": "tls", "protocol": "TLS"}],
            "resolution": resolution})
    };
    check(&[entry("a", spec("DNS"))], "in effect on 5 proxies");
    check(&[entry("a", spec("DNS")), younger(entry("b", spec("DNS")))], "in effect on 5 proxies");
    check(
        &[entry("a", spec("DNS")), younger(entry("b", spec("NONE")))],
        "Shadowed not in effect: hosts: ServiceEntry shop/a already has api.example.com, and comes first; use another \
         name",
    );
    check(
        &[entry("a", spec("STATIC"))],
        "NoEndpoints in effect on 5 proxies, except: endpoints: there is none for api.example.com; requests get 503",
    );
    let mut hidden = spec("DNS");
    hidden["exportTo"] = json!(["bank"]);
    assert!(told(&[entry("a", hidden)]).starts_with("NotExported not in effect"));
}

#[test]
fn sidecars_and_policies_for_nobody_say_so() {
    let gone = json!({"matchLabels": {"app": "gone"}});
    for kind in ["PeerAuthentication", "AuthorizationPolicy", "RequestAuthentication"] {
        check(
            &[object(kind, "a", json!({"selector": gone, "mtls": {"mode": "STRICT"}}))],
            "NoMatchingWorkloads not in effect: selector: no pod with a proxy has the labels app=gone in namespace shop",
        );
    }
    let of_service = json!({"targetRefs": [{"kind": "Service", "name": "web"}]});
    assert!(told(&[object("AuthorizationPolicy", "a", of_service)]).starts_with("NotEnforced not in effect"));
    let strict = || json!({"mtls": {"mode": "STRICT"}});
    let second = younger(object("PeerAuthentication", "b", strict()));
    assert!(told(&[object("PeerAuthentication", "a", strict()), second]).starts_with("Shadowed not in effect"));
    let custom = json!({"action": "CUSTOM", "provider": {"name": "gone"}, "rules": [{}]});
    assert!(told(&[object("AuthorizationPolicy", "a", custom)]).starts_with("ProviderAbsent in effect on 5 proxies"));
    let rules = json!({"jwtRules": [{"issuer": "a", "jwksUri": "https://keys.example.com"}]});
    assert!(told(&[object("RequestAuthentication", "a", rules)]).starts_with("KeysAbsent in effect on 5 proxies"));

    let sidecar = || object("Sidecar", "a", json!({"egress": [{"hosts": ["./*"]}]}));
    let mut second = younger(sidecar());
    second["metadata"]["name"] = json!("b");
    check(
        &[sidecar(), second],
        "Shadowed not in effect: Sidecar shop/a comes first for the same workloads; merge the two",
    );
    check(
        &[object("Sidecar", "a", json!({"egress": [{"hosts": ["shop/nope.com"]}]}))],
        "HostUnknown in effect on 4 proxies, except: egress[0].hosts[0]: no service is called shop/nope.com",
    );
}

#[test]
fn what_cannot_be_read_is_reported_and_its_last_state_stays() {
    let good = vs("a", json!({"hosts": ["backend"], "http": route(json!({"host": "backend"}))}));
    let mut bad = good.clone();
    bad["spec"]["hosts"] = json!(7);
    let told = told(&[good, bad]);
    assert!(told.starts_with("Unreadable in effect on 4 proxies, except: the object cannot be read (spec: "), "{told}");
}

#[test]
fn a_change_of_status_alone_is_no_change() {
    let mut store = Store::new();
    let mut object = vs("a", json!({"hosts": ["backend"], "http": route(json!({"host": "backend"}))}));
    store.apply(Event::Apply(object.clone()));
    let report = &reports(&store.snapshot())[&Key::new(Kind::VirtualService, "shop", "a")];
    object["status"] = report.status(&Value::Null, "2026-01-01T00:00:00Z");
    assert!(store.apply(Event::Apply(object)).is_empty());
}

#[test]
fn a_status_keeps_what_others_wrote_and_since_when_it_is_so() {
    let theirs = json!({"type": "Reconciled", "status": "True"});
    let report = Report { generation: 2, proxies: 3, faults: Vec::new() };
    let first = report.status(&json!({"conditions": [theirs], "addresses": [1]}), "2026-01-01T00:00:00Z");
    let condition = json!({"type": "InEffect", "status": "True", "reason": "InEffect",
        "message": "in effect on 3 proxies", "observedGeneration": 2, "lastTransitionTime": "2026-01-01T00:00:00Z"});
    let expected = json!({"conditions": [theirs, condition], "addresses": [1], "observedGeneration": 2});
    assert_eq!(first, expected);
    let same = report.status(&first, "2026-01-02T00:00:00Z");
    assert_eq!(same, first, "nothing to write");
    let fault = Fault::new(fault::GATEWAY_ABSENT, "gateways[0]: there is no Gateway a/b".into());
    let failed = Report { faults: vec![fault], ..report }.status(&same, "2026-01-02T00:00:00Z");
    assert_eq!(failed["conditions"][1]["lastTransitionTime"], "2026-01-02T00:00:00Z");
    assert_eq!(
        failed["validationMessages"],
        json!([{"type": {"name": "ReferencedResourceNotFound", "code": "IST0101"}, "level": "ERROR",
            "documentationUrl": "https://istio.io/latest/docs/reference/config/analysis/ist0101/"}])
    );
    assert_eq!(
        Report { generation: 2, proxies: 3, faults: Vec::new() }
            .status(&failed, "2026-01-02T00:00:00Z")
            .get("validationMessages"),
        None
    );
}

#[test]
fn thousands_of_objects_are_judged_in_one_go() {
    let mut store = Store::new();
    shop().into_iter().for_each(|object| drop(store.apply(Event::Apply(object))));
    for number in 0..5_000 {
        let host = format!("h{}.example.com", number % 2_500);
        let mut one = vs(
            &format!("a{number}"),
            json!({"hosts": [host], "http": route(json!({"host": "backend", "subset": "v1"}))}),
        );
        one["metadata"]["creationTimestamp"] = json!(format!("2026-01-01T00:{:02}:00Z", number / 2_500));
        store.apply(Event::Apply(one));
    }
    store.apply(Event::Apply(versions()));
    let reports = reports(&store.snapshot());
    let in_effect = reports.values().filter(|report| report.faults.is_empty()).count();
    assert_eq!((reports.len(), in_effect), (5_001, 2_501), "of two for one host the older counts");
}
