//! Group `authn`: which PeerAuthentications and RequestAuthentications are for a workload, and what follows from them.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use lateen_control_core::snapshot::{MtlsMode, Snapshot};
use lateen_testkit::conformance::{Score, read_all};
use lateen_testkit::simulation::World;
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Deserialize)]
struct File {
    #[serde(default)]
    fixture: Fixture,
    rows: Vec<Row>,
}

#[derive(Default, Deserialize)]
struct Fixture {
    root_namespace: String,
    policies: Vec<Value>,
}

#[derive(Deserialize)]
struct Row {
    name: String,
    #[serde(default)]
    configs: Vec<Value>,
    #[serde(default)]
    want: Option<Composed>,
    #[serde(default)]
    workload_namespace: String,
    #[serde(default)]
    workload_labels: BTreeMap<String, String>,
    #[serde(default)]
    is_waypoint: bool,
    #[serde(default)]
    want_request_authn: Option<Vec<Value>>,
    #[serde(default)]
    want_peer_authn: Option<Vec<Value>>,
    #[serde(default)]
    want_namespace_mutual_tls: Option<String>,
}

#[derive(Deserialize)]
struct Composed {
    mode: String,
    #[serde(default)]
    per_port: BTreeMap<u16, String>,
}

#[test]
fn authn() -> anyhow::Result<()> {
    let Some(folder) = crate::group("authn") else { return Ok(()) };
    let mut score = Score::new("authn");
    for (name, file) in read_all::<File>(Path::new(&folder))? {
        for row in &file.rows {
            let outcome = match &row.want {
                Some(want) => composed(row, want),
                None => policies(&file.fixture, row),
            };
            score.count(format!("{name}/{}", row.name), outcome);
        }
    }
    score.settle()
}

/// The data counts creations from about here.
const FIRST: u64 = 999_990;

/// A mesh with these policies. `creationOrder` counts seconds.
fn world(root: &str, policies: &[Value]) -> Arc<Snapshot> {
    let mut world = World::new(&json!({"rootNamespace": root}));
    for policy in policies {
        let mut policy = policy.clone();
        let order = policy["metadata"]["creationOrder"].as_u64().unwrap_or(FIRST);
        let later = order.saturating_sub(FIRST);
        policy["metadata"]["creationTimestamp"] = json!(format!("2021-01-01T00:00:{later:02}Z"));
        world.apply(policy);
    }
    world.snapshot()
}

/// Modes as the data writes them.
fn spelled(mode: MtlsMode) -> &'static str {
    match mode {
        MtlsMode::Disable => "DISABLE",
        MtlsMode::Permissive => "PERMISSIVE",
        MtlsMode::Strict => "STRICT",
    }
}

fn composed(row: &Row, want: &Composed) -> Result<(), String> {
    let snapshot = world("root-namespace", &row.configs);
    let labels = [("app".to_owned(), "foo".to_owned())].into_iter().collect();
    let found = snapshot.workload_mtls("my-ns", &labels);
    let ports: BTreeMap<u16, String> =
        found.ports.iter().map(|(port, mode)| (*port, spelled(*mode).to_owned())).collect();
    if spelled(found.default) != want.mode || ports != want.per_port {
        return Err(format!("{found:?}, expected {} {:?}", want.mode, want.per_port));
    }
    Ok(())
}

fn policies(fixture: &Fixture, row: &Row) -> Result<(), String> {
    if row.is_waypoint {
        return Err("waypoints are not there yet".to_owned());
    }
    let snapshot = world(&fixture.root_namespace, &fixture.policies);
    // The data writes some labels with quotes around their names.
    let labels: BTreeMap<String, String> =
        row.workload_labels.iter().map(|(key, value)| (key.trim_matches('\'').to_owned(), value.clone())).collect();
    if let Some(want) = &row.want_request_authn {
        let found: Vec<String> =
            snapshot.request_authentications_for(&row.workload_namespace, &labels).map(|one| one.full_name()).collect();
        let want: Vec<String> = want.iter().map(name).collect();
        if found != want {
            return Err(format!("RequestAuthentications {found:?}, expected {want:?}"));
        }
    }
    if let Some(want) = &row.want_peer_authn {
        let found = spelled(snapshot.workload_mtls(&row.workload_namespace, &labels).default);
        let want = effective(want, &fixture.root_namespace);
        if found != want {
            return Err(format!("the workload's mode is {found}, expected {want}"));
        }
    }
    let found = spelled(snapshot.namespace_mtls(&row.workload_namespace));
    match row.want_namespace_mutual_tls.as_deref() {
        // No policy: the default is in force.
        Some("UNKNOWN") if found == "PERMISSIVE" => Ok(()),
        Some(want) if found != want => Err(format!("the namespace's mode is {found}, expected {want}")),
        _ => Ok(()),
    }
}

fn name(policy: &Value) -> String {
    let part = |key: &str| policy["metadata"][key].as_str().unwrap_or_default().to_owned();
    format!("{}/{}", part("namespace"), part("name"))
}

/// What follows from these PeerAuthentications: the workload's come before the namespace's and the mesh's.
fn effective(policies: &[Value], root: &str) -> String {
    let rank = |policy: &&Value| match (policy["spec"]["selector"].is_null(), policy["metadata"]["namespace"] == root) {
        (false, _) => 0,
        (true, false) => 1,
        (true, true) => 2,
    };
    let mut sorted: Vec<&Value> = policies.iter().collect();
    sorted.sort_by_key(rank);
    let mut modes = sorted.iter().filter_map(|policy| policy["spec"]["mtls"]["mode"].as_str());
    modes.find(|mode| *mode != "UNSET").unwrap_or("PERMISSIVE").to_owned()
}
