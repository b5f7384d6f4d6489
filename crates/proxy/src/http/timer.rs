//! Coarse timers: armed rarely, asked often.

use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::time::{Instant, Sleep, sleep_until};

/// A timer that is only moved when it fires too early, so that a deadline for each request costs nothing while requests
/// are quick.
#[derive(Default)]
pub struct Timer {
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Timer {
    /// Ready once `deadline` has come.
    pub fn poll_at(&mut self, cx: &mut Context<'_>, deadline: Instant) -> Poll<()> {
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if sleep.deadline() > deadline {
            sleep.as_mut().reset(deadline);
        }
        loop {
            if sleep.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            if sleep.deadline() >= deadline || Instant::now() >= deadline {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(deadline);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn deadlines_are_kept_whichever_way_they_move() {
        let mut timer = Timer::default();
        for millis in [5, 20, 10, 30] {
            let deadline = Instant::now() + Duration::from_millis(millis);
            // A later deadline asked for first must not delay an earlier one.
            let later = deadline + Duration::from_secs(60);
            let waker = std::task::Waker::noop();
            assert!(timer.poll_at(&mut Context::from_waker(waker), later).is_pending());
            poll_fn(|cx| timer.poll_at(cx, deadline)).await;
            let late = Instant::now().checked_duration_since(deadline).expect("not too early");
            assert!(late < Duration::from_secs(10), "{late:?}");
        }
    }
}
