//! A connection whose peer opens streams.

use std::collections::HashMap;
use std::io;

use bytes::{Bytes, BytesMut};
use tokio::io::{
    AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader, DuplexStream, ReadHalf, WriteHalf, duplex, split,
};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use super::frame::{
    CONTROL_LIMIT, FLAG_FIN, HEAD, Head, Kind, Out, PROTOCOL_ERROR, REFUSED_STREAM, number, parse_head,
};
use super::header;

/// Bytes of a stream that wait for their reader; then the connection waits.
const STREAM_BUFFER: usize = 64 * 1024;
/// The longest data frame that we send.
const DATA_FRAME: usize = 32 * 1024;
/// Frames that wait to be sent.
const OUT_BUFFER: usize = 32;
/// Streams open at the same time.
const STREAMS: usize = 512;

/// A stream that the peer opened. Dropping `io` closes our direction of it.
pub(in crate::streams) struct Incoming {
    headers: Vec<(String, String)>,
    /// The stream's bytes, both ways.
    pub io: DuplexStream,
}

impl Incoming {
    /// A header's value, or "". `name` is lower-case.
    pub(in crate::streams) fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(n, _)| n == name).map_or("", |(_, v)| v)
    }
}

/// One end of a SPDY connection. The connection lives while the peer keeps it, and after the
/// session is dropped until everything written to its streams is sent.
pub(in crate::streams) struct Session {
    streams: mpsc::Receiver<Incoming>,
    receiver: AbortHandle,
}

impl Drop for Session {
    fn drop(&mut self) {
        self.receiver.abort();
    }
}

impl Session {
    /// Speak SPDY/3.1 over `io`.
    pub(in crate::streams) fn start<T>(io: T) -> Self
    where
        T: AsyncRead + AsyncWrite + Send + 'static,
    {
        let (reader, writer) = split(io);
        let (out, frames) = mpsc::channel(OUT_BUFFER);
        let (opened, streams) = mpsc::channel(16);
        tokio::spawn(async move {
            if let Err(error) = write(writer, frames).await {
                tracing::debug!(%error, "SPDY connection not written");
            }
        });
        let mut receiver = Receiver { opened, out, open: HashMap::new(), headers: header::Reader::new(), last: 0 };
        let receiver = tokio::spawn(async move {
            if let Err(error) = receiver.run(BufReader::new(reader)).await {
                tracing::debug!(%error, "SPDY connection ended");
            }
            receiver.close_all().await;
        });
        Self { streams, receiver: receiver.abort_handle() }
    }

    /// The next stream that the peer opens; `None` once the connection is gone.
    pub(in crate::streams) async fn next(&mut self) -> Option<Incoming> {
        self.streams.recv().await
    }
}

struct Receiver {
    opened: mpsc::Sender<Incoming>,
    out: mpsc::Sender<Out>,
    /// Where the bytes of each stream go that the peer may still send on.
    open: HashMap<u32, WriteHalf<DuplexStream>>,
    headers: header::Reader,
    last: u32,
}

