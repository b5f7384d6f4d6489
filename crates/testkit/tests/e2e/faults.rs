//! What dies comes back; what lives does not notice.

use std::time::Duration;

use anyhow::ensure;
use lateen_testkit::cluster::{Cluster, User, eventually};
use lateen_testkit::kubectl::Kubectl;
use lateen_testkit::load::Load;
use lateen_testkit::processes;

use crate::answers::ask;
use crate::mini_mesh;

#[test]
fn killed_parts() -> anyhow::Result<()> {
    let cluster = Cluster::start(User::Root)?;
    let kubectl = cluster.kubectl();
    mini_mesh::apply(&kubectl)?;
    mini_mesh::answers_over_mutual_tls(&kubectl)?;
    control_plane_killed_under_load(&cluster)?;
    sidecar_killed(&cluster)?;
    everything_killed(&cluster)
}

/// Restarts of the first container with this name in the pods with the label.
fn restarts(kubectl: &Kubectl, namespace: &str, selector: &str, container: &str) -> anyhow::Result<u64> {
    let pods = kubectl.get(&["pods", "-n", namespace, "-l", selector])?;
    let status = &pods["items"][0]["status"];
    ["containerStatuses", "initContainerStatuses"]
        .iter()
        .filter_map(|list| status[*list].as_array())
        .flatten()
        .find(|one| one["name"] == container)
        .and_then(|one| one["restartCount"].as_u64())
        .ok_or_else(|| anyhow::anyhow!("no container {container} in {status}"))
}

fn control_plane_killed_under_load(cluster: &Cluster) -> anyhow::Result<()> {
    let kubectl = &cluster.kubectl();
    let load = Load::start(kubectl, "deploy/curl", "http://frontend/")?;
    std::thread::sleep(Duration::from_secs(2));
    processes::kill(cluster.home(), |process| process.command.ends_with("lateen control "))?;
    eventually(Duration::from_secs(60), || {
        kubectl.run(&["wait", "-n", "istio-system", "deployment/istiod", "--for=condition=Available", "--timeout=30s"])
    })?;
    std::thread::sleep(Duration::from_secs(2));
    let outcome = load.stop()?;
    ensure!(outcome.failed.is_empty(), "requests failed while the control plane was away: {outcome:?}");
    ensure!(outcome.ok > 100, "the load was no load: {outcome:?}");
    // Proxies are attached again: a change takes effect.
    eventually(Duration::from_secs(20), || mini_mesh::routes_by_header(kubectl))
}

fn sidecar_killed(cluster: &Cluster) -> anyhow::Result<()> {
    let kubectl = &cluster.kubectl();
    let before = restarts(kubectl, "default", "app=db", "istio-proxy")?;
    processes::kill(cluster.home(), |process| {
        process.command.contains(" proxy sidecar") && process.environment.contains("POD_NAME=db-")
    })?;
    eventually(Duration::from_secs(30), || {
        ensure!(restarts(kubectl, "default", "app=db", "istio-proxy")? > before, "no restart shown yet");
        let answer = ask(kubectl, "http://db/")?;
        ensure!(answer.status == "200", "{answer:?}");
        Ok(())
    })
}

fn everything_killed(cluster: &Cluster) -> anyhow::Result<()> {
    processes::kill(cluster.home(), |_| true)?;
    std::thread::sleep(Duration::from_secs(1));
    cluster.up()?;
    let kubectl = cluster.kubectl();
    for app in ["frontend", "backend", "db", "curl"] {
        kubectl.wait_ready(&format!("app={app}"))?;
    }
    mini_mesh::answers_over_mutual_tls(&kubectl)
}
