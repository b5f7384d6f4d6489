//! Group `authz`: who may call whom under whole configurations, asked at the sidecar of the workload that is called.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use crate::JUDGE;
use anyhow::Context;
use lateen_explain::call::{Protection, Speaks, Way};
use lateen_explain::{Call, Failure, explain};
use lateen_proxy_core::Tables;
use lateen_testkit::conformance::{Score, read_all};
use lateen_testkit::simulation::{World, view};
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Deserialize)]
struct File {
    config: Vec<Value>,
    calls: Vec<RawCall>,
}

#[derive(Deserialize)]
struct RawCall {
    from: String,
    #[serde(default)]
    to: String,
    port: Port,
    #[serde(default)]
    path: Option<String>,
    #[serde(default)]
    method: Option<String>,
    #[serde(default)]
    headers: BTreeMap<String, Value>,
    #[serde(default)]
    destination_labels: Value,
    expect: Expect,
}

#[derive(Deserialize)]
struct Port {
    #[serde(default)]
    name: String,
}

#[derive(Deserialize)]
struct Expect {
    #[serde(default)]
    allow: Option<bool>,
    #[serde(default)]
    forbidden: bool,
    #[serde(default)]
    status: Option<u16>,
}

/// Ports of every workload: name, port of the service, port of the workload, and what is spoken there.
const PORTS: [(&str, u16, u16, Speaks); 4] = [
    ("http", 80, 18080, Speaks::Http),
    ("http2", 85, 18085, Speaks::Http2),
    ("grpc", 7070, 17070, Speaks::Http2),
    ("tcp", 9090, 19090, Speaks::Tcp),
];
const ADDRESS: [u8; 4] = [10, 1, 0, 9];

#[test]
fn authz() -> anyhow::Result<()> {
    let Some(folder) = crate::group("security/authz") else { return Ok(()) };
    let mut score = Score::new("authz");
    for (name, file) in read_all::<File>(&folder)? {
        for (index, call) in file.calls.iter().enumerate() {
            let outcome = check(&file.config, call).map_err(|error| format!("{error:#}"));
            score.count(format!("{name}/{index}"), outcome);
        }
    }
    score.settle()
}

fn check(config: &[Value], raw: &RawCall) -> anyhow::Result<()> {
    let outcome = explain(&*tables(config, raw)?, &call(config, raw)?, &JUDGE);
    let Expect { allow, forbidden, status } = raw.expect;
    let expected = allow.or(status.map(|status| status == 200)).or(forbidden.then_some(false));
    let expected = expected.context("what is expected")?;
    let decided = matches!(outcome.failure, None | Some(Failure::Denied | Failure::Unauthenticated));
    anyhow::ensure!(decided, "ends before authorization: {outcome:?}");
    let allowed = outcome.failure.is_none();
    anyhow::ensure!(allowed == expected, "allowed: {allowed}, expected {expected} ({:?})", outcome.denied_by);
    Ok(())
}

/// The tables of the called workload's sidecar.
fn tables(config: &[Value], raw: &RawCall) -> anyhow::Result<Arc<Tables>> {
    let (name, namespace) = raw.to.split_once('.').context("a workload to call")?;
    let mut labels = json!({"app": name});
    for (key, value) in raw.destination_labels.as_object().into_iter().flatten() {
        labels[key] = value.clone();
    }
    let address = IpAddr::from(ADDRESS).to_string();
    let mut world = World::new(&json!({}));
    config.iter().for_each(|object| world.apply(object.clone()));
    if let Some(keys) = crate::group("security").map(|folder| std::fs::read_to_string(folder.join("jwks.json"))) {
        world.keys("${jwks.uri}", &keys?);
    }
    let ports: Vec<_> =
        PORTS.iter().map(|(name, port, target, _)| json!({"name": name, "port": port, "targetPort": target})).collect();
    world.apply(json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": namespace},
        "spec": {"selector": {"app": name}, "ports": ports, "clusterIP": "10.2.0.9"},
    }));
    world.apply(json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "labels": labels},
        "spec": {"containers": []}, "status": {"podIP": address, "podIPs": [{"ip": address}], "phase": "Running"},
    }));
    world.tables(&view("sidecar", namespace, &[address], &labels)?)
}

fn call(config: &[Value], raw: &RawCall) -> anyhow::Result<Call> {
    let (account, namespace) = raw.from.split_once('.').context("a caller in the mesh")?;
    let port = PORTS.iter().find(|(name, ..)| *name == raw.port.name).context("a port that is known")?;
    // A gRPC client calls one method whatever path a test names.
    let grpc = port.0 == "grpc";
    let given = |value: &Option<String>, grpc_value: &str, default: &str| match value {
        _ if grpc => grpc_value.to_owned(),
        Some(value) => value.clone(),
        None => default.to_owned(),
    };
    let headers = raw.headers.iter();
    Ok(Call {
        address: ADDRESS.into(),
        port: port.2,
        speaks: port.3,
        protection: if is_plain(config, namespace, port.1) { Protection::Plaintext } else { Protection::MutualTls },
        principal: Some(format!("cluster.local/ns/{namespace}/sa/{account}")),
        client: [10, 1, 0, 1].into(),
        method: given(&raw.method, "POST", "GET"),
        host: raw.to.clone(),
        path: given(&raw.path, "/proto.EchoTestService/Echo", "/"),
        headers: headers
            .map(|(name, value)| (name.to_ascii_lowercase(), value.as_str().unwrap_or_default().to_owned()))
            .collect(),
        sni: None,
        alpn: None,
        way: Way::Inbound,
    })
}

/// Does a DestinationRule of the caller's namespace turn mutual TLS off for a port.
fn is_plain(config: &[Value], namespace: &str, port: u16) -> bool {
    let rules = config.iter().filter(|object| object["kind"] == "DestinationRule");
    rules.filter(|rule| rule["metadata"]["namespace"] == namespace).any(|rule| {
        let policy = &rule["spec"]["trafficPolicy"];
        policy["tls"]["mode"] == "DISABLE" && policy["portLevelSettings"].is_null()
            || policy["portLevelSettings"]
                .as_array()
                .into_iter()
                .flatten()
                .any(|one| one["port"]["number"] == port && one["tls"]["mode"] == "DISABLE")
    })
}
