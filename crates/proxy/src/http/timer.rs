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

    #[tokio::test(start_paused = true)]
    async fn deadlines_are_kept_whichever_way_they_move() {
        let mut timer = Timer::default();
        let begin = Instant::now();
        for millis in [50, 200, 100, 300] {
            let deadline = Instant::now() + Duration::from_millis(millis);
            poll_fn(|cx| timer.poll_at(cx, deadline)).await;
            assert_eq!(Instant::now(), deadline);
        }
        assert_eq!(begin.elapsed(), Duration::from_millis(650));
    }
}
