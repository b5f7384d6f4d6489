//! Bodies as they go out, and moving one into the other.

use std::io;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use h2::SendStream;
use http::HeaderMap;

use super::body::{Body, BodyError};
use super::h1::write;
use crate::io::Stream;

/// Bytes gathered before they are written.
const GATHER: usize = 16 << 10;
/// Pieces shorter than this are gathered for HTTP/2 too, when they come in a burst: a peer may take many tiny frames
/// for an attack.
const TINY: usize = 1 << 10;

/// Where a body goes.
pub enum Sink<'a> {
    /// Nowhere: there is no body.
    Nowhere,
    /// Into memory.
    Kept(&'a mut Kept),
    /// HTTP/1. What `out` holds already, a head say, goes out in one write with the first bytes.
    H1 {
        /// The connection.
        stream: &'a Stream,
        /// Bytes not yet written.
        out: &'a mut Vec<u8>,
        /// How many of them are.
        written: usize,
        /// Write chunks.
        chunked: bool,
        /// End the connection's writing side with the body.
        close: bool,
    },
    /// HTTP/2.
    H2 {
        /// The stream.
        send: SendStream<Bytes>,
        /// Bytes not yet sent.
        gathered: BytesMut,
        /// The end was sent.
        ended: bool,
    },
}

/// Longest body that is kept.
const MAX_KEPT: usize = 1 << 20;

/// An answer to a request of the proxy's own.
#[derive(Debug, Default)]
pub struct Kept {
    /// Status.
    pub status: u16,
    /// Headers, names in lower case.
    pub headers: Vec<(String, Vec<u8>)>,
    /// Body.
    pub body: Vec<u8>,
    /// The body was longer than what is kept.
    pub too_long: bool,
}

/// Why a body could not be written.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    /// The connection broke.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The stream was reset.
    #[error("{0}")]
    Reset(#[from] h2::Error),
}

impl<'a> Sink<'a> {
    /// HTTP/1.
    pub fn h1(stream: &'a Stream, out: &'a mut Vec<u8>, chunked: bool, close: bool) -> Self {
        Self::H1 { stream, out, written: 0, chunked, close }
    }

    /// HTTP/2.
    pub fn h2(send: SendStream<Bytes>) -> Self {
        Self::H2 { send, gathered: BytesMut::new(), ended: false }
    }

    /// The connection's writing side is to end with the body.
    pub fn close_at_end(&mut self) {
        if let Self::H1 { close, .. } = self {
            *close = true;
        }
    }

    /// Writes what was gathered.
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SinkError>> {
        if let Self::H2 { send, gathered, .. } = self {
            while !gathered.is_empty() {
                let capacity = ready!(poll_capacity(cx, send, gathered.len()))?;
                let n = capacity.min(gathered.len());
                send.send_data(gathered.split_to(n).freeze(), false)?;
            }
        }
        let Self::H1 { stream, out, written, .. } = self else { return Poll::Ready(Ok(())) };
        if out.is_empty() {
            return Poll::Ready(Ok(()));
        }
        while *written < out.len() {
            let n = ready!(stream.poll_write(cx, &out[*written..]))?;
            if n == 0 {
                return Poll::Ready(Err(io::Error::from(io::ErrorKind::WriteZero).into()));
            }
            *written += n;
        }
        ready!(stream.poll_flush(cx))?;
        out.clear();
        *written = 0;
        Poll::Ready(Ok(()))
    }

