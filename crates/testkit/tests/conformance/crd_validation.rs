//! Group `crd-validation`: what the API server accepts, by the schemas and rules of Istio's
//! CustomResourceDefinitions.

use anyhow::Context;
use lateen_apiserver::{Client, Config, Gvr, Server, gvr};
use lateen_testkit::conformance::{Score, folder, read_all};
use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize)]
struct File {
    rows: Vec<Row>,
}

#[derive(Deserialize)]
struct Row {
    id: String,
    valid: bool,
    #[serde(default)]
    error: String,
    document: Value,
}

#[tokio::test]
async fn crd_validation() -> anyhow::Result<()> {
    let Some(data) = crate::group("crd-validation") else { return Ok(()) };
    let home = tempfile::tempdir()?;
    let client = Server::open(Config::new(home.path())).await?.client();
    let spec = folder().context("the group is there")?.join("spec");
    let definitions = std::fs::read_to_string(spec.join("istio-crds.yaml"))?;
    for definition in serde_saphyr::from_multiple::<Value>(&definitions)?.into_iter().filter(Value::is_object) {
        client.create(&gvr::CUSTOM_RESOURCE_DEFINITIONS, "", definition).await?;
    }
    let mut score = Score::new("crd-validation");
    for (_, file) in read_all::<File>(&data)? {
        for row in file.rows {
            let id = row.id.clone();
            score.count(id, check(&client, row).await);
        }
    }
    score.settle()
}

async fn check(client: &Client, row: Row) -> Result<(), String> {
    let text = |field: &str| row.document[field].as_str().unwrap_or_default();
    let (group, version) = text("apiVersion").split_once('/').ok_or("no apiVersion")?;
    let plural = match text("kind").to_lowercase() {
        kind if kind.ends_with('y') => format!("{}ies", kind.trim_end_matches('y')),
        kind => format!("{kind}s"),
    };
    let outcome = client.create(&Gvr::new(group, version, plural), "default", row.document.clone()).await;
    match outcome {
        Ok(_) if row.valid => Ok(()),
        Ok(_) => Err(format!("accepted, expected {:?}", row.error)),
        Err(status) if row.valid => Err(format!("refused: {status}")),
        Err(status) if status.code == 422 && status.message.contains(&row.error) => Ok(()),
        Err(status) => Err(format!("{status}, expected {:?}", row.error)),
    }
}
