//! Group `visibility`: what a Sidecar and `exportTo` leave in reach.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use lateen_api::istio as api;
use lateen_control_core::reads::ReadSet;
use lateen_control_core::resource::{
    Key, Kind, MeshConfig, Registry, Resolution, Service, ServicePort, TargetPort, TrafficDistribution,
};
use lateen_control_core::snapshot::Snapshot;
use lateen_control_core::store::{Event, Store};
use lateen_control_core::translate::Scope;
use lateen_control_core::view::{ProxyKind, ProxyView};
use lateen_mesh::{Hostname, Protocol};
use lateen_testkit::conformance::{Score, read_all};
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Deserialize)]
struct File {
    source: String,
    #[serde(default)]
    fixture: Value,
    rows: Vec<Value>,
}

/// A service with its namespace, name and ports.
type Seen = BTreeSet<(String, String, String, u16)>;

#[test]
fn visibility() -> anyhow::Result<()> {
    let Some(folder) = crate::group("visibility") else { return Ok(()) };
    let mut score = Score::new("visibility");
    for (_, file) in read_all::<File>(Path::new(&folder))? {
        for row in &file.rows {
            let outcome = match file.source.as_str() {
                "TestIsServiceVisible" => is_visible(row),
                "TestIstioEgressListenerWrapper" => imported(row),
                "TestCreateSidecarScope" => scope(row, &file.fixture),
                other => Err(format!("nothing answers {other} yet")),
            };
            score.count(format!("{}/{}", file.source, row["name"].as_str().unwrap_or_default()), outcome);
        }
    }
    score.settle()
}

fn same<T: PartialEq + std::fmt::Debug>(found: T, expected: T) -> Result<(), String> {
    if found == expected { Ok(()) } else { Err(format!("found {found:?}, expected {expected:?}")) }
}

fn is_visible(row: &Value) -> Result<(), String> {
    let given = &row["push_context"];
    if given["mesh"]["serviceEntryVisibility"]["applyToSidecars"] == true {
        return Err("serviceEntryVisibility is not there yet".into());
    }
    let default = &given["export_to_defaults"]["service"];
    let mesh = if default.is_null() { json!({}) } else { json!({ "defaultServiceExportTo": default }) };
    let mesh = MeshConfig::parse(&mesh.to_string()).map_err(|error| error.to_string())?;
    let snapshot = Snapshot { mesh: Arc::new(mesh), ..Snapshot::default() };
    same(Some(snapshot.sees_service("foo", &service(&row["service"]))), row["expect"].as_bool())
}

/// The services that one egress listener imports.
fn imported(row: &Value) -> Result<(), String> {
    let mut entries = Vec::new();
    for (namespace, hosts) in row["listener_hosts"].as_object().into_iter().flatten() {
        let list = |key: &str| hosts[key].as_array().into_iter().flatten().filter_map(Value::as_str);
        entries.extend(list("all_hosts").map(|host| format!("{namespace}/{host}")));
        let excluded = if namespace == "*" { "~" } else { &format!("~{namespace}") };
        entries.extend(list("excluded_hosts").map(|host| format!("{excluded}/{host}")));
    }
    let namespace = row["namespace"].as_str().unwrap_or_default();
    let sidecar = sidecar(namespace, &json!({ "egress": [{ "hosts": entries }] }));
    let snapshot = snapshot(&[sidecar], &row["services"]);
    let view = ProxyView::of(ProxyKind::Sidecar, namespace, BTreeMap::new());
    let found = Scope::new(&view, &snapshot, &mut ReadSet::new()).services();
    let without_names = |seen: Seen| -> BTreeSet<_> { seen.into_iter().map(|(h, n, _, p)| (h, n, p)).collect() };
    same(without_names(seen(&found)), without_names(seen(&services(&row["expected"]))))
}

