//! One container of a pod, over all of its runs.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, PodSpec};
use tokio::time::Instant;

use super::backoff::Backoff;
use super::live::Live;

/// What a container is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// Runs to its end before the next one starts.
    Init,
    /// An init container that keeps running beside the others.
    Sidecar,
    App,
}

/// A run that is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) signal: Option<i32>,
    pub(crate) reason: &'static str,
    pub(crate) message: String,
    pub(crate) started: Option<Timestamp>,
    pub(crate) finished: Timestamp,
    pub(crate) id: String,
}

/// What a container does now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum State {
    Waiting { reason: &'static str, message: String },
    Running { since: Timestamp },
    Ended(Ended),
}

/// One container of a pod.
#[derive(Debug)]
pub(crate) struct Unit {
    pub(crate) role: Role,
    pub(crate) container: Arc<Container>,
    pub(crate) state: State,
    pub(crate) last: Option<Ended>,
    /// How often it was started again.
    pub(crate) restarts: u32,
    /// Counts starts, so that news of an earlier run is known as such.
    pub(crate) run: u64,
    /// Whether it is past its startup probe.
    pub(crate) started: bool,
    pub(crate) ready: bool,
    pub(crate) id: String,
    pub(crate) backoff: Backoff,
    /// Not to be started before this.
    pub(crate) not_before: Option<Instant>,
    /// It can't be started, whatever the time.
    pub(crate) stuck: bool,
    pub(crate) live: Option<Arc<Live>>,
}

/// When containers are started again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RestartPolicy {
    Always,
    OnFailure,
    Never,
}

impl RestartPolicy {
    pub(crate) fn of(spec: &PodSpec) -> Self {
        match spec.restart_policy.as_deref() {
            Some("OnFailure") => RestartPolicy::OnFailure,
            Some("Never") => RestartPolicy::Never,
            _ => RestartPolicy::Always,
        }
    }
}

/// The containers of a pod in the order of their start.
pub(crate) fn units(spec: &PodSpec) -> Vec<Unit> {
    let init = spec.init_containers.iter().flatten().map(|container| {
        let sidecar = container.restart_policy.as_deref() == Some("Always");
        Unit::new(if sidecar { Role::Sidecar } else { Role::Init }, container)
    });
    let blocked = spec.init_containers.as_ref().is_some_and(|init| !init.is_empty());
    let mut units: Vec<Unit> =
        init.chain(spec.containers.iter().map(|container| Unit::new(Role::App, container))).collect();
    if blocked {
        for unit in &mut units {
            unit.state = State::Waiting { reason: "PodInitializing", message: String::new() };
        }
    }
    units
}

impl Unit {
    fn new(role: Role, container: &Container) -> Unit {
        Unit {
            role,
            container: Arc::new(container.clone()),
            state: State::Waiting { reason: "ContainerCreating", message: String::new() },
            last: None,
            restarts: 0,
            run: 0,
            started: false,
            ready: false,
            id: String::new(),
            backoff: Backoff::default(),
            not_before: None,
            stuck: false,
            live: None,
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.container.name
    }

    pub(crate) fn is_running(&self) -> bool {
        matches!(self.state, State::Running { .. })
    }

    /// Whether it has run to an end that was fine.
    pub(crate) fn succeeded(&self) -> bool {
        matches!(&self.state, State::Ended(ended) if ended.code == 0)
    }

    /// Whether a run that ended with `code` is followed by another.
    pub(crate) fn restarts_after(&self, code: i32, policy: RestartPolicy) -> bool {
        match (self.role, policy) {
            (Role::Sidecar, _) => true,
            (Role::Init, RestartPolicy::Never) | (Role::App, RestartPolicy::Never) => false,
            (Role::App, RestartPolicy::Always) => true,
            (Role::Init, _) | (Role::App, RestartPolicy::OnFailure) => code != 0,
        }
    }

    /// Whether it is to be started when its turn comes.
    fn wants_start(&self, policy: RestartPolicy) -> bool {
        match &self.state {
            State::Waiting { .. } => !self.stuck,
            State::Running { .. } => false,
            State::Ended(ended) => self.restarts_after(ended.code, policy),
        }
    }

    /// It runs now.
    pub(crate) fn begin(&mut self, live: Arc<Live>, id: String, now: Timestamp) {
        let container = &self.container;
        self.started = container.startup_probe.is_none();
        self.ready = self.started && container.readiness_probe.is_none();
        self.state = State::Running { since: now };
        self.id = id;
        self.not_before = None;
        self.live = Some(live);
    }

    /// Its run is over, and another follows after a while if the policy says so. Answers how long.
    pub(crate) fn end(&mut self, ended: Ended, policy: RestartPolicy, now: Instant) -> Option<Duration> {
        let ran = match (&ended.started, ended.finished) {
            (Some(started), finished) => Duration::try_from(finished.duration_since(*started)).ok(),
            (None, _) => None,
        };
        self.live = None;
        self.started = false;
        self.ready = self.role == Role::Init && ended.code == 0;
        let again = self.restarts_after(ended.code, policy);
        self.state = State::Ended(ended);
        if !again {
            return None;
        }
        let wait = self.backoff.after(ran.unwrap_or_default());
        self.not_before = Some(now + wait);
        Some(wait)
    }
}

/// What is to be done about a pod's containers now.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Start this one.
    Start(usize),
    /// Nothing before this time, or before something happens.
    Wait(Option<Instant>),
    /// All has been done; the pod is over.
    Finished,
}

/// Whether all init containers have done their part. Once true for a pod it stays so.
pub(crate) fn initialized(units: &[Unit]) -> bool {
    units.iter().all(|unit| match unit.role {
        Role::Init => unit.succeeded(),
        Role::Sidecar => unit.started,
        Role::App => true,
    })
}

/// Decides what to do next. `initialized` says whether the pod was past its init containers.
pub(crate) fn next(units: &[Unit], policy: RestartPolicy, initialized: bool, now: Instant) -> Next {
    let mut wake: Option<Instant> = None;
    let mut can_start = |unit: &Unit| match unit.not_before.filter(|at| *at > now) {
        Some(at) => {
            wake = Some(wake.map_or(at, |wake| wake.min(at)));
            false
        }
        None => true,
    };
    for (index, unit) in units.iter().enumerate() {
        match unit.role {
            Role::Init if initialized || unit.succeeded() => {}
            Role::Init => {
                if unit.wants_start(policy) && can_start(unit) {
                    return Next::Start(index);
                }
                let failed = matches!(unit.state, State::Ended(_)) && !unit.wants_start(policy);
                return if failed { Next::Finished } else { Next::Wait(wake) };
            }
            Role::Sidecar => {
                if unit.wants_start(policy) && can_start(unit) {
                    return Next::Start(index);
                }
                if !initialized && !unit.started {
                    return Next::Wait(wake);
                }
            }
            Role::App => {
                if unit.wants_start(policy) && can_start(unit) {
                    return Next::Start(index);
                }
            }
        }
    }
    let mut apps = units.iter().filter(|unit| unit.role == Role::App);
    let over = |unit: &Unit| matches!(unit.state, State::Ended(_)) && !unit.wants_start(policy);
    if apps.all(over) { Next::Finished } else { Next::Wait(wake) }
}
