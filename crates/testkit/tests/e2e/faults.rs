//! What dies comes back; what lives does not notice.

use std::time::Duration;

use anyhow::ensure;
use lateen_testkit::cluster::{Cluster, User, eventually, repository};
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
    nothing_bypasses_a_dead_sidecar(&cluster)?;
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
    let load = Load::start(kubectl, &["deploy/curl"], "http://frontend/")?;
    std::thread::sleep(Duration::from_secs(2));
    processes::kill(cluster.home(), |process| process.command.ends_with("lateen control "))?;
    eventually(Duration::from_secs(60), || {
        kubectl.run(&["wait", "-n", "istio-system", "deployment/istiod", "--for=condition=Available", "--timeout=30s"])
    })?;
    std::thread::sleep(Duration::from_secs(2));
    let outcome = load.stop()?;
    ensure!(outcome.failed.is_empty(), "requests failed while the control plane was away: {outcome:?}");
    ensure!(outcome.ok > 20, "the load was no load: {outcome:?}");
    // Proxies are attached again: a change takes effect.
    eventually(Duration::from_secs(20), || mini_mesh::routes_by_header(kubectl))
}

fn sidecar_killed(cluster: &Cluster) -> anyhow::Result<()> {
    let kubectl = &cluster.kubectl();
    let before = restarts(kubectl, "default", "app=db", "istio-proxy")?;
    kill_sidecar_of(cluster, "db")?;
    eventually(Duration::from_secs(30), || {
        ensure!(restarts(kubectl, "default", "app=db", "istio-proxy")? > before, "no restart shown yet");
        let answer = ask(kubectl, "http://db/")?;
        ensure!(answer.status == "200", "{answer:?}");
        Ok(())
    })
}

fn kill_sidecar_of(cluster: &Cluster, app: &str) -> anyhow::Result<()> {
    let pod = format!("POD_NAME={app}-");
    processes::kill(cluster.home(), |process| {
        process.command.contains(" proxy sidecar") && process.environment.contains(&pod)
    })
}

/// A namespace without injection: its client speaks plaintext, its server answers anybody.
fn apply_plain_namespace(kubectl: &Kubectl) -> anyhow::Result<()> {
    kubectl.run(&["create", "namespace", "plain"])?;
    let samples = repository().join("samples/mini-mesh");
    for file in ["curl.yaml", "db.yaml"] {
        kubectl.run(&["apply", "-n", "plain", "-f", &samples.join(file).display().to_string()])?;
    }
    eventually(Duration::from_secs(30), || {
        kubectl.run(&["wait", "-n", "plain", "pod", "--for=condition=Ready", "--all", "--timeout=30s"])
    })?;
    Ok(())
}

/// The rules of capture stay when a sidecar dies: nothing reaches its application past it, and the application's own
/// requests go nowhere, until it is back.
fn nothing_bypasses_a_dead_sidecar(cluster: &Cluster) -> anyhow::Result<()> {
    let kubectl = &cluster.kubectl();
    apply_plain_namespace(kubectl)?;
    kubectl.apply_text(
        "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: default}\nspec: {mtls: {mode: STRICT}}\n",
    )?;
    let stranger = ["-n", "plain", "deploy/curl"];
    eventually(Duration::from_secs(20), || {
        let outcome = Load::start(kubectl, &stranger, "http://db.default/")?.stop()?;
        ensure!(outcome.ok == 0 && !outcome.failed.is_empty(), "plaintext is still answered: {outcome:?}");
        Ok(())
    })?;
    let inward = Load::start(kubectl, &stranger, "http://db.default/")?;
    let outward = Load::start(kubectl, &["deploy/curl"], "http://db.plain/")?;
    std::thread::sleep(Duration::from_secs(1));
    for app in ["db", "curl"] {
        let selector = format!("app={app}");
        let before = restarts(kubectl, "default", &selector, "istio-proxy")?;
        kill_sidecar_of(cluster, app)?;
        eventually(Duration::from_secs(60), || {
            ensure!(
                restarts(kubectl, "default", &selector, "istio-proxy")? > before,
                "no restart of {app}'s sidecar yet"
            );
            kubectl.run(&["wait", "pod", "--for=condition=Ready", "-l", &selector, "--timeout=1s"])
        })?;
    }
    std::thread::sleep(Duration::from_secs(1));
    let (inward, outward) = (inward.stop()?, outward.stop()?);
    ensure!(inward.ok == 0, "plaintext reached an application past its dead sidecar: {inward:?}");
    ensure!(outward.ok > 0 && !outward.failed.is_empty(), "requests before, after and while it was dead: {outward:?}");
    let only_by_sidecar = outward.servers.iter().all(|server| server == "envoy");
    ensure!(only_by_sidecar, "a request left past the dead sidecar: {:?}", outward.servers);
    kubectl.run(&["delete", "peerauthentication", "default"])?;
    kubectl.run(&["delete", "namespace", "plain"]).map(drop)
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
