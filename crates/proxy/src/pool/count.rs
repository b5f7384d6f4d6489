//! Counts against a cluster's limits, given back when dropped.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use lateen_proxy_core::cluster::ClusterState;

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Slot {
    /// Open connections.
    Connections,
    /// Requests that wait for one.
    Pending,
    /// Requests under way.
    Requests,
    /// Retries under way.
    Retries,
}

impl Slot {
    fn counter(self, state: &ClusterState) -> &AtomicU32 {
        match self {
            Self::Connections => &state.connections,
            Self::Pending => &state.pending,
            Self::Requests => &state.requests,
            Self::Retries => &state.retries,
        }
    }
}

/// A limit is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("circuit breaker: {limit} {what} are under way, which is the limit")]
pub struct Full {
    what: &'static str,
    limit: u32,
}

/// One that counts.
#[derive(Debug)]
pub struct Counted {
    state: Arc<ClusterState>,
    slot: Slot,
}

impl Counted {
    /// Counts one more, unless that is beyond `limit`.
    pub fn take(state: &Arc<ClusterState>, slot: Slot, limit: u32) -> Result<Self, Full> {
        let counter = slot.counter(state);
        let before = counter.fetch_add(1, Relaxed);
        if before >= limit {
            counter.fetch_sub(1, Relaxed);
            let what = match slot {
                Slot::Connections => "connections",
                Slot::Pending => "waiting requests",
                Slot::Requests => "requests",
                Slot::Retries => "retries",
            };
            return Err(Full { what, limit });
        }
        Ok(Self { state: state.clone(), slot })
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.slot.counter(&self.state).fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_holds_and_is_given_back() {
        let state = Arc::new(ClusterState::default());
        let first = Counted::take(&state, Slot::Requests, 1).expect("free");
        let refused = Counted::take(&state, Slot::Requests, 1).expect_err("full");
        assert_eq!(refused.to_string(), "circuit breaker: 1 requests are under way, which is the limit");
        drop(first);
        assert!(Counted::take(&state, Slot::Requests, 1).is_ok());
    }
}
