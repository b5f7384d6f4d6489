//! How long to wait before a container is started again.

use std::time::Duration;

const FIRST: Duration = Duration::from_secs(10);
const LONGEST: Duration = Duration::from_secs(300);
/// A container that ran this long starts with a clean slate.
const FORGIVEN: Duration = Duration::from_secs(600);

/// The waiting time of one container: none at first, then doubled from restart to restart.
#[derive(Debug, Clone, Default)]
pub(crate) struct Backoff {
    next: Option<Duration>,
}

impl Backoff {
    /// The time to wait after a run that lasted `ran`.
    pub(crate) fn after(&mut self, ran: Duration) -> Duration {
        if ran >= FORGIVEN {
            self.next = None;
        }
        let wait = self.next.unwrap_or(Duration::ZERO);
        self.next = Some(if wait.is_zero() { FIRST } else { (wait * 2).min(LONGEST) });
        wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_five_minutes_and_are_forgiven() {
        let mut backoff = Backoff::default();
        let brief = Duration::from_secs(1);
        let waits: Vec<u64> = (0..8).map(|_| backoff.after(brief).as_secs()).collect();
        assert_eq!(waits, [0, 10, 20, 40, 80, 160, 300, 300]);
        assert_eq!(backoff.after(FORGIVEN).as_secs(), 0);
    }
}
