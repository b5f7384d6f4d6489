//! How fast and how small the mini mesh is: `make bench-mesh`. Prints figures; judges nothing.

use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, ensure};
use lateen_testkit::cluster::{Cluster, User, eventually, repository};
use lateen_testkit::kubectl::Kubectl;
use lateen_testkit::processes;

fn main() -> anyhow::Result<()> {
    let start = Instant::now();
    let cluster = Cluster::start(User::Root)?;
    let kubectl = cluster.kubectl();
    println!("up to API and control plane ready   {:>8.2} s", start.elapsed().as_secs_f64());
    let warm = Instant::now();
    cluster.down()?;
    cluster.up()?;
    println!("down and up again                   {:>8.2} s", warm.elapsed().as_secs_f64());

    kubectl.run(&["label", "ns", "default", "istio-injection=enabled", "--overwrite"])?;
    three_deployments(&kubectl)?;
    kubectl.apply(&repository().join("samples/mini-mesh"))?;
    for app in ["frontend", "backend", "db", "curl"] {
        kubectl.wait_ready(&format!("app={app}"))?;
    }
    std::thread::sleep(Duration::from_secs(3));
    memory(&cluster)?;
    time_to_effect(&kubectl)?;
    fifty_pods(&cluster)
}

fn three_deployments(kubectl: &Kubectl) -> anyhow::Result<()> {
    let start = Instant::now();
    kubectl.apply(&repository().join("samples/guide/db.yaml"))?;
    kubectl.apply(&repository().join("samples/guide/backend.yaml"))?;
    kubectl.apply(&repository().join("samples/guide/frontend.yaml"))?;
    kubectl.run(&["wait", "deployment", "--all", "--for=condition=Available", "--timeout=60s"])?;
    println!("guide's deployments, apply to ready {:>8.2} s", start.elapsed().as_secs_f64());
    kubectl.run(&["delete", "deployment,service", "db", "backend", "frontend"])?;
    kubectl.run(&["wait", "pod", "--for=delete", "--all", "--timeout=60s"]).map(drop)
}

/// Sizes in MiB from `/proc/PID/smaps_rollup`.
fn memory(cluster: &Cluster) -> anyhow::Result<()> {
    let mut total = 0;
    let mut sidecars = Vec::new();
    for process in processes::of_mesh(cluster.home())? {
        let rollup = std::fs::read_to_string(format!("/proc/{}/smaps_rollup", process.pid)).unwrap_or_default();
        let kib = |key: &str| -> u64 {
            let line = rollup.lines().find(|line| line.starts_with(key));
            line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok()).unwrap_or(0)
        };
        total += kib("Pss:");
        if process.command.contains(" proxy sidecar") && !process.command.contains("container-") {
            sidecars.push(kib("Rss:"));
        }
    }
    sidecars.sort_unstable();
    let median = sidecars.get(sidecars.len() / 2).context("no sidecar")?;
    println!("idle sidecar, resident (median)     {:>8.1} MiB", *median as f64 / 1024.0);
    println!("whole demo, proportional            {:>8.1} MiB", total as f64 / 1024.0);
    Ok(())
}

/// From the end of `kubectl apply` to the first answer that shows the change, 50 times.
fn time_to_effect(kubectl: &Kubectl) -> anyhow::Result<()> {
    let script = "while :; do b=$(curl -s http://backend/); echo \"$(date +%s%N) $b\"; done";
    let mut child = kubectl
        .command(&["exec", "deploy/curl", "-c", "curl", "--", "sh", "-c", script])
        .stdout(Stdio::piped())
        .spawn()?;
    let mut lines = BufReader::new(child.stdout.take().context("stdout")?).lines();
    let mut waits = Vec::new();
    for round in 0..50 {
        let version = if round % 2 == 0 { "v2" } else { "v1" };
        kubectl.apply_text(&format!(
            "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: backend}}\nspec:\n  hosts: [backend]\n  http:\n  - route:\n    - destination: {{host: backend, subset: {version}}}\n"
        ))?;
        let applied = SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos();
        let mut seen = 0_u128;
        for line in lines.by_ref().take(2000) {
            let line = line?;
            let (at, body) = line.split_once(' ').unwrap_or_default();
            if body.contains(version) {
                seen = at.parse()?;
                break;
            }
        }
        ensure!(seen > 0, "no effect within 2000 requests");
        waits.push(seen.saturating_sub(applied) as f64 / 1e6);
    }
    child.kill()?;
    waits.sort_by(f64::total_cmp);
    println!("VirtualService to effect, p50; p99  {:>8.1}; {:.1} ms", waits[25], waits[49]);
    Ok(())
}

fn fifty_pods(cluster: &Cluster) -> anyhow::Result<()> {
    let kubectl = cluster.kubectl();
    let start = Instant::now();
    kubectl.run(&["scale", "deployment/db", "--replicas=50"])?;
    eventually(Duration::from_secs(180), || {
        let ready = kubectl.run(&["get", "deployment", "db", "-o", "jsonpath={.status.readyReplicas}"])?;
        ensure!(ready == "50", "{ready} of 50");
        Ok(())
    })?;
    println!("50 pods with sidecars ready         {:>8.1} s", start.elapsed().as_secs_f64());
    std::thread::sleep(Duration::from_secs(10));
    let (before, window) = (cpu(cluster)?, Duration::from_secs(10));
    std::thread::sleep(window);
    let used = cpu(cluster)? - before;
    println!("idle with 50 pods, of one core      {:>8.1} %", used / window.as_secs_f64() * 100.0);
    Ok(())
}

/// Processor time of the whole mesh so far, in seconds.
fn cpu(cluster: &Cluster) -> anyhow::Result<f64> {
    let mesh = processes::of_mesh(cluster.home())?;
    // One that just ended counts no more.
    Ok(mesh.iter().filter_map(|process| processes::cpu(process.pid).ok()).sum())
}
