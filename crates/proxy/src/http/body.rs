//! Bodies as they come in, whatever version brings them.

use std::io;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::RecvStream;
use http::HeaderMap;
use smallvec::SmallVec;

use super::h1::chunked::{Chunked, Step};
use super::h1::parse::Framing;
use super::tee::{Broken, Feed, Tap, tee};
use crate::buffer::{BULK, Inbuf, SIZE};
use crate::io::Stream;

/// Why a body broke off.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// The connection ended too early.
    #[error("the connection ended in the middle of a body")]
    Early,
    /// The connection broke.
    #[error("the connection broke in the middle of a body: {0}")]
    Io(#[from] io::Error),
    /// What came is no body.
    #[error("malformed body: {0}")]
    Malformed(&'static str),
    /// The stream was reset.
    #[error("the stream was reset: {0}")]
    Reset(#[from] h2::Error),
}

/// A body that comes in.
pub struct Body<'a> {
    kind: Kind<'a>,
    /// Bytes put back, to be read again before the rest.
    front: Bytes,
    trailers: Option<HeaderMap>,
    /// Bytes used so far.
    pub received: u64,
    /// Copies of it.
    feeds: SmallVec<[Feed; 1]>,
    /// Bytes that the copies have; more than were used while it is sent again.
    fed: u64,
}

enum Kind<'a> {
    Empty,
    H1 { stream: &'a Stream, inbuf: &'a mut Inbuf, left: Left },
    H2 { recv: RecvStream, data: Bytes, ended: bool },
    Buffered { data: Bytes },
    Tap { tap: Tap, data: Bytes },
}

/// What is left of an HTTP/1 body.
#[derive(Debug, Clone, Copy)]
enum Left {
    Bytes(u64),
    Chunks(Chunked),
    UntilClose,
    Nothing,
}

impl<'a> Body<'a> {
    /// No body.
    pub fn empty() -> Self {
        Self::of(Kind::Empty)
    }

    /// Bytes that are here already.
    pub fn buffered(data: Bytes) -> Self {
        Self::of(Kind::Buffered { data })
    }

    /// A body of HTTP/1.
    pub fn h1(stream: &'a Stream, inbuf: &'a mut Inbuf, framing: Framing) -> Self {
        let left = match framing {
            Framing::None => Left::Nothing,
            Framing::Length(length) => Left::Bytes(length),
            Framing::Chunked => Left::Chunks(Chunked::Size),
            Framing::UntilClose => Left::UntilClose,
        };
        Self::of(Kind::H1 { stream, inbuf, left })
    }

    /// A body of HTTP/2.
    pub fn h2(recv: RecvStream) -> Self {
        let ended = recv.is_end_stream();
        Self::of(Kind::H2 { recv, data: Bytes::new(), ended })
    }

    /// A copy of another body.
    pub fn of_tap(tap: Tap) -> Self {
        Self::of(Kind::Tap { tap, data: Bytes::new() })
    }

    fn of(kind: Kind<'a>) -> Self {
        Self { kind, front: Bytes::new(), trailers: None, received: 0, feeds: SmallVec::new(), fed: 0 }
    }

    /// A copy of what is still to come.
    pub fn tap(&mut self) -> Tap {
        let (feed, tap) = tee();
        self.feeds.push(feed);
        tap
    }

    /// Gives the copies what is about to be used, unless they have it from an earlier try.
    fn feed(&mut self, n: usize) {
        let end = self.received + n as u64;
        if end > self.fed {
            let known = usize::try_from(self.fed.saturating_sub(self.received)).unwrap_or(n);
            let fresh = &self.data()[known..n];
            self.feeds.iter().for_each(|feed| feed.push(fresh));
            self.fed = end;
        }
    }

    /// Puts bytes back: they are read again before the rest.
    pub fn unread(&mut self, bytes: Bytes) {
        self.received -= bytes.len() as u64;
        self.front = bytes;
    }

    /// Waits for data (true) or the end (false).
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool, BodyError>> {
        let polled = ready!(self.poll_source(cx));
        if matches!(polled, Ok(false)) {
            self.feeds.drain(..).for_each(|feed| feed.finish(self.trailers.clone()));
        }
        Poll::Ready(polled)
    }

