//! Byte streams: TCP or Unix, plain or in TLS, with bytes that were read ahead put back.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsStream;

/// A byte stream.
pub struct Io {
    /// Bytes to deliver before those of the stream.
    ahead: Vec<u8>,
    at: usize,
    kind: Kind,
}

enum Kind {
    Tcp(TcpStream),
    Unix(UnixStream),
    Tls(Box<TlsStream<Io>>),
}

impl From<TcpStream> for Io {
    fn from(stream: TcpStream) -> Self {
        Self { ahead: Vec::new(), at: 0, kind: Kind::Tcp(stream) }
    }
}

impl From<UnixStream> for Io {
    fn from(stream: UnixStream) -> Self {
        Self { ahead: Vec::new(), at: 0, kind: Kind::Unix(stream) }
    }
}

impl From<TlsStream<Io>> for Io {
    fn from(stream: TlsStream<Io>) -> Self {
        Self { ahead: Vec::new(), at: 0, kind: Kind::Tls(Box::new(stream)) }
    }
}

impl Io {
    /// Puts bytes back: they are read again before anything else.
    pub fn unread(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let mut ahead = bytes.to_vec();
        ahead.extend_from_slice(&self.ahead[self.at..]);
        (self.ahead, self.at) = (ahead, 0);
    }

    /// The TCP socket at the bottom.
    pub fn tcp(&self) -> Option<&TcpStream> {
        match &self.kind {
            Kind::Tcp(stream) => Some(stream),
            Kind::Unix(_) => None,
            Kind::Tls(stream) => stream.get_ref().0.tcp(),
        }
    }

    /// Ready once there may be something to read; needs no buffer, so that an idle connection holds none.
    fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.at < self.ahead.len() {
            return Poll::Ready(Ok(()));
        }
        match &mut self.kind {
            Kind::Tcp(stream) => stream.poll_read_ready(cx),
            Kind::Unix(stream) => stream.poll_read_ready(cx),
            Kind::Tls(stream) => {
                // Decrypted bytes may wait already, or an error that the next read tells.
                let (io, state) = match &mut **stream {
                    TlsStream::Client(stream) => {
                        let (io, connection) = stream.get_mut();
                        (io, connection.process_new_packets())
                    }
                    TlsStream::Server(stream) => {
                        let (io, connection) = stream.get_mut();
                        (io, connection.process_new_packets())
                    }
                };
                match state {
                    Ok(state) if state.plaintext_bytes_to_read() == 0 && !state.peer_has_closed() => {
                        io.poll_readable(cx)
                    }
                    _ => Poll::Ready(Ok(())),
                }
            }
        }
    }
}

impl AsyncRead for Io {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.at < this.ahead.len() {
            let n = buf.remaining().min(this.ahead.len() - this.at);
            buf.put_slice(&this.ahead[this.at..this.at + n]);
            this.at += n;
            if this.at == this.ahead.len() {
                (this.ahead, this.at) = (Vec::new(), 0);
            }
            return Poll::Ready(Ok(()));
        }
        match &mut this.kind {
            Kind::Tcp(stream) => Pin::new(stream).poll_read(cx, buf),
            Kind::Unix(stream) => Pin::new(stream).poll_read(cx, buf),
            Kind::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Io {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.kind {
            Kind::Tcp(stream) => Pin::new(stream).poll_write(cx, buf),
            Kind::Unix(stream) => Pin::new(stream).poll_write(cx, buf),
            Kind::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.kind {
            Kind::Tcp(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Kind::Unix(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Kind::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.kind {
            Kind::Tcp(stream) => Pin::new(stream).poll_flush(cx),
            Kind::Unix(stream) => Pin::new(stream).poll_flush(cx),
            Kind::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.kind {
            Kind::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Kind::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
            Kind::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

/// A byte stream that two futures of one task may use, one to read and one to write.
pub struct Stream {
    io: RefCell<Io>,
}

impl From<Io> for Stream {
    fn from(io: Io) -> Self {
        Self { io: RefCell::new(io) }
    }
}

impl Stream {
    /// The stream itself, with what was read ahead put back.
    pub fn into_io(self, unread: &[u8]) -> Io {
        let mut io = self.io.into_inner();
        io.unread(unread);
        io
    }

    /// Runs `f` on the socket at the bottom.
    pub fn with_tcp<R>(&self, f: impl FnOnce(Option<&TcpStream>) -> R) -> R {
        f(self.io.borrow().tcp())
    }

    /// Whether a read brings one TLS record at most.
    pub fn comes_in_records(&self) -> bool {
        matches!(self.io.borrow().kind, Kind::Tls(_))
    }

    /// Waits until there may be something to read.
    pub async fn readable(&self) -> io::Result<()> {
        poll_fn(|cx| self.poll_readable(cx)).await
    }

    /// As [`Stream::readable`], as a poll.
    pub fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io.borrow_mut().poll_readable(cx)
    }

    /// Writes some of `bytes`.
    pub fn poll_write(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.io.borrow_mut()).poll_write(cx, bytes)
    }

    /// Pushes out what was written.
    pub fn poll_flush(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.io.borrow_mut()).poll_flush(cx)
    }

    /// Ends the writing side.
    pub fn poll_shutdown(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.io.borrow_mut()).poll_shutdown(cx)
    }

    /// Reads what there is; 0 is the end.
    pub async fn read(&self, buf: &mut [u8]) -> io::Result<usize> {
        poll_fn(|cx| self.poll_read(cx, buf)).await
    }

    /// As [`Stream::read`], as a poll.
    pub fn poll_read(&self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut read = ReadBuf::new(buf);
        ready!(Pin::new(&mut *self.io.borrow_mut()).poll_read(cx, &mut read))?;
        Poll::Ready(Ok(read.filled().len()))
    }

    /// Whether an idle stream is still open: nothing to read, not even its end.
    pub fn is_quiet(&self) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        let mut byte = [0];
        self.poll_read(&mut cx, &mut byte).is_pending()
    }

    /// Writes all of `bytes` and pushes them out.
    pub async fn write_all(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let n = poll_fn(|cx| self.poll_write(cx, bytes)).await?;
            if n == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            bytes = &bytes[n..];
        }
        poll_fn(|cx| self.poll_flush(cx)).await
    }

    /// Ends the writing side.
    pub async fn shutdown(&self) -> io::Result<()> {
        poll_fn(|cx| self.poll_shutdown(cx)).await
    }
}
