//! Endpoints near the caller come first; when they fail, those farther away answer, and no caller notices.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::ensure;
use lateen_testkit::cluster::{Cluster, User, eventually};
use lateen_testkit::kubectl::Kubectl;
use serde_json::json;

use crate::mini_mesh;

/// Near before far, one failed answer is enough to leave an endpoint alone, and a failed request is tried again.
const RULES: &str = r"
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: backend}
spec:
  host: backend
  trafficPolicy:
    outlierDetection: {consecutive5xxErrors: 1, interval: 1s, baseEjectionTime: 2s, maxEjectionPercent: 100}
    loadBalancer:
      localityLbSetting:
        enabled: true
        failover: [{from: near, to: far}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: backend}
spec:
  hosts: [backend]
  http:
  - route: [{destination: {host: backend}}]
    retries: {attempts: 2, retryOn: 5xx}
";

#[test]
fn near_endpoints_come_first_until_they_fail() -> anyhow::Result<()> {
    let cluster = Cluster::start(User::Root)?;
    let kubectl = cluster.kubectl();
    mini_mesh::apply(&kubectl)?;
    for (deployment, locality) in [("curl", "near.a.1"), ("backend-v1", "near.a.2"), ("backend-v2", "far.b.1")] {
        let labels = json!({ "istio-locality": locality });
        patch(&kubectl, deployment, &json!({ "metadata": { "labels": labels } }))?;
    }
    kubectl.apply_text(RULES)?;
    let only = |wanted: &str| {
        eventually(Duration::from_secs(30), || {
            let answers = answers(&kubectl)?;
            let expected = BTreeSet::from([format!("200 Calling DB... (backend {wanted})")]);
            ensure!(answers == expected, "{wanted} is to answer: {answers:?}");
            Ok(())
        })
    };
    only("v1")?;
    near_answers_with(&kubectl, 503)?;
    // From the first request on: the failed ones are tried again elsewhere.
    let answers = answers(&kubectl)?;
    ensure!(answers.iter().all(|answer| answer.starts_with("200 ")), "callers noticed: {answers:?}");
    only("v2")?;
    near_answers_with(&kubectl, 200)?;
    only("v1")
}

/// Changes the pods of a Deployment and waits until there are no others.
fn patch(kubectl: &Kubectl, deployment: &str, template: &serde_json::Value) -> anyhow::Result<()> {
    let patch = json!({ "spec": { "template": template } }).to_string();
    kubectl.run(&["patch", "deployment", deployment, "-p", &patch])?;
    kubectl.run(&["rollout", "status", &format!("deployment/{deployment}"), "--timeout=90s"])?;
    Ok(())
}

fn near_answers_with(kubectl: &Kubectl, status: u16) -> anyhow::Result<()> {
    let args = ["-text=Calling DB... (backend v1)".to_owned(), format!("-status-code={status}")];
    let container = json!({ "name": "backend", "args": args });
    patch(kubectl, "backend-v1", &json!({ "spec": { "containers": [container] } }))
}

/// The different answers to twenty requests.
fn answers(kubectl: &Kubectl) -> anyhow::Result<BTreeSet<String>> {
    let script = r#"for i in $(seq 20); do curl -s -w '\n%{http_code}\n' http://backend/; done"#;
    let text = kubectl.exec("deploy/curl", &["sh", "-c", script])?;
    let lines: Vec<&str> = text.lines().filter(|line| !line.is_empty()).collect();
    Ok(lines.chunks(2).map(|pair| format!("{} {}", pair.last().unwrap_or(&""), pair[0])).collect())
}
