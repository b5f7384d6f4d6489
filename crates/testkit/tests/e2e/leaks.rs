//! `lateen down` leaves the machine as it was.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::ensure;
use lateen_testkit::cluster::{Cluster, User, eventually};
use lateen_testkit::processes;

use crate::mini_mesh;

/// What a machine shows of a mesh: processes by command line, interfaces, rules, mounts, namespaces in use.
fn traces(home: &str) -> anyhow::Result<BTreeSet<String>> {
    let mut seen = BTreeSet::new();
    for entry in std::fs::read_dir("/proc")?.flatten() {
        let Ok(command) = std::fs::read(entry.path().join("cmdline")) else {
            continue;
        };
        let command = String::from_utf8_lossy(&command).replace('\0', " ");
        let environment = std::fs::read(entry.path().join("environ")).unwrap_or_default();
        let ours = entry.file_name().to_string_lossy().parse::<u32>().is_ok()
            && !command.is_empty()
            && String::from_utf8_lossy(&environment).contains(home);
        if ours {
            seen.insert(format!("process {command}"));
        }
    }
    for (what, program, args) in
        [("link", "ip", vec!["-o", "link"]), ("route", "ip", vec!["route"]), ("rule", "ip", vec!["rule"])]
    {
        let output = Command::new(program).args(args).output()?;
        seen.extend(String::from_utf8_lossy(&output.stdout).lines().map(|line| format!("{what} {line}")));
    }
    let mounts = std::fs::read_to_string("/proc/self/mounts")?;
    seen.extend(mounts.lines().map(|line| format!("mount {line}")));
    Ok(seen)
}

#[test]
fn down_leaves_nothing() -> anyhow::Result<()> {
    for user in [User::Root, User::Nobody] {
        let before = traces("no such home")?;
        let cluster = Cluster::start(user)?;
        mini_mesh::apply(&cluster.kubectl())?;
        let home = cluster.home().display().to_string();
        // Containers' processes don't carry the home in their environment: their ids are taken while they live.
        let processes: Vec<_> = processes::of_mesh(cluster.home())?.iter().map(|process| process.pid).collect();
        ensure!(processes.len() > 10, "a mesh with five pods has more processes than {processes:?}");
        cluster.down()?;
        eventually(Duration::from_secs(5), || {
            let alive: Vec<_> = processes.iter().filter(|pid| Path::new(&format!("/proc/{pid}")).exists()).collect();
            ensure!(alive.is_empty(), "{user:?} left the processes {alive:?}");
            Ok(())
        })?;
        eventually(Duration::from_secs(5), || {
            let left: Vec<_> = traces(&home)?.difference(&before).cloned().collect();
            ensure!(left.is_empty(), "{user:?} left: {left:#?}");
            Ok(())
        })?;
        ensure!(cluster.home().join("kubeconfig").exists(), "the state stays until it is purged");
        cluster.run(&["down", "--purge"])?;
        let rest: Vec<_> =
            std::fs::read_dir(cluster.home()).map(|entries| entries.flatten().collect()).unwrap_or_default();
        ensure!(rest.is_empty(), "--purge left {rest:?}");
    }
    Ok(())
}
