//! Growing pauses between attempts.

use std::time::Duration;

/// Doubles from a first pause to a longest one; each is varied by up to a quarter.
#[derive(Clone, Debug)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
    failures: u32,
}

impl Backoff {
    /// Starts with `first`.
    pub fn new(first: Duration, longest: Duration) -> Backoff {
        Backoff { first, longest, failures: 0 }
    }

    /// The pause after one more failure.
    pub fn next(&mut self) -> Duration {
        self.failures = self.failures.saturating_add(1);
        self.pause(self.failures, fastrand::f64())
    }

    /// The pause after that many failures in a row; `chance` is from 0 to 1.
    pub fn pause(&self, failures: u32, chance: f64) -> Duration {
        let doublings = failures.saturating_sub(1).min(20);
        let pause = self.first.saturating_mul(1 << doublings).min(self.longest);
        pause.mul_f64(0.75 + chance * 0.5)
    }

    /// It worked: begin anew.
    pub fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_up_to_the_longest() {
        let backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(1));
        let pauses: Vec<u128> = (1..=6).map(|n| backoff.pause(n, 0.5).as_millis()).collect();
        assert_eq!(pauses, [100, 200, 400, 800, 1000, 1000]);
        assert_eq!(backoff.pause(u32::MAX, 1.0), Duration::from_millis(1250));
    }
}
