//! Buffers: borrowed from the worker's stock while bytes are in flight.

use std::cell::RefCell;
use std::io;
use std::task::{Context, Poll, ready};

use crate::io::Stream;

/// Size of a buffer.
pub const SIZE: usize = 16 << 10;
/// Buffers that a worker keeps for later.
const KEPT: usize = 128;

thread_local! {
    static STOCK: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// A buffer of [`SIZE`] bytes, whatever is in it.
fn take() -> Vec<u8> {
    STOCK.with_borrow_mut(Vec::pop).unwrap_or_else(|| vec![0; SIZE])
}

/// Gives a buffer back; one that grew is let go.
fn give(buffer: Vec<u8>) {
    if buffer.len() != SIZE {
        return;
    }
    STOCK.with_borrow_mut(|stock| {
        if stock.len() < KEPT {
            stock.push(buffer);
        }
    });
}

/// Bytes read and not yet used. Holds no memory while it is empty and nobody reads.
#[derive(Default)]
pub struct Inbuf {
    data: Vec<u8>,
    /// A head that stays in place while the body goes by behind it.
    pinned: usize,
    start: usize,
    end: usize,
}

impl Drop for Inbuf {
    fn drop(&mut self) {
        self.release();
    }
}

/// Bytes taken out of an [`Inbuf`], without being copied.
#[derive(Default)]
pub struct HeadBuf {
    data: Vec<u8>,
    start: usize,
    end: usize,
}

impl std::ops::Deref for HeadBuf {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.data[self.start..self.end]
    }
}

impl Drop for HeadBuf {
    fn drop(&mut self) {
        give(std::mem::take(&mut self.data));
    }
}

impl Inbuf {
    /// The bytes not yet used.
    pub fn bytes(&self) -> &[u8] {
        &self.data[self.start..self.end]
    }

    /// As [`Inbuf::bytes`], to change them in place.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.data[self.start..self.end]
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Marks `n` bytes as used.
    pub fn consume(&mut self, n: usize) {
        self.start = (self.start + n).min(self.end);
        if self.start == self.end {
            (self.start, self.end) = (self.pinned, self.pinned);
        }
    }

    /// Keeps the first `n` unused bytes as a head: they count as used, but stay.
    pub fn pin(&mut self, n: usize) {
        self.data.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        (self.start, self.pinned) = (n, n);
        self.consume(0);
    }

    /// The head that was kept.
    pub fn head(&self) -> &[u8] {
        &self.data[..self.pinned]
    }

    /// Lets go of the head.
    pub fn unpin(&mut self) {
        self.pinned = 0;
        if self.is_empty() {
            self.release();
        }
    }

    /// Takes the first `n` unused bytes out as a buffer of their own.
    pub fn split(&mut self, n: usize) -> HeadBuf {
        let mut rest = Vec::new();
        let (start, end) = (self.start, self.start + n);
        let left = self.end - end;
        if left > 0 {
            rest = take();
            rest.resize(left.max(SIZE), 0);
            rest[..left].copy_from_slice(&self.data[end..self.end]);
        }
        let data = std::mem::replace(&mut self.data, rest);
        (self.start, self.end, self.pinned) = (0, left, 0);
        HeadBuf { data, start, end }
    }

    /// Gives the memory back when there is nothing in it.
    pub fn release(&mut self) {
        if self.pinned == 0 && !self.data.is_empty() {
            give(std::mem::take(&mut self.data));
            (self.start, self.end) = (0, 0);
        }
    }

    /// Puts bytes in front of the unused ones.
    pub fn unread(&mut self, bytes: &[u8]) {
        let mut data = bytes.to_vec();
        data.extend_from_slice(self.bytes());
        let len = data.len();
        data.resize(len.max(SIZE), 0);
        (self.data, self.start, self.end, self.pinned) = (data, 0, len, 0);
    }

    /// Room for reading; grows up to `limit` bytes in all.
    fn room(&mut self, limit: usize) -> &mut [u8] {
        if self.data.is_empty() {
            self.data = take();
        }
        if self.end == self.data.len() && self.start > self.pinned {
            self.data.copy_within(self.start..self.end, self.pinned);
            self.end -= self.start - self.pinned;
            self.start = self.pinned;
        }
        if self.end == self.data.len() && self.data.len() < limit {
            let size = (self.data.len() * 2).min(limit);
            self.data.resize(size, 0);
        }
        &mut self.data[self.end..]
    }

    /// Reads more; 0 is the end, or that there is no room up to `limit`.
    pub async fn fill(&mut self, stream: &Stream, limit: usize) -> io::Result<usize> {
        std::future::poll_fn(|cx| self.poll_fill(cx, stream, limit)).await
    }

    /// As [`Inbuf::fill`], as a poll. Takes a buffer only once there is something to read.
    pub fn poll_fill(&mut self, cx: &mut Context<'_>, stream: &Stream, limit: usize) -> Poll<io::Result<usize>> {
        if self.data.is_empty() {
            ready!(stream.poll_readable(cx))?;
        }
        let room = self.room(limit);
        if room.is_empty() {
            return Poll::Ready(Ok(0));
        }
        match stream.poll_read(cx, room) {
            Poll::Ready(Ok(n)) => {
                self.end += n;
                Poll::Ready(Ok(n))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => {
                if self.is_empty() {
                    self.release();
                }
                Poll::Pending
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pinned_head_stays_while_the_body_goes_by() {
        let mut inbuf = Inbuf::default();
        inbuf.unread(b"xxheadbody");
        inbuf.consume(2);
        inbuf.pin(4);
        assert_eq!((inbuf.head(), inbuf.bytes()), (&b"head"[..], &b"body"[..]));
        inbuf.consume(4);
        assert!(inbuf.is_empty());
        assert_eq!(inbuf.head(), b"head");
        inbuf.room(SIZE)[..3].copy_from_slice(b"abc");
        inbuf.end += 3;
        assert_eq!((inbuf.head(), inbuf.bytes()), (&b"head"[..], &b"abc"[..]));
        inbuf.consume(3);
        inbuf.unpin();
        assert!(inbuf.data.is_empty());
    }

    #[test]
    fn a_split_head_is_its_own_and_the_rest_stays() {
        let mut inbuf = Inbuf::default();
        inbuf.unread(b"headnext");
        assert_eq!(&*inbuf.split(4), b"head");
        assert_eq!(inbuf.bytes(), b"next");
        assert_eq!(&*inbuf.split(4), b"next");
        assert!(inbuf.is_empty() && inbuf.data.is_empty());
    }
}
