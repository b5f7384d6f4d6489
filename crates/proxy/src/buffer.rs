//! Buffers: borrowed from the worker's stock while bytes are in flight.

use std::cell::RefCell;
use std::io;
use std::task::{Context, Poll, ready};

use crate::io::Stream;

/// Size of a buffer.
pub const SIZE: usize = 16 << 10;
/// Size of a buffer while a body comes faster than it is passed on: each system call moves more.
pub const BULK: usize = 4 * SIZE;

/// Buffers of one size that a worker keeps for later.
struct Stock {
    size: usize,
    most: usize,
    buffers: RefCell<Vec<Vec<u8>>>,
}

thread_local! {
    static STOCKS: [Stock; 2] = const {
        [Stock { size: SIZE, most: 128, buffers: RefCell::new(Vec::new()) },
         Stock { size: BULK, most: 8, buffers: RefCell::new(Vec::new()) }]
    };
}

/// A buffer of `size` bytes, [`SIZE`] or [`BULK`], whatever is in it.
fn take(size: usize) -> Vec<u8> {
    let kept = STOCKS.with(|stocks| {
        stocks.iter().find(|stock| stock.size == size).and_then(|stock| stock.buffers.borrow_mut().pop())
    });
    kept.unwrap_or_else(|| vec![0; size])
}

/// Gives a buffer back; one of another size is let go.
fn give(buffer: Vec<u8>) {
    STOCKS.with(|stocks| {
        if let Some(stock) = stocks.iter().find(|stock| stock.size == buffer.len()) {
            let mut buffers = stock.buffers.borrow_mut();
            if buffers.len() < stock.most {
                buffers.push(buffer);
            }
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
    /// The last read brought as much as a read may.
    rushing: bool,
    /// What ended a read that had brought bytes before.
    failed: Option<io::Error>,
}

impl Drop for Inbuf {
    fn drop(&mut self) {
        self.release();
    }
}

/// Bytes on their way out. Holds no memory while it is empty.
#[derive(Default)]
pub struct Outbuf {
    data: Vec<u8>,
    start: usize,
    end: usize,
}

impl Outbuf {
    /// The bytes not yet written.
    pub fn bytes(&self) -> &[u8] {
        &self.data[self.start..self.end]
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Whether there are [`BULK`] bytes, and so no room for more.
    pub fn is_full(&self) -> bool {
        self.end == BULK
    }

    /// Takes as many of the bytes as there is room for, and tells how many.
    pub fn push(&mut self, bytes: &[u8]) -> usize {
        let size = if self.end + bytes.len() <= SIZE { SIZE } else { BULK };
        if self.data.len() < size {
            let mut data = take(size);
            data[..self.end].copy_from_slice(&self.data[..self.end]);
            give(std::mem::replace(&mut self.data, data));
        }
        let n = bytes.len().min(self.data.len() - self.end);
        self.data[self.end..self.end + n].copy_from_slice(&bytes[..n]);
        self.end += n;
        n
    }

    /// Marks `n` bytes as written.
    pub fn consume(&mut self, n: usize) {
        self.start += n;
        if self.is_empty() {
            give(std::mem::take(&mut self.data));
            (self.start, self.end) = (0, 0);
        }
    }
}

impl Drop for Outbuf {
    fn drop(&mut self) {
        give(std::mem::take(&mut self.data));
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
            rest = take(SIZE);
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
        if self.rushing && self.data.len() < BULK && limit >= BULK {
            let mut data = take(BULK);
            data[..self.end].copy_from_slice(&self.data[..self.end]);
            give(std::mem::replace(&mut self.data, data));
        }
        if self.data.is_empty() {
            self.data = take(SIZE);
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
        if let Some(error) = self.failed.take() {
            return Poll::Ready(Err(error));
        }
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
                self.rushing = n >= SIZE;
                if self.rushing && stream.comes_in_records() {
                    return Poll::Ready(Ok(n + self.gather(cx, stream)));
                }
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

    /// Reads more records into the room that is left, so that they go on together; tells how many bytes that were.
    fn gather(&mut self, cx: &mut Context<'_>, stream: &Stream) -> usize {
        let start = self.end;
        while self.data.len() - self.end >= SIZE {
            match stream.poll_read(cx, &mut self.data[self.end..]) {
                Poll::Ready(Ok(n)) if n > 0 => self.end += n,
                Poll::Ready(Err(error)) => {
                    self.failed = Some(error);
                    break;
                }
                // The end is read again the next time.
                Poll::Ready(Ok(_)) | Poll::Pending => break,
            }
        }
        self.end - start
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
