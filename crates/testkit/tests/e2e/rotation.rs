//! Certificates change under load and nobody notices.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, ensure};
use lateen_testkit::cluster::{Cluster, User, eventually};
use lateen_testkit::kubectl::Kubectl;
use lateen_testkit::load::Load;
use serde_json::Value;

use crate::mini_mesh;

/// Certificates for eight seconds, renewed when half of that has passed, as a user sets it for one workload.
const SHORT_LIVED: &str = r#"{"spec":{"template":{"metadata":{"annotations":{
    "proxy.istio.io/config":"proxyMetadata:\n  SECRET_TTL: 8s\n"}}}}}"#;

#[test]
fn certificates_rotate_under_load() -> anyhow::Result<()> {
    let cluster = Cluster::start(User::Root)?;
    let kubectl = cluster.kubectl();
    mini_mesh::apply(&kubectl)?;
    for app in ["curl", "frontend"] {
        kubectl.run(&["patch", "deployment", app, "--patch", SHORT_LIVED])?;
        kubectl.run(&["rollout", "status", "deployment", app, "--timeout=60s"])?;
        eventually(Duration::from_secs(40), || {
            let pods = kubectl.run(&["get", "pods", "-l", &format!("app={app}"), "-o", "name"])?;
            ensure!(pods.lines().count() == 1, "the pods of before still end: {pods}");
            Ok(())
        })?;
    }
    let load = Load::start(&kubectl, &["deploy/curl"], "http://frontend/")?;
    let mut seen = BTreeSet::new();
    eventually(Duration::from_secs(60), || {
        for app in ["curl", "frontend"] {
            seen.insert((app, serial(&kubectl, app)?));
        }
        for app in ["curl", "frontend"] {
            let certificates = seen.iter().filter(|(of, _)| *of == app).count();
            ensure!(certificates >= 4, "{app} has had {certificates} certificates");
        }
        Ok(())
    })?;
    let outcome = load.stop()?;
    ensure!(outcome.failed.is_empty(), "requests failed while certificates changed: {outcome:?}");
    ensure!(outcome.ok > 20, "the load was no load: {outcome:?}");
    mini_mesh::answers_over_mutual_tls(&kubectl)
}

/// The serial number of the certificate that the app's sidecar presents now.
fn serial(kubectl: &Kubectl, app: &str) -> anyhow::Result<String> {
    let target = format!("deploy/{app}");
    let text =
        kubectl.run(&["exec", &target, "-c", "istio-proxy", "--", "curl", "-s", "http://127.0.0.1:15000/certs"])?;
    let certs: Value = serde_json::from_str(&text)?;
    let serial = certs["certificates"][0]["cert_chain"][0]["serial_number"].as_str();
    serial.map(str::to_owned).with_context(|| format!("no certificate in {text}"))
}