    /// Takes data from `body`, some or all of it.
    fn poll_take(&mut self, cx: &mut Context<'_>, body: &mut Body<'_>) -> Poll<Result<(), SinkError>> {
        match self {
            Self::Nowhere => {
                let n = body.data().len();
                body.consume(n);
            }
            Self::Kept(kept) => {
                let data = body.data();
                kept.too_long |= kept.body.len() + data.len() > MAX_KEPT;
                if !kept.too_long {
                    kept.body.extend_from_slice(data);
                }
                let n = data.len();
                body.consume(n);
            }
            Self::H2 { gathered, .. } if body.data().len() < TINY && gathered.len() < GATHER => {
                let n = body.data().len();
                gathered.extend_from_slice(body.data());
                body.consume(n);
            }
            Self::H2 { .. } => {
                ready!(self.poll_flush(cx))?;
                if let Self::H2 { send, ended, .. } = self {
                    let capacity = ready!(poll_capacity(cx, send, body.data().len()))?;
                    let bytes = body.take(capacity);
                    *ended = body.is_over();
                    send.send_data(bytes, *ended)?;
                }
            }
            Self::H1 { out, chunked, .. } => {
                let data = body.data();
                let n = data.len();
                if *chunked {
                    write::chunk(out, data);
                    body.consume(n);
                } else if out.len() + n <= GATHER {
                    out.extend_from_slice(data);
                    body.consume(n);
                } else {
                    return self.poll_direct(cx, body);
                }
                if out.len() >= GATHER {
                    ready!(self.poll_flush(cx))?;
                }
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Writes data from where it is, without gathering it.
    fn poll_direct(&mut self, cx: &mut Context<'_>, body: &mut Body<'_>) -> Poll<Result<(), SinkError>> {
        ready!(self.poll_flush(cx))?;
        if let Self::H1 { stream, .. } = self {
            let n = ready!(stream.poll_write(cx, body.data()))?;
            body.consume(n);
        }
        Poll::Ready(Ok(()))
    }

    /// Sends what must be out before the end can be.
    fn poll_before_end(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SinkError>> {
        match self {
            Self::H2 { .. } => self.poll_flush(cx),
            _ => Poll::Ready(Ok(())),
        }
    }

    /// Ends the body.
    fn finish(&mut self, trailers: Option<HeaderMap>) -> Result<(), SinkError> {
        match self {
            Self::H1 { out, chunked: true, .. } => {
                out.extend_from_slice(b"0\r\n");
                for (name, value) in trailers.iter().flatten_headers() {
                    write::header(out, name, value);
                }
                out.extend_from_slice(b"\r\n");
            }
            Self::H2 { send, ended, .. } if !*ended => {
                *ended = true;
                match trailers {
                    Some(trailers) => send.send_trailers(trailers)?,
                    None => send.send_data(Bytes::new(), true)?,
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SinkError>> {
        match self {
            Self::H1 { stream, close: true, .. } => Poll::Ready(ready!(stream.poll_shutdown(cx)).map_err(Into::into)),
            _ => Poll::Ready(Ok(())),
        }
    }

    /// Ready when the receiver reset the stream.
    pub fn poll_reset(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self {
            Self::H2 { send, .. } => send.poll_reset(cx).map(drop),
            _ => Poll::Pending,
        }
    }

    /// Breaks the stream off, for a body that can't be finished.
    pub fn abort(&mut self, reason: h2::Reason) {
        if let Self::H2 { send, .. } = self {
            send.send_reset(reason);
        }
    }
}

/// Waits until some of `wanted` bytes may be sent.
fn poll_capacity(cx: &mut Context<'_>, send: &mut SendStream<Bytes>, wanted: usize) -> Poll<Result<usize, SinkError>> {
    send.reserve_capacity(wanted);
    // Capacity that was granted before is there without being told again.
    if send.capacity() > 0 {
        return Poll::Ready(Ok(send.capacity()));
    }
    match ready!(send.poll_capacity(cx)) {
        Some(capacity) => Poll::Ready(Ok(capacity?)),
        None => Poll::Ready(Err(h2::Error::from(h2::Reason::STREAM_CLOSED).into())),
    }
}

trait FlattenHeaders<'h> {
    fn flatten_headers(self) -> impl Iterator<Item = (&'h str, &'h [u8])>;
}

impl<'h, I: Iterator<Item = &'h HeaderMap>> FlattenHeaders<'h> for I {
    fn flatten_headers(self) -> impl Iterator<Item = (&'h str, &'h [u8])> {
        self.flat_map(|map| map.iter().map(|(name, value)| (name.as_str(), value.as_bytes())))
    }
}

/// Why moving a body failed.
#[derive(Debug, thiserror::Error)]
pub enum PumpError {
    /// It broke off where it came from.
    #[error(transparent)]
    From(#[from] BodyError),
    /// It could not be written.
    #[error(transparent)]
    To(#[from] SinkError),
}

/// Bytes of a body kept so that it can be sent again.
#[derive(Debug)]
pub struct Replay {
    kept: Option<Vec<u8>>,
    limit: usize,
}

impl Replay {
    /// Keeps up to `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self { kept: Some(Vec::new()), limit }
    }

    fn keep(&mut self, data: &[u8]) {
        if let Some(kept) = &mut self.kept {
            if kept.len() + data.len() > self.limit {
                self.kept = None;
            } else {
                kept.extend_from_slice(data);
            }
        }
    }

    /// What was sent so far, when all of it is still there.
    pub fn kept(&self) -> Option<&[u8]> {
        self.kept.as_deref()
    }
}

/// Moves a body to where it goes.
#[derive(Debug, Default)]
pub struct Pump {
    finished: bool,
    /// Trailers that were passed on.
    pub trailers: Option<HeaderMap>,
    /// Bytes moved.
    pub moved: u64,
    keep_trailers: bool,
}

impl Pump {
    /// A pump that remembers the trailers it passes on.
    pub fn keeping_trailers() -> Self {
        Self { keep_trailers: true, ..Self::default() }
    }

    /// Moves what can be moved; ready when all of it went out.
    pub fn poll(
        &mut self,
        cx: &mut Context<'_>,
        body: &mut Body<'_>,
        sink: &mut Sink<'_>,
        mut replay: Option<&mut Replay>,
    ) -> Poll<Result<(), PumpError>> {
        while !self.finished {
            match body.poll_next(cx)? {
                Poll::Pending => {
                    let _ = sink.poll_flush(cx)?;
                    return Poll::Pending;
                }
                Poll::Ready(false) => {
                    ready!(sink.poll_before_end(cx))?;
                    let trailers = body.trailers();
                    if self.keep_trailers {
                        self.trailers.clone_from(&trailers);
                    }
                    sink.finish(trailers)?;
                    self.finished = true;
                }
                Poll::Ready(true) => {
                    let before = body.received;
                    if let Some(replay) = replay.as_deref_mut() {
                        // Kept before it is taken: what is taken twice is cut below.
                        replay.keep(body.data());
                    }
                    let at_hand = body.data().len();
                    let taken = sink.poll_take(cx, body);
                    let n = (body.received - before) as usize;
                    self.moved += n as u64;
                    if let Some(kept) = replay.as_deref_mut().and_then(|replay| replay.kept.as_mut()) {
                        kept.truncate(kept.len() - (at_hand - n));
                    }
                    ready!(taken)?;
                }
            }
        }
        ready!(sink.poll_flush(cx))?;
        ready!(sink.poll_close(cx))?;
        Poll::Ready(Ok(()))
    }

    /// Whether the whole body was handed over.
    pub fn is_finished(&self) -> bool {
        self.finished
    }
}