fn invalid(what: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

impl Receiver {
    async fn run<R: AsyncRead + Unpin>(&mut self, mut reader: R) -> io::Result<()> {
        loop {
            let mut bytes = [0; HEAD];
            if let Err(error) = reader.read_exact(&mut bytes).await {
                let ended = error.kind() == io::ErrorKind::UnexpectedEof;
                return if ended { Ok(()) } else { Err(error) };
            }
            let head = parse_head(bytes).ok_or_else(|| invalid("not SPDY/3.1"))?;
            match head {
                Head::Data { stream, fin, length } => {
                    self.data(&mut reader, stream, fin, length).await?;
                }
                Head::Control { length, .. } if length > CONTROL_LIMIT => {
                    let status = PROTOCOL_ERROR;
                    let _ = self.out.send(Out::GoAway { last: self.last, status }).await;
                    return Err(invalid("a control frame is too long"));
                }
                Head::Control { kind, flags, length } => {
                    let mut body = vec![0; length];
                    reader.read_exact(&mut body).await?;
                    self.control(kind, flags, &body).await?;
                }
            }
        }
    }

    async fn data<R: AsyncRead + Unpin>(
        &mut self,
        reader: &mut R,
        stream: u32,
        fin: bool,
        mut left: usize,
    ) -> io::Result<()> {
        let mut piece = vec![0; left.min(16 * 1024)];
        while left > 0 {
            let want = left.min(piece.len());
            reader.read_exact(&mut piece[..want]).await?;
            left -= want;
            let Some(into) = self.open.get_mut(&stream) else {
                continue;
            };
            if into.write_all(&piece[..want]).await.is_err() {
                // Nobody reads this stream any more; what still comes is dropped.
                self.open.remove(&stream);
                continue;
            }
            let bytes = u32::try_from(want).unwrap_or(0);
            let _ = self.out.send(Out::WindowUpdate { stream, bytes }).await;
        }
        if fin {
            self.close(stream).await;
        }
        Ok(())
    }

    async fn control(&mut self, kind: Kind, flags: u8, body: &[u8]) -> io::Result<()> {
        let short = || invalid("a control frame is too short");
        match kind {
            Kind::SynStream => {
                let stream = number(body, 0).ok_or_else(short)?;
                let block = body.get(10..).ok_or_else(short)?;
                let headers = self.headers.read(block).map_err(invalid)?;
                self.open_stream(stream, headers, flags & FLAG_FIN != 0).await;
            }
            Kind::Headers => {
                // Part of the compressed stream, so it must be read.
                self.headers.read(body.get(4..).ok_or_else(short)?).map_err(invalid)?;
            }
            Kind::RstStream => {
                let stream = number(body, 0).ok_or_else(short)?;
                self.close(stream).await;
            }
            Kind::Ping => {
                let id = number(body, 0).ok_or_else(short)?;
                // Even ones would be answers to ours; we send none.
                if id % 2 == 1 {
                    let _ = self.out.send(Out::Ping { id }).await;
                }
            }
            // Kubernetes' peers neither send nor obey windows: back-pressure is the connection's.
            Kind::SynReply | Kind::Settings | Kind::WindowUpdate | Kind::GoAway | Kind::Other(_) => {}
        }
        Ok(())
    }

    async fn open_stream(&mut self, stream: u32, headers: Vec<(String, String)>, fin: bool) {
        let refuse = |status| Out::Reset { stream, status };
        if stream.is_multiple_of(2) || stream <= self.last {
            let _ = self.out.send(refuse(PROTOCOL_ERROR)).await;
            return;
        }
        self.last = stream;
        if self.open.len() >= STREAMS {
            let _ = self.out.send(refuse(REFUSED_STREAM)).await;
            return;
        }
        let (ours, theirs) = duplex(STREAM_BUFFER);
        let (read, into) = split(ours);
        let _ = self.out.send(Out::Reply { stream }).await;
        tokio::spawn(pump(read, stream, self.out.clone()));
        self.open.insert(stream, into);
        if fin {
            self.close(stream).await;
        }
        let _ = self.opened.send(Incoming { headers, io: theirs }).await;
    }

    /// The connection is gone.
    async fn close_all(&mut self) {
        for (_, mut into) in self.open.drain() {
            let _ = into.shutdown().await;
        }
    }

    /// The peer sends nothing more on the stream.
    async fn close(&mut self, stream: u32) {
        if let Some(mut into) = self.open.remove(&stream) {
            let _ = into.shutdown().await;
        }
    }
}

/// Send what is written to a stream, then its end.
async fn pump(mut read: ReadHalf<DuplexStream>, stream: u32, out: mpsc::Sender<Out>) {
    let mut buffer = BytesMut::new();
    loop {
        buffer.reserve(DATA_FRAME);
        let end = !matches!(read.read_buf(&mut buffer).await, Ok(n) if n > 0);
        let bytes = if end { Bytes::new() } else { buffer.split().freeze() };
        let sent = out.send(Out::Data { stream, fin: end, bytes }).await;
        if end || sent.is_err() {
            return;
        }
    }
}

async fn write<W: AsyncWrite + Unpin>(mut writer: W, mut frames: mpsc::Receiver<Out>) -> io::Result<()> {
    let mut headers = header::Writer::new();
    let mut wire = BytesMut::new();
    while let Some(frame) = frames.recv().await {
        put(&frame, &mut wire, &mut headers);
        while wire.len() < DATA_FRAME * 2
            && let Ok(frame) = frames.try_recv()
        {
            put(&frame, &mut wire, &mut headers);
        }
        writer.write_all(&wire).await?;
        writer.flush().await?;
        wire.clear();
    }
    writer.shutdown().await
}

fn put(frame: &Out, wire: &mut BytesMut, headers: &mut header::Writer) {
    let block = match frame {
        Out::Reply { .. } => headers.empty_block(),
        _ => Vec::new(),
    };
    frame.put(wire, &block);
}

#[cfg(test)]
#[path = "session_tests.rs"]
mod tests;
