//! Who owns which field, as `kubectl apply --server-side` sees it.

use serde_json::Value;

use crate::cluster::{Cluster, Said};

fn map(data: &str) -> String {
    format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: c}}\ndata: {data}")
}

async fn apply(cluster: &Cluster, manager: &str, extra: &[&str], manifest: &str) -> Said {
    let manager = format!("--field-manager={manager}");
    let arguments: Vec<&str> = ["apply", "--server-side", &manager, "-f", "-"].iter().chain(extra).copied().collect();
    cluster.kubectl_with(&arguments, manifest).await
}

async fn managers(cluster: &Cluster) -> Vec<(String, String)> {
    let text = cluster.output("get cm c -o json --show-managed-fields").await;
    let object: Value = serde_json::from_str(&text).unwrap();
    let list = object["metadata"]["managedFields"].as_array().cloned().unwrap_or_default();
    let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
    list.iter().map(|m| (text(&m["manager"]), text(&m["operation"]))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn managers_conflict_until_one_insists() {
    let cluster = Cluster::start().await;
    assert!(apply(&cluster, "one", &[], &map("{a: '1', b: '1'}")).await.ok);
    let said = apply(&cluster, "two", &[], &map("{a: '2', c: '2'}")).await;
    assert!(!said.ok);
    assert!(said.err.contains("Apply failed with 1 conflict: conflict with \"one\": .data.a"), "{}", said.err);
    assert!(said.err.contains("--force-conflicts"), "{}", said.err);
    assert!(apply(&cluster, "two", &["--force-conflicts"], &map("{a: '2', c: '2'}")).await.ok);
    // What one no longer says goes, what two took over stays.
    assert!(apply(&cluster, "one", &[], &map("{}")).await.ok);
    assert_eq!(cluster.output("get cm c -o jsonpath={.data}").await, r#"{"a":"2","c":"2"}"#);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_writer_is_noted() {
    let cluster = Cluster::start().await;
    cluster.output("create configmap c --from-literal=a=1").await;
    cluster.output("label cm c x=y").await;
    cluster.output("patch cm c -p {\"data\":{\"b\":\"2\"}} --field-manager=patcher").await;
    let update = |name: &str| (name.to_owned(), "Update".to_owned());
    let mut noted = managers(&cluster).await;
    noted.sort();
    assert_eq!(noted, [update("kubectl-create"), update("kubectl-label"), update("patcher")]);
    let said = apply(&cluster, "one", &[], &map("{b: '3'}")).await;
    assert!(said.err.contains("conflict with \"patcher\" using v1"), "{}", said.err);
    assert!(!cluster.output("get cm c -o yaml").await.contains("managedFields"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_applied_by_the_client_moves_to_the_server() {
    let cluster = Cluster::start().await;
    cluster.apply(&map("{a: '1', b: '1'}")).await;
    let said = apply(&cluster, "kubectl", &[], &map("{a: '2'}")).await;
    assert!(said.ok, "{}", said.err);
    assert_eq!(cluster.output("get cm c -o jsonpath={.data}").await, r#"{"a":"2"}"#);
    // kubectl keeps its annotation up to date under a name of its own.
    let apply = |name: &str| (name.to_owned(), "Apply".to_owned());
    // They come by their time, which has whole seconds.
    let mut noted = managers(&cluster).await;
    noted.sort();
    assert_eq!(noted, [apply("kubectl"), apply("kubectl-last-applied")]);
}
