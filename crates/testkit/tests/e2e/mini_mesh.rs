//! The project's own sample: three services, mutual TLS between them, a 90/10 split.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::ensure;
use lateen_testkit::cluster::{Cluster, eventually, repository};
use lateen_testkit::kubectl::Kubectl;

use crate::answers::{ask, ask_with};

/// Labels the namespace, applies the sample and waits for its pods.
pub fn apply(kubectl: &Kubectl) -> anyhow::Result<()> {
    kubectl.run(&["label", "ns", "default", "istio-injection=enabled", "--overwrite"])?;
    kubectl.apply(&repository().join("samples/mini-mesh"))?;
    for app in ["frontend", "backend", "db", "curl"] {
        kubectl.wait_ready(&format!("app={app}"))?;
    }
    Ok(())
}

/// Every service answers the client, and the travel is mutual TLS with both identities on record.
pub fn answers_over_mutual_tls(kubectl: &Kubectl) -> anyhow::Result<()> {
    for service in ["frontend", "backend", "db"] {
        eventually(Duration::from_secs(10), || {
            let answer = ask(kubectl, &format!("http://{service}/"))?;
            ensure!(answer.status == "200", "{service}: {answer:?}");
            Ok(())
        })?;
    }
    eventually(Duration::from_secs(10), || {
        let metrics = kubectl.run(&[
            "exec",
            "deploy/db",
            "-c",
            "istio-proxy",
            "--",
            "curl",
            "-s",
            "http://127.0.0.1:15020/stats/prometheus",
        ])?;
        let line = metrics
            .lines()
            .find(|line| line.starts_with("istio_requests_total{") && line.contains(r#"reporter="destination""#))
            .ok_or_else(|| anyhow::anyhow!("no istio_requests_total of the destination"))?;
        for label in [
            r#"connection_security_policy="mutual_tls""#,
            r#"source_principal="spiffe://cluster.local/ns/default/sa/"#,
            r#"destination_principal="spiffe://cluster.local/ns/default/sa/"#,
            r#"source_app="curl""#,
            r#"destination_service="db.default.svc.cluster.local""#,
            r#"response_code="200""#,
        ] {
            ensure!(line.contains(label), "lacks {label}: {line}");
        }
        Ok(())
    })
}

/// The VirtualService of the sample sends nine of ten requests to v1.
pub fn splits_ninety_to_ten(kubectl: &Kubectl) -> anyhow::Result<()> {
    let script = "for i in $(seq 500); do curl -s http://backend/; done";
    let text = kubectl.exec("deploy/curl", &["sh", "-c", script])?;
    let mut counts = BTreeMap::<&str, usize>::new();
    for line in text.lines() {
        *counts.entry(line).or_default() += 1;
    }
    let v2: usize = counts.iter().filter(|(body, _)| body.contains("v2")).map(|(_, count)| count).sum();
    let v1: usize = counts.iter().filter(|(body, _)| body.contains("v1")).map(|(_, count)| count).sum();
    ensure!(v1 + v2 == 500, "every request is answered by one of the two: {counts:?}");
    // Binomial with n = 500, p = 0.1: 22 to 80 leaves out less than one run in a million.
    ensure!((22..=80).contains(&v2), "{counts:?}");
    Ok(())
}

/// A header match goes to v2 whatever the weights say; without the header nothing changes.
pub fn routes_by_header(kubectl: &Kubectl) -> anyhow::Result<()> {
    kubectl.apply_text(
        "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: backend}\nspec:\n  hosts: [backend]\n  http:\n  - match:\n    - headers: {x-version: {exact: v2}}\n    route:\n    - destination: {host: backend, subset: v2}\n  - route:\n    - destination: {host: backend, subset: v1}\n",
    )?;
    eventually(Duration::from_secs(5), || {
        for _ in 0..10 {
            let answer = ask_with(kubectl, "http://backend/", &["-H", "x-version: v2"])?;
            ensure!(answer.body.contains("v2"), "{answer:?}");
            let answer = ask(kubectl, "http://backend/")?;
            ensure!(answer.body.contains("v1"), "{answer:?}");
        }
        Ok(())
    })
}

/// The whole tour in one mesh.
pub fn tour(cluster: &Cluster) -> anyhow::Result<()> {
    let kubectl = cluster.kubectl();
    apply(&kubectl)?;
    answers_over_mutual_tls(&kubectl)?;
    splits_ninety_to_ten(&kubectl)?;
    routes_by_header(&kubectl)?;
    let status = cluster.run(&["proxy-status"])?;
    for pod in ["frontend-", "backend-", "db-", "curl-"] {
        ensure!(status.contains(pod), "proxy-status lacks {pod}:\n{status}");
    }
    let log = kubectl.run(&["logs", "deploy/db", "-c", "istio-proxy"])?;
    ensure!(log.contains("\"GET / HTTP/1.1\" 200"), "access log of db's sidecar:\n{log}");
    Ok(())
}

#[test]
fn as_root() -> anyhow::Result<()> {
    tour(&Cluster::start(lateen_testkit::cluster::User::Root)?)
}
