//! The processes of a mesh as the machine sees them, from outside every sandbox.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, ensure};

/// One process: its command line and its environment at start.
#[derive(Debug)]
pub struct Process {
    /// Process id on the machine.
    pub pid: u32,
    /// Arguments, joined by blanks.
    pub command: String,
    /// `KEY=value` pairs, joined by blanks.
    pub environment: String,
}

/// The launcher of the mesh that lives in `home`, and all its descendants.
///
/// # Errors
/// When the file or `/proc` can't be read.
pub fn of_mesh(home: &Path) -> anyhow::Result<Vec<Process>> {
    let path = home.join("run/state.json");
    let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let state: serde_json::Value = serde_json::from_str(&text)?;
    let root = state["pid"].as_u64().and_then(|pid| u32::try_from(pid).ok()).context("a process id")?;
    let mut parents = BTreeMap::new();
    for entry in std::fs::read_dir("/proc")?.flatten() {
        let Ok(pid) = entry.file_name().to_string_lossy().parse::<u32>() else {
            continue;
        };
        let stat = std::fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        let parent = stat.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(1)?.parse::<u32>().ok());
        parents.insert(pid, parent.unwrap_or(0));
    }
    let mut ours = BTreeSet::from([root]);
    loop {
        let more: Vec<_> = parents
            .iter()
            .filter(|(pid, parent)| ours.contains(parent) && !ours.contains(pid))
            .map(|(pid, _)| *pid)
            .collect();
        if more.is_empty() {
            break;
        }
        ours.extend(more);
    }
    Ok(ours.into_iter().filter(|pid| parents.contains_key(pid)).map(describe).collect())
}

/// Sends SIGKILL to the processes of the mesh that `select` picks; at least one.
///
/// # Errors
/// When there is none, or the signal can't be sent.
pub fn kill(home: &Path, select: impl Fn(&Process) -> bool) -> anyhow::Result<()> {
    let chosen: Vec<_> = of_mesh(home)?.into_iter().filter(|process| select(process)).collect();
    ensure!(!chosen.is_empty(), "no such process in the mesh");
    for process in chosen {
        let status = Command::new("kill").args(["-9", &process.pid.to_string()]).stderr(Stdio::null()).status()?;
        // The end of one may already have been the end of others.
        let gone = !Path::new(&format!("/proc/{}", process.pid)).exists();
        ensure!(status.success() || gone, "kill -9 {}: {status}", process.pid);
    }
    Ok(())
}

/// Processor time that a process used so far, in seconds, the kernel's work for it included; counted in steps of 10 ms.
///
/// # Errors
/// When it is gone.
pub fn cpu(pid: u32) -> anyhow::Result<f64> {
    seconds(pid, 11, 2)
}

/// When a process started, in seconds since the machine did; counted in steps of 10 ms.
///
/// # Errors
/// When it is gone.
pub fn started(pid: u32) -> anyhow::Result<f64> {
    seconds(pid, 19, 1)
}

/// The sum of `count` fields of `/proc/PID/stat` that count ticks of the clock; the first after the name is 0.
fn seconds(pid: u32, from: usize, count: usize) -> anyhow::Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).with_context(|| format!("process {pid}"))?;
    let (_, rest) = stat.rsplit_once(") ").context("stat")?;
    let ticks = rest.split(' ').skip(from).take(count).map(str::parse::<f64>).sum::<Result<f64, _>>()?;
    Ok(ticks / 100.0)
}

/// Resident memory of a process, in MiB.
///
/// # Errors
/// When it is gone.
pub fn resident(pid: u32) -> anyhow::Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).with_context(|| format!("process {pid}"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("VmRSS")?;
    let kib: f64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kib / 1024.0)
}

fn describe(pid: u32) -> Process {
    let read = |file: &str| {
        let bytes = std::fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).replace('\0', " ")
    };
    Process { pid, command: read("cmdline"), environment: read("environ") }
}
