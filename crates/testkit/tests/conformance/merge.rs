//! Group `merge`: VirtualServices that delegate, and the algebra of host names and labels.

use std::path::Path;

use lateen_api::istio as api;
use lateen_control_core::snapshot::delegation;
use lateen_control_core::translate::{ServerHost, shared};
use lateen_control_core::validate::{Severity, validate};
use lateen_mesh::{Hostname, labels};
use lateen_testkit::conformance::{Score, read_all};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

#[derive(Deserialize)]
struct File {
    source: String,
    rows: Vec<Value>,
}

#[test]
fn merge() -> anyhow::Result<()> {
    let Some(folder) = crate::group("merge") else { return Ok(()) };
    let mut score = Score::new("merge");
    for (_, file) in read_all::<File>(Path::new(&folder))? {
        for (index, row) in file.rows.iter().enumerate() {
            let id = format!("{}[{index}] {}", file.source, row["name"].as_str().unwrap_or_default());
            score.count(id, check(&file.source, row));
        }
    }
    score.settle()
}

fn check(source: &str, row: &Value) -> Result<(), String> {
    match source {
        "TestHasConflict" => same(delegation::conflict(&read(&row["root"])?, &read(&row["leaf"])?), &row["expected"]),
        "TestMergeHTTPMatchRequests" => {
            let merged = delegation::merge_matches(&read::<Vec<_>>(&row["root"])?, &read::<Vec<_>>(&row["delegate"])?);
            same(merged, &json!(read::<Option<Vec<api::HttpMatchRequest>>>(&row["expected"])?))
        }
        "TestMergeHttpRoutes" => {
            let merged = delegation::merge_http_routes(&read(&row["root"])?, &read::<Vec<_>>(&row["delegate"])?);
            same(merged.routes, &json!(read::<Vec<api::HttpRoute>>(&row["expected"])?))
        }
        "TestInstance" => {
            let (left, right) = (read(&row["left"])?, read(&row["right"])?);
            let found = json!({
                "subset_of": labels::contains_all(&right, &left), "selected": labels::selects(&left, &right),
            });
            same(found, &row["expected"])
        }
        "TestInstanceValidate" => same(valid_labels(&row["tags"]), &row["valid"]),
        "TestMoreSpecific" => same(host(&row["host1"]).by_specificity(&host(&row["host2"])).is_lt(), &row["expected"]),
        "TestNameMatches" => same(host(&row["a"]).matches(&host(&row["b"])), &row["out"]),
        "TestNameSubsetOf" => same(host(&row["b"]).covers(&host(&row["a"])), &row["out"]),
        "TestNamesSortOrder" => {
            let mut names = hosts(&row["in"]);
            names.sort_by(Hostname::by_specificity);
            same(names, &row["want"])
        }
        "TestNamesForNamespace" => {
            let namespace = row["namespace"].as_str().unwrap_or_default();
            same(shared(&of_server(&row["hosts"]), &[Hostname::new("*")], namespace), &row["want"])
        }
        "TestNamesIntersection" => {
            // An empty list is written in another way there.
            let expected = if row["intersection"].is_array() { row["intersection"].clone() } else { json!([]) };
            same(shared(&of_server(&row["a"]), &hosts(&row["b"]), "any"), &expected)
        }
        other => Err(format!("nothing answers {other} yet")),
    }
}

fn same(found: impl serde::Serialize, expected: &Value) -> Result<(), String> {
    let found = json!(found);
    if found == *expected { Ok(()) } else { Err(format!("found {found}, expected {expected}")) }
}

fn read<T: DeserializeOwned>(value: &Value) -> Result<T, String> {
    serde_json::from_value(value.clone()).map_err(|error| format!("{value}: {error}"))
}

fn host(value: &Value) -> Hostname {
    Hostname::new(value.as_str().unwrap_or_default())
}

fn hosts(value: &Value) -> Vec<Hostname> {
    value.as_array().into_iter().flatten().map(host).collect()
}

/// The hosts of a Gateway's server.
fn of_server(list: &Value) -> Vec<ServerHost> {
    let all = list.as_array().into_iter().flatten().filter_map(Value::as_str);
    all.map(|host| ServerHost::parse(host, "any")).collect()
}

/// Whether an object whose subset has these labels is accepted.
fn valid_labels(tags: &Value) -> bool {
    let rule = json!({
        "apiVersion": "networking.istio.io/v1", "kind": "DestinationRule", "metadata": {"name": "rule"},
        "spec": {"host": "web", "subsets": [{"name": "v1", "labels": tags}]},
    });
    validate(&rule).iter().all(|finding| finding.severity != Severity::Error)
}
