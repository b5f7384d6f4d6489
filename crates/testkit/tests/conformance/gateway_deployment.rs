//! Group `gateway-deployment`: the objects of a Gateway's deployment; counted by object.

use std::collections::BTreeMap;
use std::path::Path;

use lateen_control_core::gateway_api::{Cluster, Front, Objects, convert};
use lateen_control_core::inject::InjectOptions;
use lateen_control_core::resource::{self, Credential, GatewayApi, Resource};
use lateen_mesh::labels::Labels;
use lateen_testkit::conformance::Score;
use serde_json::{Map, Value, json};

/// A cluster with nothing in it.
struct Empty;

impl Cluster for Empty {
    fn domain(&self) -> &str {
        "cluster.local"
    }

    fn namespaces(&self) -> Vec<(&str, &Labels)> {
        Vec::new()
    }

    fn has_host(&self, _: &str) -> bool {
        false
    }

    fn front(&self, _: &str) -> Option<Front> {
        None
    }

    fn ports(&self, _: &str, _: &str) -> Option<BTreeMap<String, u16>> {
        None
    }

    fn entry_hosts(&self, _: &str, _: &str) -> Option<Vec<String>> {
        None
    }

    fn secret(&self, _: &str, _: &str) -> Option<&Credential> {
        None
    }

    fn config_map_roots(&self, _: &str, _: &str) -> Option<&[u8]> {
        None
    }
}

#[test]
fn gateway_deployment() -> anyhow::Result<()> {
    let Some(folder) = crate::group("gateway-deployment") else { return Ok(()) };
    let fixture = documents(&folder.join("fixture.yaml"))?.remove(0);
    let mut score = Score::new("gateway-deployment");
    let mut cases: Vec<_> = std::fs::read_dir(&folder)?.flatten().map(|entry| entry.path()).collect();
    cases.retain(|case| case.is_dir());
    cases.sort();
    for case in cases {
        let description = documents(&case.join("case.yaml"))?.remove(0);
        let id = description["id"].as_str().unwrap_or_default().to_owned();
        let always = fixture["always_present"].as_array().into_iter().flatten();
        let mut made = deployed(always.chain([&description["gateway"]]))?;
        for expected in documents(&case.join("expected.yaml"))? {
            let kind = expected["kind"].as_str().unwrap_or_default().to_owned();
            let outcome = match made.remove(&kind) {
                Some(made) if normalized(&made) == normalized(&expected) => Ok(()),
                Some(made) => Err(format!("got {}\n  expected {}", normalized(&made), normalized(&expected))),
                None => Err("is missing".to_owned()),
            };
            score.count(format!("{id}: {kind}"), outcome);
        }
        for kind in made.keys() {
            score.count(format!("{id}: {kind}"), Err("should not be there".to_owned()));
        }
    }
    score.settle()
}

/// The objects of the deployment, by kind.
fn deployed<'a>(objects: impl Iterator<Item = &'a Value>) -> anyhow::Result<BTreeMap<String, Value>> {
    let mut parsed = Vec::new();
    for object in objects {
        if let Ok((_, Resource::GatewayApi(object))) = resource::parse(object.clone()) {
            parsed.push(object);
        }
    }
    let mut all = Objects::default();
    for object in &parsed {
        match &**object {
            GatewayApi::Class(object) => all.classes.push(object),
            GatewayApi::Gateway(object) => all.gateways.push(object),
            _ => {}
        }
    }
    let options = InjectOptions::from_values(&json!({}), &Value::Null, &json!({"trustDomain": "cluster.local"}));
    let mut made = BTreeMap::new();
    for deployment in convert(&all, &Empty).deployments {
        for object in deployment.objects(&options)? {
            made.insert(object["kind"].as_str().unwrap_or_default().to_owned(), object);
        }
    }
    Ok(made)
}

fn documents(path: &Path) -> anyhow::Result<Vec<Value>> {
    if !path.exists() {
        return Ok(Vec::new());
    }
    let all = serde_saphyr::from_multiple::<Value>(&std::fs::read_to_string(path)?);
    let all = all.map_err(|error| anyhow::anyhow!("{}: {error}", path.display()))?;
    Ok(all.into_iter().filter(Value::is_object).collect())
}

/// What is empty is as good as absent.
fn normalized(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let kept = fields.iter().map(|(name, field)| (name.clone(), normalized(field)));
            Value::Object(kept.filter(|(_, field)| !is_empty(field)).collect::<Map<_, _>>())
        }
        Value::Array(items) => Value::Array(items.iter().map(normalized).collect()),
        other => other.clone(),
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        _ => false,
    }
}
