//! The guide's own manifests.

use crate::cluster::{Cluster, fixtures};

#[tokio::test(flavor = "multi_thread")]
async fn the_guides_manifests_apply_unchanged_and_again() {
    let cluster = Cluster::start().await;
    let path = fixtures();
    let words = format!("apply -f {}", path.display());
    let first = cluster.output(&words).await;
    for line in ["service/backend created", "deployment.apps/frontend created", "deployment.apps/db created"] {
        assert!(first.contains(line), "{first}");
    }
    let again = cluster.output(&words).await;
    assert!(again.lines().all(|l| l.ends_with("unchanged")), "{again}");
    let services = cluster.output("get services").await;
    assert!(services.starts_with("NAME         TYPE        CLUSTER-IP"), "{services}");
    assert!(services.contains("10.96.0.1 "), "{services}");
    let deployments = cluster.output("get deploy").await;
    assert!(deployments.contains("backend    0/1     0            0           "), "{deployments}");
    let deleted = cluster.output(&format!("delete --wait=false -f {}", path.display())).await;
    assert!(deleted.contains("deployment.apps \"backend\" deleted"), "{deleted}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_manifest_changes_what_it_names_and_keeps_the_rest() {
    let cluster = Cluster::start().await;
    let manifest = std::fs::read_to_string(fixtures().join("backend.yaml")).unwrap();
    cluster.apply(&manifest).await;
    cluster.output("label deployment backend team=a").await;
    let ip = cluster.output("get service backend -o jsonpath={.spec.clusterIP}").await;
    let changed = manifest.replace("- port: 80", "- port: 80\n      targetPort: 5678").replace("Calling DB", "Changed");
    let said = cluster.apply(&changed).await;
    assert!(said.contains("service/backend configured"), "{said}");
    assert!(said.contains("deployment.apps/backend configured"), "{said}");
    assert_eq!(cluster.output("get service backend -o jsonpath={.spec.clusterIP}").await, ip);
    let ports = cluster.output("get service backend -o jsonpath={.spec.ports[*].targetPort}").await;
    assert_eq!(ports, "5678");
    let args = cluster.output("get deploy backend -o jsonpath={.spec.template.spec.containers[*].args}").await;
    assert_eq!(args, "[\"-text=Changed...\"]");
    assert_eq!(cluster.output("get deploy backend -o jsonpath={.metadata.labels.team}").await, "a");
    let generation = cluster.output("get deploy backend -o jsonpath={.metadata.generation}").await;
    assert_eq!(generation, "2");
}

#[tokio::test(flavor = "multi_thread")]
async fn server_side_apply_owns_what_it_says() {
    let cluster = Cluster::start().await;
    let manifest = std::fs::read_to_string(fixtures().join("backend.yaml")).unwrap();
    let apply = async |manager: &str, manifest: &str| {
        let manager = format!("--field-manager={manager}");
        cluster.kubectl_with(&["apply", "--server-side", &manager, "-f", "-"], manifest).await
    };
    assert!(apply("a", &manifest).await.ok);
    let version = cluster.output("get deploy backend -o jsonpath={.metadata.resourceVersion}").await;
    assert!(apply("a", &manifest).await.ok);
    assert_eq!(cluster.output("get deploy backend -o jsonpath={.metadata.resourceVersion}").await, version);
    let refused = apply("b", &manifest.replace("replicas: 1", "replicas: 2")).await;
    assert!(refused.err.contains("conflict with \"a\""), "{}", refused.err);
    assert!(refused.err.contains(".spec.replicas"), "{}", refused.err);
}
