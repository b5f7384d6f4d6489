//! Processes die at random while objects are written: what was acknowledged is there afterwards, pods converge, and
//! `down` cleans.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, ensure};
use lateen_testkit::cluster::{Cluster, User, eventually, repository};
use lateen_testkit::kubectl::Kubectl;
use lateen_testkit::processes::{self, Process};

use crate::mini_mesh;

/// How many processes are killed.
const KILLS: u32 = 12;
/// How many objects are written, again and again.
const OBJECTS: u32 = 40;
/// The pause between two kills.
const PAUSE: Duration = Duration::from_millis(1500);

/// A number that looks random; the seed is told, so that a failing run can be repeated.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(sides.max(1)).unwrap_or(1)).unwrap_or(0)
    }
}

/// Kills one process of the mesh after the other; every fourth is the launcher or one of the sandbox's own, with which
/// everything ends. The cluster is brought back then.
fn kill_at_random(cluster: &Cluster, dice: &mut Dice) -> anyhow::Result<BTreeMap<String, u32>> {
    let mut killed = BTreeMap::new();
    for round in 1..=KILLS {
        std::thread::sleep(PAUSE);
        let all = processes::of_mesh(cluster.home()).unwrap_or_default();
        let of_cluster = |process: &&Process| process.command.contains(" sandbox-");
        let (core, rest): (Vec<_>, Vec<_>) = all.iter().partition(of_cluster);
        let chosen = if round.is_multiple_of(4) { &core } else { &rest };
        if let Some(victim) = chosen.get(dice.roll(chosen.len())) {
            let kind: Vec<_> = victim.command.split_whitespace().take(3).collect();
            *killed.entry(kind.join(" ")).or_default() += 1;
            let pid = victim.pid;
            let _ = processes::kill(cluster.home(), |process| process.pid == pid);
        }
        if round.is_multiple_of(4) {
            // `up` in the moment before anybody notices the death would find a cluster that runs.
            let _ = eventually(Duration::from_secs(10), || ended(&core));
            eventually(Duration::from_secs(120), || cluster.up())?;
        }
    }
    Ok(killed)
}

fn ended(processes: &[&Process]) -> anyhow::Result<()> {
    let left = processes.iter().find(|process| Path::new(&format!("/proc/{}", process.pid)).exists());
    ensure!(left.is_none(), "{left:?} still runs");
    Ok(())
}

/// Applies ConfigMaps and scales a Deployment until the storm is over; what the API server acknowledged.
fn apply(kubectl: &Kubectl, over: &AtomicBool) -> BTreeMap<String, String> {
    let mut acknowledged = BTreeMap::new();
    let mut number = 0_u32;
    while !over.load(Ordering::Relaxed) {
        number += 1;
        let (name, value) = (format!("storm-{}", number % OBJECTS), format!("value-{number}"));
        let map = format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\ndata: {{value: {value}}}\n");
        if kubectl.apply_text(&map).is_ok() {
            acknowledged.insert(name, value);
        } else {
            // It may or may not have been written.
            acknowledged.remove(&name);
            std::thread::sleep(Duration::from_millis(200));
        }
        if number.is_multiple_of(10) {
            let replicas = format!("--replicas={}", 1 + number / 10 % 3);
            let _ = kubectl.run(&["scale", "deployment/db", &replicas]);
        }
    }
    acknowledged
}

fn all_there(kubectl: &Kubectl, acknowledged: &BTreeMap<String, String>) -> anyhow::Result<()> {
    let maps = kubectl.get(&["configmaps"])?;
    let found: BTreeMap<_, _> = maps["items"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|map| Some((map["metadata"]["name"].as_str()?, map["data"]["value"].as_str()?)))
        .collect();
    for (name, value) in acknowledged {
        ensure!(
            found.get(name.as_str()) == Some(&value.as_str()),
            "{name}: {:?}, not {value}",
            found.get(name.as_str())
        );
    }
    Ok(())
}

/// The pods are those that their controllers want, ready, and none is left over.
fn converged(kubectl: &Kubectl) -> anyhow::Result<()> {
    eventually(Duration::from_secs(180), || {
        for namespace in ["default", "istio-system"] {
            kubectl.run(&["rollout", "status", "deployment", "-n", namespace, "--timeout=60s"])?;
        }
        let pods = kubectl.get(&["pods", "-A"])?;
        let deployments = kubectl.get(&["deployments", "-A"])?;
        let wanted =
            deployments["items"].as_array().into_iter().flatten().filter_map(|d| d["spec"]["replicas"].as_u64());
        let (wanted, found) = (wanted.sum::<u64>(), pods["items"].as_array().map_or(0, Vec::len));
        ensure!(found as u64 == wanted, "{found} pods for {wanted} replicas");
        Ok(())
    })
}

#[test]
fn random_kills_during_applies() -> anyhow::Result<()> {
    let seed = std::env::var("LATEEN_STORM_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| u64::from(std::process::id()) | 1);
    println!("LATEEN_STORM_SEED={seed}");
    let cluster = Cluster::start(User::Root)?;
    let kubectl = cluster.kubectl();
    mini_mesh::apply(&kubectl)?;
    let over = AtomicBool::new(false);
    let (killed, acknowledged) = std::thread::scope(|scope| {
        let applying = scope.spawn(|| apply(&kubectl, &over));
        let killed = kill_at_random(&cluster, &mut Dice(seed));
        over.store(true, Ordering::Relaxed);
        (killed, applying.join())
    });
    let acknowledged = acknowledged.ok().context("the writer panicked")?;
    let killed = killed?;
    println!("killed: {killed:?}; {} objects acknowledged", acknowledged.len());
    ensure!(killed.values().sum::<u32>() >= KILLS / 2, "no storm: {killed:?}");
    ensure!(!acknowledged.is_empty(), "nothing was acknowledged: {acknowledged:?}");
    eventually(Duration::from_secs(120), || cluster.up())?;
    all_there(&kubectl, &acknowledged)?;
    converged(&kubectl)?;
    // The check below reads the metrics of one pod, which must be the one that answers.
    kubectl.run(&["scale", "deployment/db", "--replicas=1"])?;
    converged(&kubectl)?;
    mini_mesh::answers_over_mutual_tls(&kubectl)?;
    kubectl.run(&["delete", "-f", &repository().join("samples/mini-mesh").display().to_string()])?;
    cluster_is_gone_after_down(&cluster)
}

fn cluster_is_gone_after_down(cluster: &Cluster) -> anyhow::Result<()> {
    let pids: Vec<_> = processes::of_mesh(cluster.home())?.into_iter().map(|process| process.pid).collect();
    ensure!(pids.len() > 2, "nothing runs");
    let mounts = || std::fs::read_to_string("/proc/mounts").unwrap_or_default();
    let home = cluster.home().display().to_string();
    cluster.down()?;
    eventually(Duration::from_secs(10), || {
        let left: Vec<_> = pids.iter().filter(|pid| Path::new(&format!("/proc/{pid}")).exists()).collect();
        ensure!(left.is_empty(), "processes {left:?} are left");
        ensure!(!mounts().contains(&home), "mounts of {home} are left");
        Ok(())
    })
}
