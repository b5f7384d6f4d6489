//! What is known about traffic: Istio's metrics and the access log.
//!
//! Each worker writes to a shard of its own; the shards are summed when somebody asks.

pub mod access_log;
mod authentication;
mod authorization;
mod callers;
mod histogram;
mod identity;
mod key;
mod labels;
mod own;
mod prometheus;
mod series;
mod shard;

use std::sync::Arc;
use std::time::SystemTime;

use lateen_proxy_core::rbac::Verdict;
use parking_lot::Mutex;
use serde_json::Value;

pub use identity::Identity;
pub use own::ProcessStats;

use crate::record::{Record, Sink, Tokens};
use crate::state::State;
use access_log::AccessLogs;
use shard::Shard;

/// Takes records of all workers.
pub struct Telemetry {
    shards: Vec<Mutex<Shard>>,
    identity: Identity,
    logs: AccessLogs,
    process: ProcessStats,
    state: Arc<State>,
}

impl Telemetry {
    /// For that many workers.
    pub fn new(workers: usize, identity: Identity, state: Arc<State>) -> Telemetry {
        let shards = (0..workers.max(1)).map(|_| Mutex::default()).collect();
        Telemetry { shards, identity, logs: AccessLogs::start(), process: ProcessStats::new(), state }
    }

    /// Figures about the process itself.
    pub fn process(&self) -> &ProcessStats {
        &self.process
    }

    /// Writes out what the access log still holds.
    pub fn flush(&self) {
        self.logs.flush();
    }

    /// The shard of a worker. Only that worker and, for a moment, whoever reads metrics lock it.
    fn shard(&self, worker: usize) -> parking_lot::MutexGuard<'_, Shard> {
        self.shards[worker % self.shards.len()].lock()
    }
}

impl Sink for Telemetry {
    fn record(&self, worker: usize, record: &Record<'_>) {
        let mut shard = self.shard(worker);
        if record.stats {
            let series = shard.series(record, &self.identity);
            match record.request {
                Some(request) => series.request_ended(record, &request),
                None => series.stream_closed(),
            }
        }
        shard.callers.add(record);
        if !record.access_logs.is_empty() {
            shard.log(record, &self.logs);
        }
    }

    fn tcp_opened(&self, worker: usize, record: &Record<'_>) {
        if record.stats {
            self.shard(worker).series(record, &self.identity).stream_opened();
        }
    }

    fn tcp_progress(&self, worker: usize, record: &Record<'_>, received: u64, sent: u64) {
        if record.stats {
            self.shard(worker).series(record, &self.identity).stream_moved(received, sent);
        }
    }

    fn authorized(&self, worker: usize, manager: Option<&Arc<str>>, verdict: &Verdict<'_>) {
        self.shard(worker).authorization.add(manager, verdict);
    }

    fn authenticated(&self, worker: usize, manager: &Arc<str>, outcome: Tokens) {
        self.shard(worker).authentication.add(manager, outcome);
    }
}

impl Telemetry {
    /// All figures, in Prometheus' text form.
    pub fn text(&self) -> String {
        let mut sums = prometheus::Sums::default();
        let mut authorization = authorization::Counts::default();
        let mut authentication = authentication::Counts::default();
        for shard in &self.shards {
            // Only the list is copied under the lock.
            let (all, counts, tokens) = {
                let shard = shard.lock();
                (shard.all(), shard.authorization.clone(), shard.authentication.clone())
            };
            authentication.merge(&tokens);
            authorization.merge(&counts);
            all.iter().for_each(|series| sums.add(series));
        }
        let mut out = String::new();
        sums.write(&mut out);
        authorization.write(&mut out);
        authentication.write(&mut out);
        self.process.write(&mut out, &self.state.tables(), self.logs.dropped());
        out
    }
}

impl Telemetry {
    /// Who has called this workload and for what, as JSON.
    pub fn callers(&self, now: SystemTime) -> Value {
        let mut sum = callers::Callers::default();
        for shard in &self.shards {
            let seen = shard.lock().callers.clone();
            sum.merge(seen);
        }
        sum.to_json(now)
    }
}

impl crate::status::Metrics for Telemetry {
    async fn prometheus(&self) -> String {
        self.text()
    }
}

#[cfg(test)]
mod tests;
