//! Load from the client's pod: Debian's h2load and wrk, which speak to the server through both sidecars.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};

use crate::course::Course;

/// What a run of load did, and what both sidecars spent on it.
pub struct Run {
    /// Requests that were answered.
    pub done: f64,
    /// Requests a second.
    pub rate: f64,
    /// Microseconds of processor time of both sidecars.
    pub cpu: f64,
}

impl Run {
    /// Microseconds of processor time for each request.
    pub fn cpu_per_request(&self) -> f64 {
        self.cpu / self.done
    }
}

/// Runs a script in the client's pod that prints how many requests were answered.
///
/// # Errors
/// When the script fails, or nothing was answered.
pub fn run(course: &Course<'_>, racer: &str, script: &str) -> anyhow::Result<Run> {
    let pair = [course.sidecar(racer, "client")?, course.sidecar(racer, "server")?];
    let spent = || -> anyhow::Result<f64> { Ok(pair[0].cpu()? + pair[1].cpu()?) };
    let (before, start) = (spent()?, Instant::now());
    let text = course.in_client(racer, script)?;
    let time = start.elapsed();
    // What the sidecars still write down about the last requests is part of their work.
    std::thread::sleep(Duration::from_millis(300));
    let cpu = spent()? - before;
    let done: f64 = text.trim().parse().with_context(|| format!("a count, not:\n{text}"))?;
    ensure!(done > 0.0, "nothing was answered");
    Ok(Run { done, rate: done / time.as_secs_f64(), cpu })
}

/// h2load for some seconds as fast as it goes; `args` are its further arguments.
///
/// # Errors
/// See [`run`].
pub fn saturate(course: &Course<'_>, racer: &str, seconds: u32, args: &str) -> anyhow::Result<Run> {
    run(course, racer, &format!("h2load -t 1 -D {seconds} {args} > /tmp/h2load 2>&1; {COUNT}"))
}

/// 2,000 requests a second: the run, and the times of all requests in microseconds, sorted.
///
/// # Errors
/// See [`run`].
pub fn paced(course: &Course<'_>, racer: &str, seconds: u32) -> anyhow::Result<(Run, Vec<f64>)> {
    let clients = 20;
    let script = format!(
        "rm -f /tmp/times; h2load -t 1 --h1 -c {clients} --rps {} -n {} --log-file=/tmp/times http://server/ > /tmp/h2load 2>&1; {COUNT}",
        2000 / clients,
        2000 * seconds
    );
    let run = run(course, racer, &script)?;
    let log = course.in_client(racer, "cut -f 3 /tmp/times")?;
    let mut times: Vec<f64> = log.lines().filter_map(|line| line.trim().parse().ok()).collect();
    ensure!(!times.is_empty(), "h2load logged nothing");
    times.sort_by(f64::total_cmp);
    Ok((run, times))
}

/// A new connection for each request, over the port that is carried as bytes: one handshake between the sidecars each.
///
/// # Errors
/// See [`run`].
pub fn connections(course: &Course<'_>, racer: &str, seconds: u32) -> anyhow::Result<Run> {
    let script = format!(
        "wrk -t 1 -c 16 -d {seconds}s -H 'Connection: close' http://server:9090/ > /tmp/wrk 2>&1; \
         sed -n 's/^ *\\([0-9]*\\) requests in.*/\\1/p' /tmp/wrk"
    );
    run(course, racer, &script)
}

/// The number of requests that h2load saw succeed, with bodies; what it said goes on when there were failures.
const COUNT: &str = r#"awk '
    /^requests:/ { done = $8; bad = $10 + $12 + $14 }
    /^traffic:/ { gsub(/[()]/, ""); bytes = $(NF - 1) }
    END {
        if (bad == 0 && bytes > 0) { print done; exit }
        while ((getline line < "/tmp/h2load") > 0) print line > "/dev/stderr"
        exit 1
    }' /tmp/h2load"#;
