//! Lateen's sidecar beside the real Envoy, under the same control plane, in one run: `make bench`, or `make bench-quick`.
//! Prints ratios, and writes them to the file named by `--write`; `--only TEXT` picks figures by name. Judges nothing.

mod course;
mod crowd;
mod figures;
mod load;
mod report;
mod sidecar;
mod start;

use std::time::Instant;

use anyhow::Context;
use lateen_testkit::cluster::{Cluster, User};

use course::{Course, RACERS};
use report::Report;

/// How long and how often everything is measured.
struct Effort {
    /// Alternating rounds for each figure.
    rounds: usize,
    /// Seconds of load in each round.
    seconds: u32,
    /// Whether the slow figures are measured too: memory with much configuration, many connections, other proxies.
    whole: bool,
}

fn main() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let is_known = |arg: &String| matches!(arg.as_str(), "--quick" | "--write" | "--only");
    let unknown = args.iter().find(|arg| arg.starts_with("--") && !is_known(arg));
    anyhow::ensure!(unknown.is_none(), "usage: race [--quick] [--write FILE] [--only PART-OF-A-NAME]");
    let quick = args.iter().any(|arg| arg == "--quick");
    let after = |flag: &str| args.iter().position(|arg| arg == flag).and_then(|at| args.get(at + 1));
    let (file, only) = (after("--write"), after("--only"));
    let effort = if quick {
        Effort { rounds: 2, seconds: 3, whole: false }
    } else {
        Effort { rounds: 3, seconds: 5, whole: true }
    };
    let start = Instant::now();
    let cluster = Cluster::start(User::Root)?;
    let course = Course::lay(&cluster)?;
    let mut report = Report::new();
    let chosen = |name: &str| only.is_none_or(|text| name.contains(text.as_str()));
    for figure in figures::ALL.iter().filter(|figure| (effort.whole || figure.quick) && chosen(figure.name)) {
        eprintln!("[{:>4} s] {}", start.elapsed().as_secs(), figure.name);
        let mut rounds = Vec::new();
        for _ in 0..effort.rounds.min(figure.at_most) {
            let mut pair = Vec::new();
            for racer in RACERS {
                let measured = (figure.measure)(&course, racer, effort.seconds);
                pair.push(measured.with_context(|| format!("{}, {racer}", figure.name))?);
            }
            rounds.push(pair);
        }
        report.add(figure, &rounds);
    }
    print!("{}", report.text());
    if let Some(file) = file {
        report.write(std::path::Path::new(file), start.elapsed())?;
    }
    Ok(())
}
