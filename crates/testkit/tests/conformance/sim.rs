//! Group `sim`: which listener, route and cluster a call meets, for one proxy with its configuration.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use crate::JUDGE;
use lateen_control_core::view::ProxyView;
use lateen_explain::call::{Protection, Speaks, Way};
use lateen_explain::{Call, Outcome, explain};
use lateen_proxy_core::Tables;
use lateen_proxy_core::route::Action;
use lateen_testkit::conformance::{Score, read_all};
use lateen_testkit::simulation::{World, view};
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Deserialize)]
struct File {
    kind: String,
    #[serde(default)]
    mesh_config: Value,
    proxy: Proxy,
    #[serde(default)]
    istio: Vec<Value>,
    #[serde(default)]
    kubernetes: Vec<Value>,
    #[serde(default)]
    calls: Vec<NamedCall>,
    #[serde(default)]
    hosts: Option<BTreeMap<String, Option<BTreeSet<String>>>>,
    #[serde(default)]
    route_table: String,
    #[serde(default)]
    services: Vec<Value>,
    #[serde(default)]
    instances: Vec<Value>,
    #[serde(default)]
    expect: Value,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Proxy {
    #[serde(rename = "type")]
    kind: String,
    namespace: String,
    ips: Vec<String>,
    labels: Value,
    metadata: BTreeMap<String, Value>,
}

#[derive(Deserialize)]
struct NamedCall {
    name: String,
    call: RawCall,
    #[serde(default)]
    expect: Expect,
}

#[derive(Deserialize)]
#[serde(default)]
struct RawCall {
    address: String,
    port: u16,
    protocol: String,
    tls: String,
    host: String,
    headers: BTreeMap<String, Value>,
    sni: Option<String>,
    alpn: Option<String>,
    path: String,
    mode: String,
}

impl Default for RawCall {
    fn default() -> Self {
        Self {
            address: "1.3.3.7".to_owned(),
            port: 0,
            protocol: String::new(),
            tls: String::new(),
            host: String::new(),
            headers: BTreeMap::new(),
            sni: None,
            alpn: None,
            path: "/".to_owned(),
            mode: String::new(),
        }
    }
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Expect {
    error: Option<String>,
    cluster: Option<String>,
    virtual_host: Option<String>,
    known_bug: Option<Value>,
}

#[test]
fn sim() -> anyhow::Result<()> {
    let Some(folder) = crate::group("sim") else { return Ok(()) };
    let mut score = Score::new("sim");
    for (name, file) in read_all::<File>(&folder)? {
        let tables = tables(&file);
        match file.kind.as_str() {
            "calls" => {
                for one in file.calls.iter().filter(|one| one.expect.known_bug.is_none()) {
                    let outcome = tables.as_ref().map_err(|error| format!("{error:#}"));
                    score.count(format!("{name}/{}", one.name), outcome.and_then(|tables| check_call(tables, one)));
                }
            }
            "routes" => {
                let outcome = tables.as_ref().map_err(|error| format!("{error:#}"));
                score.count(name, outcome.and_then(|tables| check_routes(tables, &file)));
            }
            "inbound-clusters" => {
                let outcome = tables.as_ref().map_err(|error| format!("{error:#}"));
                score.count(name, outcome.and_then(|tables| check_inbound(tables, &file)));
            }
            other => score.count(name, Err(format!("kind {other} is not known"))),
        }
    }
    score.settle()
}

fn tables(file: &File) -> anyhow::Result<std::sync::Arc<Tables>> {
    let mut world = World::new(&file.mesh_config);
    for object in file.istio.iter().chain(&file.kubernetes) {
        world.apply(object.clone());
    }
    for object in inbound_world(file) {
        world.apply(object);
    }
    world.tables(&proxy_view(&file.proxy)?)
}

fn proxy_view(proxy: &Proxy) -> anyhow::Result<ProxyView> {
    let labels = if proxy.labels.is_null() { json!({}) } else { proxy.labels.clone() };
    let namespace = proxy.metadata.get("namespace").and_then(Value::as_str).unwrap_or(&proxy.namespace);
    let kind = if proxy.kind.is_empty() { "sidecar" } else { &proxy.kind };
    let mut view = view(kind, namespace, &proxy.ips, &labels)?;
    let flag = |key: &str| proxy.metadata.get(key).is_some_and(|value| value == true || value == "true");
    view.dns_capture = flag("dns_capture");
    view.dns_auto_allocate = flag("dns_auto_allocate");
    Ok(view)
}

/// The services and instances of an `inbound-clusters` file, as ServiceEntries that bring them.
fn inbound_world(file: &File) -> Vec<Value> {
    let entry = |service: &Value| {
        let host = service["hostname"].as_str().unwrap_or_default();
        let instances = || file.instances.iter().filter(|one| one["service"] == service["hostname"]);
        let target = |port: &Value| {
            instances().find(|one| one["service_port"] == port["port"]).map(|one| one["target_port"].clone())
        };
        let ports: Vec<_> = service["ports"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|port| json!({"number": port["port"], "name": port["name"], "protocol": port["protocol"], "targetPort": target(port)}))
            .collect();
        let addresses: BTreeSet<_> =
            instances().filter_map(|one| one["addresses"].as_array()).flatten().filter_map(Value::as_str).collect();
        let endpoints: Vec<_> = addresses.into_iter().map(|address| json!({"address": address})).collect();
        json!({
            "apiVersion": "networking.istio.io/v1",
            "kind": "ServiceEntry",
            "metadata": {"name": host.replace('.', "-")},
            "spec": {
                "hosts": [host], "addresses": [service["address"]], "ports": ports, "endpoints": endpoints,
                "resolution": "STATIC", "location": "MESH_INTERNAL",
            },
        })
    };
    file.services.iter().map(entry).collect()
}

fn check_call(tables: &Tables, one: &NamedCall) -> Result<(), String> {
    let call = call(&one.call).map_err(|error| format!("{error:#}"))?;
    let outcome = explain(tables, &call, &JUDGE);
    let failure = outcome.failure.map(|failure| failure.as_str().to_owned());
    if failure != one.expect.error {
        return Err(format!("error {failure:?}, expected {:?} ({outcome:?})", one.expect.error));
    }
    if let Some(cluster) = &one.expect.cluster
        && !outcome.clusters.iter().any(|(name, _)| without_domain(name) == without_domain(cluster))
    {
        return Err(format!("clusters {:?}, expected {cluster} ({outcome:?})", outcome.clusters));
    }
    virtual_host(&outcome, one.expect.virtual_host.as_deref())
}

/// The cases live in a cluster without a domain, so that short names become `name.namespace`.
fn without_domain(cluster: &str) -> &str {
    cluster.strip_suffix(".svc.cluster.local").unwrap_or(cluster)
}

fn virtual_host(outcome: &Outcome, expected: Option<&str>) -> Result<(), String> {
    match expected {
        Some(expected) if outcome.virtual_host.as_deref() != Some(expected) => {
            Err(format!("virtual host {:?}, expected {expected}", outcome.virtual_host))
        }
        _ => Ok(()),
    }
}

fn call(raw: &RawCall) -> anyhow::Result<Call> {
    Ok(Call {
        address: raw.address.parse()?,
        port: raw.port,
        speaks: match raw.protocol.as_str() {
            "http2" => Speaks::Http2,
            "tcp" => Speaks::Tcp,
            _ => Speaks::Http,
        },
        protection: match raw.tls.as_str() {
            "tls" => Protection::Tls,
            "mtls" => Protection::MutualTls,
            _ => Protection::Plaintext,
        },
        principal: None,
        client: IpAddr::from([127, 0, 0, 1]),
        method: "GET".to_owned(),
        host: raw.host.clone(),
        path: raw.path.clone(),
        headers: raw
            .headers
            .iter()
            .map(|(name, value)| (name.to_ascii_lowercase(), value.as_str().unwrap_or_default().to_owned()))
            .collect(),
        sni: raw.sni.clone(),
        alpn: raw.alpn.as_ref().map(|alpn| vec![alpn.clone()]),
        way: match raw.mode.as_str() {
            "gateway" => Way::Gateway,
            "outbound" => Way::Outbound,
            "inbound" => Way::Inbound,
            _ => Way::Direct,
        },
    })
}

/// `hosts` maps a host name to the clusters that a request for it can reach; `null`: no entry for the host.
fn check_routes(tables: &Tables, file: &File) -> Result<(), String> {
    let table = tables.route_table_by_name(&file.route_table);
    for (host, expected) in file.hosts.iter().flatten() {
        let found = table
            .and_then(|table| table.host(host))
            .filter(|found| *found.name == *host || found.name.starts_with(&format!("{host}:")));
        let reached: Option<BTreeSet<String>> = found.map(|host| {
            let actions = host.routes.iter().filter_map(|route| match &route.action {
                Action::Forward(forward) => Some(forward.target.clusters().collect::<Vec<_>>()),
                _ => None,
            });
            actions.flatten().map(|cluster| tables.cluster_name(cluster).to_owned()).collect()
        });
        if reached != *expected {
            return Err(format!("{host}: reaches {reached:?}, expected {expected:?}"));
        }
    }
    Ok(())
}

/// Exactly the listed inbound clusters exist, with their endpoints and the services they stand for.
fn check_inbound(tables: &Tables, file: &File) -> Result<(), String> {
    let found: BTreeMap<&str, InboundCluster> = tables
        .clusters()
        .filter(|cluster| cluster.name.starts_with("inbound|"))
        .map(|cluster| {
            let endpoints = cluster.endpoints.iter().map(|endpoint| endpoint.address.to_string()).collect();
            let services = cluster.services.iter().map(|service| service.host.to_string()).collect();
            (&*cluster.name, InboundCluster { endpoints, services })
        })
        .collect();
    let expected: BTreeMap<String, InboundCluster> =
        serde_json::from_value(file.expect["clusters"].clone()).map_err(|error| error.to_string())?;
    if found
        .iter()
        .map(|(name, cluster)| (*name, cluster))
        .eq(expected.iter().map(|(name, cluster)| (name.as_str(), cluster)))
    {
        return Ok(());
    }
    Err(format!("inbound clusters {found:?}, expected {expected:?}"))
}

#[derive(Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(default)]
struct InboundCluster {
    endpoints: BTreeSet<String>,
    services: BTreeSet<String>,
}
