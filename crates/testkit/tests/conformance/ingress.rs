//! Group `ingress`: the Gateway and VirtualServices that Ingresses become.

use std::path::Path;

use anyhow::Context;
use lateen_api::istio;
use lateen_control_core::resource::{self, Ingress, MeshConfig, Resource, virtual_services_of_ingresses};
use lateen_testkit::conformance::Score;
use serde_json::{Value, json};

/// Domain of the cluster in the cases.
const DOMAIN: &str = "mydomain";

#[test]
fn ingress() -> anyhow::Result<()> {
    let Some(folder) = crate::group("ingress") else { return Ok(()) };
    let mut score = Score::new("ingress");
    let mut cases: Vec<_> = std::fs::read_dir(&folder)?.flatten().map(|entry| entry.path()).collect();
    cases.sort();
    for case in cases {
        let name = case.file_name().unwrap_or_default().to_string_lossy().into_owned();
        score.count(name, check(&case).map_err(|error| format!("{error:#}")));
    }
    score.settle()
}

fn check(case: &Path) -> anyhow::Result<()> {
    let ingresses = documents(&case.join("input.yaml"))?.into_iter().map(|object| {
        let (_, parsed) = resource::parse(object).context("no Ingress")?;
        let Resource::Ingress(ingress) = parsed else { anyhow::bail!("no Ingress") };
        Ok(*ingress)
    });
    let ingresses = ingresses.collect::<anyhow::Result<Vec<Ingress>>>()?;
    let mesh = MeshConfig::default();
    let gateways = ingresses.iter().map(|ingress| ingress.gateway(&mesh));
    let mut made: Vec<Value> = gateways.map(|g| shown("Gateway", &g.meta, &*g.spec)).collect();
    let all: Vec<&Ingress> = ingresses.iter().collect();
    let services = virtual_services_of_ingresses(&all, &mesh, DOMAIN, |_, _, _| None);
    made.extend(services.iter().map(|vs| shown("VirtualService", &vs.meta, &*vs.spec)));
    let mut expected =
        documents(&case.join("expected.yaml"))?.into_iter().map(complete).collect::<Result<Vec<_>, _>>()?;
    for list in [&mut made, &mut expected] {
        list.sort_by_key(Value::to_string);
    }
    anyhow::ensure!(made == expected, "made {made:#?}, expected {expected:#?}");
    Ok(())
}

fn documents(path: &Path) -> anyhow::Result<Vec<Value>> {
    let text = std::fs::read_to_string(path)?;
    Ok(serde_saphyr::from_multiple::<Value>(&text)?.into_iter().filter(Value::is_object).collect())
}

fn shown(kind: &str, meta: &resource::Meta, spec: &impl serde::Serialize) -> Value {
    json!({"kind": kind, "namespace": meta.namespace, "name": meta.name, "annotations": meta.annotations, "spec": spec})
}

/// An expected object in the same form, with its defaults.
fn complete(object: Value) -> anyhow::Result<Value> {
    let (meta, spec) = (resource::Meta::of(&object), object["spec"].clone());
    Ok(match object["kind"].as_str() {
        Some("Gateway") => shown("Gateway", &meta, &serde_json::from_value::<istio::Gateway>(spec)?),
        Some("VirtualService") => {
            shown("VirtualService", &meta, &serde_json::from_value::<istio::VirtualService>(spec)?)
        }
        other => anyhow::bail!("unexpected {other:?}"),
    })
}