    fn poll_source(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool, BodyError>> {
        if !self.front.is_empty() {
            return Poll::Ready(Ok(true));
        }
        match &mut self.kind {
            Kind::Empty => Poll::Ready(Ok(false)),
            Kind::Buffered { data } => Poll::Ready(Ok(!data.is_empty())),
            Kind::H1 { stream, inbuf, left } => poll_h1(cx, stream, inbuf, left, &mut self.trailers),
            Kind::H2 { recv, data, ended } => poll_h2(cx, recv, data, ended, &mut self.trailers),
            Kind::Tap { tap, data } => poll_tap(cx, tap, data, &mut self.trailers),
        }
    }

    /// The data at hand, after [`Body::poll_next`] said that there is some.
    pub fn data(&self) -> &[u8] {
        if !self.front.is_empty() {
            return &self.front;
        }
        match &self.kind {
            Kind::Empty => &[],
            Kind::Buffered { data } | Kind::H2 { data, .. } | Kind::Tap { data, .. } => data,
            Kind::H1 { inbuf, left, .. } => {
                let bytes = inbuf.bytes();
                let most = match left {
                    Left::Bytes(left) | Left::Chunks(Chunked::Data(left)) => *left,
                    Left::UntilClose => u64::MAX,
                    Left::Chunks(_) | Left::Nothing => 0,
                };
                &bytes[..usize::try_from(most).unwrap_or(usize::MAX).min(bytes.len())]
            }
        }
    }

    /// Marks `n` bytes of the data as used.
    pub fn consume(&mut self, n: usize) {
        if !self.feeds.is_empty() {
            self.feed(n);
        }
        self.received += n as u64;
        if !self.front.is_empty() {
            drop(self.front.split_to(n));
            return;
        }
        match &mut self.kind {
            Kind::Empty => {}
            Kind::Buffered { data } | Kind::Tap { data, .. } => drop(data.split_to(n)),
            Kind::H2 { recv, data, .. } => {
                drop(data.split_to(n));
                // Fails only when the stream is gone, which the next poll tells.
                let _ = recv.flow_control().release_capacity(n);
            }
            Kind::H1 { inbuf, left, .. } => {
                inbuf.consume(n);
                match left {
                    Left::Bytes(left) => *left -= n as u64,
                    Left::Chunks(chunks) => chunks.took(n),
                    Left::UntilClose | Left::Nothing => {}
                }
            }
        }
    }

    /// Takes up to `n` bytes of the data as shared bytes; copies only what HTTP/1 brought.
    pub fn take(&mut self, n: usize) -> Bytes {
        let bytes = match &self.kind {
            _ if !self.front.is_empty() => self.front.slice(..n.min(self.front.len())),
            Kind::Buffered { data } | Kind::H2 { data, .. } | Kind::Tap { data, .. } => data.slice(..n.min(data.len())),
            Kind::Empty | Kind::H1 { .. } => {
                let data = self.data();
                Bytes::copy_from_slice(&data[..n.min(data.len())])
            }
        };
        self.consume(bytes.len());
        bytes
    }

    /// From now on everything up to the end of the connection belongs to it: the protocol changed.
    pub fn open_up(&mut self) {
        if let Kind::H1 { left, .. } = &mut self.kind {
            *left = Left::UntilClose;
        }
    }

    /// Whether it is over, as far as is known without waiting.
    pub fn is_over(&self) -> bool {
        if !self.front.is_empty() {
            return false;
        }
        match &self.kind {
            Kind::Empty => true,
            Kind::Buffered { data } => data.is_empty(),
            Kind::H1 { left, .. } => matches!(left, Left::Nothing | Left::Bytes(0) | Left::Chunks(Chunked::Done)),
            Kind::H2 { recv, data, ended } => data.is_empty() && (*ended || recv.is_end_stream()),
            Kind::Tap { tap, data } => data.is_empty() && tap.is_over(),
        }
    }

    /// The trailers, once it is over.
    pub fn trailers(&mut self) -> Option<HeaderMap> {
        self.trailers.take()
    }

    /// Ready when the other side went away after its body was over. Bytes that come meanwhile are kept.
    pub fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Kind::H1 { stream, inbuf, .. } = &mut self.kind else { return Poll::Pending };
        if !inbuf.is_empty() {
            return Poll::Pending;
        }
        match inbuf.poll_fill(cx, stream, SIZE) {
            Poll::Ready(Ok(0) | Err(_)) => Poll::Ready(()),
            _ => Poll::Pending,
        }
    }
}

fn poll_tap(
    cx: &mut Context<'_>,
    tap: &mut Tap,
    data: &mut Bytes,
    trailers: &mut Option<HeaderMap>,
) -> Poll<Result<bool, BodyError>> {
    if !data.is_empty() {
        return Poll::Ready(Ok(true));
    }
    match ready!(tap.poll_next(cx)) {
        Ok(Some(next)) => {
            *data = next;
            Poll::Ready(Ok(true))
        }
        Ok(None) => {
            *trailers = tap.trailers().or(trailers.take());
            Poll::Ready(Ok(false))
        }
        Err(Broken) => Poll::Ready(Err(BodyError::Early)),
    }
}

fn poll_h1(
    cx: &mut Context<'_>,
    stream: &Stream,
    inbuf: &mut Inbuf,
    left: &mut Left,
    trailers: &mut Option<HeaderMap>,
) -> Poll<Result<bool, BodyError>> {
    loop {
        match left {
            Left::Nothing | Left::Bytes(0) => return Poll::Ready(Ok(false)),
            Left::Bytes(_) | Left::UntilClose if !inbuf.is_empty() => return Poll::Ready(Ok(true)),
            Left::Chunks(chunks) => match chunks.step(inbuf.bytes()).map_err(BodyError::Malformed)? {
                Step::Data(_) => return Poll::Ready(Ok(true)),
                Step::Skip(n) => {
                    inbuf.consume(n);
                    continue;
                }
                Step::End(n, found) => {
                    inbuf.consume(n);
                    *trailers = found.or(trailers.take());
                    return Poll::Ready(Ok(false));
                }
                Step::More => {}
            },
            Left::Bytes(_) | Left::UntilClose => {}
        }
        if ready!(inbuf.poll_fill(cx, stream, BULK))? == 0 {
            if matches!(left, Left::UntilClose) {
                *left = Left::Nothing;
                continue;
            }
            return Poll::Ready(Err(BodyError::Early));
        }
    }
}

fn poll_h2(
    cx: &mut Context<'_>,
    recv: &mut RecvStream,
    data: &mut Bytes,
    ended: &mut bool,
    trailers: &mut Option<HeaderMap>,
) -> Poll<Result<bool, BodyError>> {
    loop {
        if !data.is_empty() {
            return Poll::Ready(Ok(true));
        }
        if *ended {
            return Poll::Ready(Ok(false));
        }
        match ready!(recv.poll_data(cx)) {
            Some(Ok(next)) => *data = next,
            Some(Err(error)) => return Poll::Ready(Err(error.into())),
            None => {
                *trailers = ready!(recv.poll_trailers(cx))?;
                *ended = true;
            }
        }
    }
}
