//! When changes become a push.

use std::time::{Duration, Instant};

/// Merges changes that come close together.
///
/// The first change after a quiet time is due at once. Changes that follow a push wait for its
/// window to end; while changes keep coming the window doubles up to a maximum, so that a storm
/// costs few pushes, and it shrinks again as soon as a window passes without a change.
#[derive(Debug)]
pub struct Debounce {
    window: Duration,
    max: Duration,
    current: Duration,
    last_push: Option<Instant>,
    pending_since: Option<Instant>,
}

impl Debounce {
    /// A window that grows from `window` to `max`.
    pub fn new(window: Duration, max: Duration) -> Self {
        Debounce { window, max, current: window, last_push: None, pending_since: None }
    }

    /// Notes a change.
    pub fn changed(&mut self, now: Instant) {
        self.pending_since.get_or_insert(now);
    }

    /// When the pending changes are due; `None` if there are none.
    pub fn due(&self) -> Option<Instant> {
        let pending = self.pending_since?;
        Some(self.last_push.map_or(pending, |last| pending.max(last + self.current)))
    }

    /// Notes that the pending changes were pushed; says since when the oldest waited.
    pub fn pushed(&mut self, now: Instant) -> Option<Instant> {
        let busy =
            self.last_push.is_some_and(|last| self.pending_since.is_some_and(|pending| pending < last + self.current));
        self.current = if busy { (self.current * 2).min(self.max) } else { self.window };
        self.last_push = Some(now);
        self.pending_since.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn first_change_after_quiet_is_due_at_once() {
        let start = Instant::now();
        let mut debounce = Debounce::new(20 * MS, 100 * MS);
        assert_eq!(debounce.due(), None);
        debounce.changed(start);
        assert_eq!(debounce.due(), Some(start));
        debounce.pushed(start);
        debounce.changed(start + 50 * MS);
        assert_eq!(debounce.due(), Some(start + 50 * MS));
    }

    #[test]
    fn changes_close_to_a_push_are_merged_in_growing_windows() {
        let start = Instant::now();
        let mut debounce = Debounce::new(20 * MS, 100 * MS);
        debounce.changed(start);
        let mut now = start;
        let mut windows = Vec::new();
        debounce.pushed(now);
        for _ in 0..5 {
            debounce.changed(now + MS);
            debounce.changed(now + 2 * MS);
            let due = debounce.due().unwrap();
            windows.push((due - now).as_millis());
            assert_eq!(debounce.pushed(due), Some(now + MS));
            now = due;
        }
        assert_eq!(windows, [20, 40, 80, 100, 100]);
        debounce.changed(now + 500 * MS);
        assert_eq!(debounce.due(), Some(now + 500 * MS));
    }
}