fn scope(row: &Value, fixture: &Value) -> Result<(), String> {
    let namespace = fixture["proxy_namespace"].as_str().unwrap_or_default();
    let mut objects: Vec<Value> = Vec::new();
    for (index, rule) in fixture["destination_rules"].as_array().into_iter().flatten().enumerate() {
        // Two have one name in the data.
        let mut rule = rule.clone();
        rule["metadata"]["name"] = json!(format!("rule-{index}"));
        objects.push(rule);
    }
    for vs in row["virtual_services"].as_array().into_iter().flatten() {
        // Short names are completed with nothing but the namespace there.
        let mut vs = vs.clone();
        for host in vs["spec"]["hosts"].as_array_mut().into_iter().flatten().filter(|host| *host != "*") {
            *host = json!(format!("{}.foo", host.as_str().unwrap_or_default()));
        }
        objects.push(vs);
    }
    let own = &row["sidecar_config"];
    if !own.is_null() {
        objects.push(sidecar(namespace, &own["spec"]));
    }
    let labels = serde_json::from_value(own["metadata"]["labels"].clone()).unwrap_or_default();
    let (snapshot, view) = (snapshot(&objects, &row["services"]), ProxyView::of(ProxyKind::Sidecar, namespace, labels));
    let scope = Scope::new(&view, &snapshot, &mut ReadSet::new());
    same(seen(&scope.services()), seen(&services(&row["expected_services"])))?;
    if row["expected_dr"].is_null() {
        return Ok(());
    }
    let rule = snapshot.destination_rule(namespace, &view.labels, &Hostname::new("httpbin.org"), namespace);
    let expected: api::DestinationRule =
        serde_json::from_value(row["expected_dr"]["spec"].clone()).map_err(|error| error.to_string())?;
    same(rule.map(|rule| (*rule.spec).clone()), Some(expected))
}

/// A Sidecar for all workloads of a namespace.
fn sidecar(namespace: &str, spec: &Value) -> Value {
    json!({ "apiVersion": "networking.istio.io/v1", "kind": "Sidecar",
        "metadata": { "name": "own", "namespace": namespace }, "spec": spec })
}

fn snapshot(objects: &[Value], of: &Value) -> Snapshot {
    let mut store = Store::new();
    objects.iter().for_each(|object| drop(store.apply(Event::Apply(object.clone()))));
    let all = services(of).into_iter().collect();
    Snapshot { services: Arc::new(all), ..Snapshot::clone(&store.snapshot()) }
}

fn seen(services: &[Arc<Service>]) -> Seen {
    let mut all = Seen::new();
    for service in services {
        let entry =
            |port| (service.hostname.to_string(), service.namespace().to_owned(), service.name().to_owned(), port);
        all.insert(entry(0));
        all.extend(service.ports.iter().map(|port| entry(port.number)));
    }
    all
}

fn services(list: &Value) -> Vec<Arc<Service>> {
    list.as_array().into_iter().flatten().map(|value| Arc::new(service(value))).collect()
}

fn service(value: &Value) -> Service {
    let text = |key: &str| value[key].as_str().unwrap_or_default();
    let list = |key: &str| value[key].as_array().into_iter().flatten();
    let port = |port: &Value| {
        let number = port["port"].as_u64().and_then(|number| u16::try_from(number).ok()).unwrap_or_default();
        ServicePort {
            number,
            name: port["name"].as_str().unwrap_or_default().to_owned(),
            protocol: Protocol::parse(port["protocol"].as_str().unwrap_or_default()),
            target: TargetPort::Number(number),
        }
    };
    let of_kubernetes = text("service_registry") == "Kubernetes";
    let kind = if of_kubernetes { Kind::Service } else { Kind::ServiceEntry };
    Service {
        hostname: Hostname::new(text("hostname")),
        source: Key::new(kind, text("namespace"), text("name")),
        parts: Vec::new(),
        registry: if of_kubernetes { Registry::Kubernetes } else { Registry::External },
        ports: list("ports").map(port).collect(),
        addresses: Vec::new(),
        allocated: Vec::new(),
        resolution: if text("resolution") == "DNS" { Resolution::Dns } else { Resolution::Endpoints },
        external: !of_kubernetes,
        export_to: list("export_to").filter_map(Value::as_str).map(str::to_owned).collect(),
        selector: serde_json::from_value(value["label_selectors"].clone()).unwrap_or_default(),
        subject_alt_names: Vec::new(),
        alias: None,
        publish_not_ready: false,
        translates_gateway_ports: true,
        load_balancer: false,
        outside: Vec::new(),
        traffic: TrafficDistribution::Any,
        created: String::new(),
    }
}
