//! Watching over a running container: startup, liveness and readiness.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Container, Probe};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};

use super::handler;
use crate::container::spec::Process;

const AGENT: &str = "kube-probe/1.33";
/// How soon a container that has just started is looked at again, before the first period is over.
const EAGER: Duration = Duration::from_millis(50);

/// What a probe is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Startup,
    Liveness,
    Readiness,
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Startup => "Startup",
            Kind::Liveness => "Liveness",
            Kind::Readiness => "Readiness",
        }
    }
}

/// News from a probe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum News {
    /// One attempt failed; why.
    Attempt(String),
    /// Enough attempts in a row agree.
    Verdict(bool),
}

/// The container that is watched.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) container: Arc<Container>,
    pub(crate) process: Arc<Process>,
    pub(crate) pid: i32,
    pub(crate) ip: String,
}

/// How attempts follow each other.
#[derive(Debug, Clone, Copy)]
struct Rhythm {
    delay: Duration,
    period: Duration,
    patience: Duration,
    successes: u32,
    failures: u32,
}

impl Rhythm {
    fn of(probe: &Probe) -> Rhythm {
        let seconds = |value: Option<i32>, default: u64| {
            Duration::from_secs(value.and_then(|v| u64::try_from(v).ok()).unwrap_or(default))
        };
        let count = |value: Option<i32>, default| {
            value.and_then(|v| u32::try_from(v).ok()).filter(|v| *v > 0).unwrap_or(default)
        };
        let at_least = Duration::from_secs(1);
        Rhythm {
            delay: seconds(probe.initial_delay_seconds, 0),
            period: seconds(probe.period_seconds, 10).max(at_least),
            patience: seconds(probe.timeout_seconds, 1).max(at_least),
            successes: count(probe.success_threshold, 1),
            failures: count(probe.failure_threshold, 3),
        }
    }
}

/// Attempts in a row with the same result.
#[derive(Debug, Default)]
struct Streak {
    ok: bool,
    length: u32,
}

impl Streak {
    /// Adds a result; answers a verdict once enough agree.
    fn add(&mut self, ok: bool, rhythm: Rhythm) -> Option<bool> {
        if self.ok != ok {
            *self = Streak { ok, length: 0 };
        }
        self.length = self.length.saturating_add(1);
        let needed = if ok { rhythm.successes } else { rhythm.failures };
        (self.length >= needed).then_some(ok)
    }
}

/// Watches a container until the task is ended: first the startup probe, then the others.
pub(crate) async fn watch(target: Target, news: mpsc::Sender<(Kind, News)>) {
    let container = Arc::clone(&target.container);
    if let Some(probe) = &container.startup_probe {
        run(&target, probe, Kind::Startup, &news).await;
    }
    let (live, ready) = (container.liveness_probe.as_ref(), container.readiness_probe.as_ref());
    tokio::join!(run_if(&target, live, Kind::Liveness, &news), run_if(&target, ready, Kind::Readiness, &news),);
}

async fn run_if(target: &Target, probe: Option<&Probe>, kind: Kind, news: &mpsc::Sender<(Kind, News)>) {
    if let Some(probe) = probe {
        run(target, probe, kind, news).await;
    }
}

/// Attempts again and again. A startup probe ends with its first verdict.
async fn run(target: &Target, probe: &Probe, kind: Kind, news: &mpsc::Sender<(Kind, News)>) {
    let rhythm = Rhythm::of(probe);
    sleep(rhythm.delay).await;
    if kind != Kind::Liveness && eager(target, probe, rhythm).await {
        let _ = news.send((kind, News::Verdict(true))).await;
        if kind == Kind::Startup {
            return;
        }
        sleep(rhythm.period).await;
    }
    let mut streak = Streak::default();
    let mut last = None;
    loop {
        let started = Instant::now();
        let result = attempt(target, probe, rhythm.patience).await;
        let verdict = streak.add(result.is_ok(), rhythm);
        if let Err(reason) = result
            && news.send((kind, News::Attempt(reason))).await.is_err()
        {
            return;
        }
        if let Some(verdict) = verdict.filter(|verdict| last != Some(*verdict)) {
            last = Some(verdict);
            if news.send((kind, News::Verdict(verdict))).await.is_err() || kind == Kind::Startup {
                return;
            }
        }
        sleep(rhythm.period.saturating_sub(started.elapsed())).await;
    }
}

/// Looks often during the first period, so that a quick start is seen at once. Failures don't
/// count here. Answers whether an attempt was fine; a threshold above one is not for this.
async fn eager(target: &Target, probe: &Probe, rhythm: Rhythm) -> bool {
    if rhythm.successes > 1 {
        return false;
    }
    let until = Instant::now() + rhythm.period;
    let mut pause = EAGER;
    while Instant::now() + pause < until {
        if attempt(target, probe, rhythm.patience).await.is_ok() {
            return true;
        }
        sleep(pause).await;
        pause *= 2;
    }
    false
}

async fn attempt(target: &Target, probe: &Probe, patience: Duration) -> Result<(), String> {
    let container = &target.container;
    let work = async {
        if let Some(action) = &probe.http_get {
            handler::http(container, action, &target.ip, AGENT).await
        } else if let Some(action) = &probe.tcp_socket {
            let host = action.host.as_deref().unwrap_or(&target.ip);
            handler::tcp(host, handler::port(container, &action.port)?).await
        } else if let Some(action) = &probe.grpc {
            let port = u16::try_from(action.port).map_err(|e| e.to_string())?;
            handler::grpc(&target.ip, port, action.service.as_deref().unwrap_or_default()).await
        } else if let Some(action) = &probe.exec {
            let command = action.command.as_deref().unwrap_or_default();
            handler::exec(target.pid, &target.process, command, patience).await
        } else {
            Ok(())
        }
    };
    let limit = patience + Duration::from_millis(100);
    match timeout(limit, work).await {
        Ok(result) => result,
        Err(_) => Err("context deadline exceeded (Client.Timeout exceeded while awaiting headers)".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_needs_enough_agreeing_attempts() {
        let probe = Probe { failure_threshold: Some(2), success_threshold: Some(1), ..Probe::default() };
        let rhythm = Rhythm::of(&probe);
        let mut streak = Streak::default();
        let verdicts: Vec<_> = [false, true, false, false, false, true].map(|ok| streak.add(ok, rhythm)).into();
        assert_eq!(verdicts, [None, Some(true), None, Some(false), Some(false), Some(true)]);
        assert_eq!((rhythm.period, rhythm.patience), (Duration::from_secs(10), Duration::from_secs(1)));
    }
}
