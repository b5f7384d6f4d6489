//! Outlier detection: endpoints that fail are left out for a while.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use crate::endpoint::EndpointSet;

/// When an endpoint is left out, and for how long.
#[derive(Debug, Clone)]
pub struct OutlierConfig {
    /// Answers 5xx in a row; `None` doesn't count.
    pub consecutive_5xx: Option<u32>,
    /// Answers 502, 503, 504 in a row; `None` doesn't count.
    pub consecutive_gateway: Option<u32>,
    /// Failed connections in a row, when counted apart.
    pub consecutive_local: Option<u32>,
    /// Count failed connections apart from answers.
    pub split_local: bool,
    /// How often endpoints come back.
    pub interval: Duration,
    /// Time out for the first ejection; the n-th lasts n times as long.
    pub base_ejection: Duration,
    /// Longest time out.
    pub max_ejection: Duration,
    /// Share of endpoints that may be out, in percent.
    pub max_percent: u32,
}

/// What is known about one endpoint's recent behaviour.
#[derive(Debug, Default)]
pub struct Health {
    row_5xx: AtomicU32,
    row_gateway: AtomicU32,
    row_local: AtomicU32,
    ejections: AtomicU32,
    ejected_until: AtomicU64,
}

/// How a try at an endpoint ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It answered with this status.
    Status(u16),
    /// No connection, or it broke.
    LocalFailure,
    /// It took too long.
    Timeout,
}

impl Health {
    /// Whether the endpoint is out at `now` (milliseconds of a steady clock).
    pub fn ejected(&self, now: u64) -> bool {
        self.ejected_until.load(Relaxed) > now
    }

    /// Counts an outcome; true when it makes the endpoint an outlier.
    fn count(&self, config: &OutlierConfig, outcome: Outcome) -> bool {
        let (is_5xx, is_gateway, is_local) = match outcome {
            Outcome::Status(status) => ((500..600).contains(&status), (502..=504).contains(&status), false),
            Outcome::Timeout | Outcome::LocalFailure if config.split_local => (false, false, true),
            Outcome::Timeout | Outcome::LocalFailure => (true, true, false),
        };
        if is_local {
            return row(&self.row_local, true, config.consecutive_local);
        }
        self.row_local.store(0, Relaxed);
        let five = row(&self.row_5xx, is_5xx, config.consecutive_5xx);
        let gateway = row(&self.row_gateway, is_gateway, config.consecutive_gateway);
        five || gateway
    }

    fn eject(&self, config: &OutlierConfig, now: u64) {
        let times = self.ejections.fetch_add(1, Relaxed).saturating_add(1);
        let time = config.base_ejection.saturating_mul(times).min(config.max_ejection.max(config.base_ejection));
        self.ejected_until.store(now.saturating_add(time.as_millis() as u64), Relaxed);
        for counter in [&self.row_5xx, &self.row_gateway, &self.row_local] {
            counter.store(0, Relaxed);
        }
    }
}

fn row(counter: &AtomicU32, failed: bool, limit: Option<u32>) -> bool {
    if !failed {
        // The common case writes nothing that other workers read.
        if counter.load(Relaxed) != 0 {
            counter.store(0, Relaxed);
        }
        return false;
    }
    let in_a_row = counter.fetch_add(1, Relaxed).saturating_add(1);
    limit.is_some_and(|limit| limit > 0 && in_a_row >= limit)
}

/// Notes how a try at the endpoint `health` ended at `now`; true when the endpoint is left out from now on.
pub fn report(config: &OutlierConfig, set: &EndpointSet, health: &Health, outcome: Outcome, now: u64) -> bool {
    if !health.count(config, outcome) || health.ejected(now) {
        return false;
    }
    let (mut all, mut out) = (0u64, 0u64);
    for endpoint in set.iter() {
        all += 1;
        out += u64::from(endpoint.state.health.ejected(now));
    }
    // As in Envoy, one endpoint may always go, whatever the share.
    let allowed = out == 0 || (out + 1) * 100 <= all * u64::from(config.max_percent);
    if allowed {
        health.eject(config, now);
    }
    allowed
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> OutlierConfig {
        OutlierConfig {
            consecutive_5xx: Some(3),
            consecutive_gateway: None,
            consecutive_local: None,
            split_local: false,
            interval: Duration::from_secs(10),
            base_ejection: Duration::from_secs(30),
            max_ejection: Duration::from_secs(300),
            max_percent: 10,
        }
    }

    #[test]
    fn failures_in_a_row_eject_for_a_while() {
        let (config, set, health) = (config(), EndpointSet::default(), Health::default());
        let send = |outcome, now| report(&config, &set, &health, outcome, now);
        assert!(!send(Outcome::Status(500), 0));
        assert!(!send(Outcome::LocalFailure, 0));
        assert!(!send(Outcome::Status(200), 0), "a success starts the row again");
        assert!(!send(Outcome::Status(503), 0));
        assert!(!send(Outcome::Status(503), 0));
        assert!(send(Outcome::Timeout, 0));
        assert!(health.ejected(29_999));
        assert!(!health.ejected(30_000));
    }

    #[test]
    fn the_second_time_lasts_twice_as_long() {
        let (config, set, health) = (config(), EndpointSet::default(), Health::default());
        for now in [0, 40_000] {
            for _ in 0..3 {
                report(&config, &set, &health, Outcome::Status(500), now);
            }
        }
        assert!(health.ejected(40_000 + 59_999));
        assert!(!health.ejected(40_000 + 60_000));
    }
}
