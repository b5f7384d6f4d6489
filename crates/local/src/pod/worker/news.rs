//! What the worker makes of news about its containers.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::watch;
use tokio::time::Instant;

use super::{Happened, What, Worker};
use crate::container::running::Exit;
use crate::events::Type;
use crate::pod::launch::message_path;
use crate::pod::probe::{Kind, News};
use crate::pod::stop;
use crate::pod::unit::{Ended, State};

/// Longer last messages are cut.
const MESSAGE_LIMIT: usize = 4096;
const DEFAULT_GRACE: i64 = 30;

impl Worker {
    pub(super) fn handle(&mut self, happened: Happened) {
        let unit = happened.unit;
        if self.units[unit].run != happened.run || self.units[unit].live.is_none() {
            return;
        }
        match happened.what {
            What::Exited(exit) => self.exited(unit, exit),
            What::Probe(kind, News::Attempt(reason)) => {
                let text = format!("{} probe failed: {reason}", kind.name());
                self.say_of(unit, Type::Warning, "Unhealthy", &text);
            }
            What::Probe(kind, News::Verdict(fine)) => self.judged(unit, kind, fine),
        }
    }

    fn judged(&mut self, index: usize, kind: Kind, fine: bool) {
        let unit = &mut self.units[index];
        match (kind, fine) {
            (Kind::Startup, true) => {
                unit.started = true;
                unit.ready |= unit.container.readiness_probe.is_none();
            }
            (Kind::Readiness, fine) => unit.ready = fine,
            (Kind::Liveness, true) => {}
            (Kind::Startup | Kind::Liveness, false) => {
                let which = kind.name().to_lowercase();
                let text = format!("Container {} failed {which} probe, will be restarted", unit.name());
                self.say_of(index, Type::Normal, "Killing", &text);
                self.stop_one(index, kind);
            }
        }
    }

    /// Ends one container, which is then started again as its policy says.
    fn stop_one(&self, index: usize, kind: Kind) {
        let Some(live) = self.units[index].live.clone() else { return };
        let probe = match kind {
            Kind::Startup => live.spec.startup_probe.as_ref(),
            _ => live.spec.liveness_probe.as_ref(),
        };
        let own = probe.and_then(|probe| probe.termination_grace_period_seconds);
        let grace = own.or(self.spec.termination_grace_period_seconds).unwrap_or(DEFAULT_GRACE);
        let grace = Duration::from_secs(u64::try_from(grace).unwrap_or(0));
        let (_keep, deadline) = watch::channel(Instant::now() + grace);
        tokio::spawn(stop::one(Arc::clone(&live), deadline));
    }

    fn exited(&mut self, index: usize, exit: Exit) {
        let unit = &self.units[index];
        let started = match unit.state {
            State::Running { since } => Some(since),
            _ => None,
        };
        let message = self.last_words(index);
        self.ended(
            index,
            Ended {
                code: exit.code,
                signal: exit.signal,
                reason: if exit.code == 0 { "Completed" } else { "Error" },
                message,
                started,
                finished: Timestamp::now(),
                id: self.units[index].id.clone(),
            },
        );
    }

    fn last_words(&self, index: usize) -> String {
        let path = message_path(&self.paths, self.units[index].name());
        let bytes = std::fs::read(path).unwrap_or_default();
        String::from_utf8_lossy(&bytes[..bytes.len().min(MESSAGE_LIMIT)]).into_owned()
    }

    /// Notes the end of a run, and when the next one may begin.
    pub(super) fn ended(&mut self, index: usize, ended: Ended) {
        let policy = self.facts.policy;
        let wait = self.units[index].end(ended.clone(), policy, Instant::now());
        let name = self.units[index].name().to_owned();
        self.context.registry.note(&self.uid, &name, |entry| {
            entry.live = None;
            entry.log = None;
        });
        if self.facts.stopped {
            return;
        }
        if let Some(wait) = wait.filter(|wait| !wait.is_zero()) {
            let full = self.full_name();
            let unit = &mut self.units[index];
            unit.last = Some(ended);
            unit.state = State::Waiting {
                reason: "CrashLoopBackOff",
                message: format!("back-off {}s restarting failed container={name} pod={full}", wait.as_secs()),
            };
            // The run that has just ended is the one before the next.
            self.context.registry.note(&self.uid, &name, |entry| entry.previous.clone_from(&entry.path));
            let text = format!("Back-off restarting failed container {name} in pod {full}");
            self.say_of(index, Type::Warning, "BackOff", &text);
        }
    }
}
