//! A body that goes to two places: the second place gets what the first one took, and never slows it down.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::HeaderMap;

/// Bytes that may wait for the second place; a copy that falls further behind is given up.
const MAX_WAITING: usize = 1 << 20;

#[derive(Default)]
struct Shared {
    waiting: VecDeque<Bytes>,
    bytes: usize,
    end: Option<End>,
    waker: Option<Waker>,
}

enum End {
    Whole(Option<HeaderMap>),
    Broken,
}

/// The end that is written to.
pub struct Feed(Rc<RefCell<Shared>>);

/// The end that is read from.
pub struct Tap(Rc<RefCell<Shared>>);

/// The body broke off, or this copy of it was too slow.
#[derive(Debug)]
pub struct Broken;

/// Both ends.
pub fn tee() -> (Feed, Tap) {
    let shared = Rc::new(RefCell::new(Shared::default()));
    (Feed(shared.clone()), Tap(shared))
}

impl Feed {
    /// Adds data.
    pub fn push(&self, data: &[u8]) {
        if Rc::strong_count(&self.0) == 1 {
            return;
        }
        let mut shared = self.0.borrow_mut();
        if shared.end.is_some() {
            return;
        }
        if shared.bytes + data.len() > MAX_WAITING {
            shared.waiting.clear();
            shared.end = Some(End::Broken);
        } else {
            shared.bytes += data.len();
            shared.waiting.push_back(Bytes::copy_from_slice(data));
        }
        shared.wake();
    }

    /// The body is whole.
    pub fn finish(self, trailers: Option<HeaderMap>) {
        self.end(End::Whole(trailers));
    }

    fn end(&self, end: End) {
        let mut shared = self.0.borrow_mut();
        shared.end.get_or_insert(end);
        shared.wake();
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.end(End::Broken);
    }
}

impl Shared {
    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

impl Tap {
    /// The next piece; `None` at the end.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Broken>> {
        let mut shared = self.0.borrow_mut();
        if let Some(piece) = shared.waiting.pop_front() {
            shared.bytes -= piece.len();
            return Poll::Ready(Ok(Some(piece)));
        }
        match shared.end {
            Some(End::Whole(_)) => Poll::Ready(Ok(None)),
            Some(End::Broken) => Poll::Ready(Err(Broken)),
            None => {
                shared.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    /// Whether all of it was read.
    pub fn is_over(&self) -> bool {
        let shared = self.0.borrow();
        shared.waiting.is_empty() && matches!(shared.end, Some(End::Whole(_)))
    }

    /// The trailers, once it is over.
    pub fn trailers(&mut self) -> Option<HeaderMap> {
        match &mut self.0.borrow_mut().end {
            Some(End::Whole(trailers)) => trailers.take(),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(tap: &mut Tap) -> Poll<Result<Option<Bytes>, ()>> {
        tap.poll_next(&mut Context::from_waker(Waker::noop())).map_err(drop)
    }

    #[test]
    fn what_was_pushed_comes_out_with_the_trailers() {
        let (feed, mut tap) = tee();
        assert!(next(&mut tap).is_pending());
        feed.push(b"ab");
        feed.push(b"c");
        assert_eq!(next(&mut tap), Poll::Ready(Ok(Some(Bytes::from_static(b"ab")))));
        feed.finish(Some(HeaderMap::new()));
        assert!(!tap.is_over());
        assert_eq!(next(&mut tap), Poll::Ready(Ok(Some(Bytes::from_static(b"c")))));
        assert_eq!(next(&mut tap), Poll::Ready(Ok(None)));
        assert!(tap.is_over() && tap.trailers().is_some());
    }

    #[test]
    fn a_copy_that_is_too_slow_or_cut_off_breaks() {
        let (feed, mut tap) = tee();
        for _ in 0..=MAX_WAITING / 1024 {
            feed.push(&[0; 1024]);
        }
        assert_eq!(next(&mut tap), Poll::Ready(Err(())));
        let (feed, mut tap) = tee();
        drop(feed);
        assert_eq!(next(&mut tap), Poll::Ready(Err(())));
    }
}
