//! Writes gathered over one turn of a task.
//!
//! `h2` writes and flushes frame by frame. A connection that carries many streams would pay a system call, and a TLS record, for
//! each of their frames; so what one turn brings is gathered and goes out at its end.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::buffer::Outbuf;
use crate::io::Io;

/// The stream for `h2`. Nothing is written before its [`Outlet`] lets it out, or so much has gathered that it must go.
pub struct Gathering(Rc<RefCell<Inner>>);

/// The way out of a [`Gathering`].
pub struct Outlet(Rc<RefCell<Inner>>);

struct Inner {
    io: Io,
    out: Outbuf,
    /// Why writing failed; the next read tells it.
    failed: Option<io::Error>,
}

/// Splits a stream into one whose writes gather, and the way out for them.
pub fn gather(io: Io) -> (Gathering, Outlet) {
    let inner = Rc::new(RefCell::new(Inner { io, out: Outbuf::default(), failed: None }));
    (Gathering(inner.clone()), Outlet(inner))
}

impl Outlet {
    /// Runs a future of `h2`, and lets out what each of its turns has written.
    pub async fn through<F: Future>(&self, future: F) -> F::Output {
        let mut future = pin!(future);
        poll_fn(|cx| {
            let polled = future.as_mut().poll(cx);
            let mut inner = self.0.borrow_mut();
            if let Poll::Ready(Err(error)) = inner.poll_out(cx) {
                inner.failed = Some(error);
                cx.waker().wake_by_ref();
            }
            polled
        })
        .await
    }
}

impl Inner {
    fn poll_out(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.out.is_empty() {
            return Poll::Ready(Ok(()));
        }
        while !self.out.is_empty() {
            let n = ready!(Pin::new(&mut self.io).poll_write(cx, self.out.bytes()))?;
            if n == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.out.consume(n);
        }
        Pin::new(&mut self.io).poll_flush(cx)
    }
}

impl AsyncRead for Gathering {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut inner = self.0.borrow_mut();
        match inner.failed.take() {
            Some(error) => Poll::Ready(Err(error)),
            None => Pin::new(&mut inner.io).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Gathering {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let mut inner = self.0.borrow_mut();
        if inner.out.is_full() {
            ready!(inner.poll_out(cx))?;
        }
        Poll::Ready(Ok(inner.out.push(buf)))
    }

    /// Does nothing: the end of the turn does.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut inner = self.0.borrow_mut();
        ready!(inner.poll_out(cx))?;
        Pin::new(&mut inner.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::UnixStream;

    use super::*;
    use crate::buffer::BULK;

    #[tokio::test]
    async fn what_one_turn_writes_goes_out_at_its_end() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let (mut stream, outlet) = gather(ours.into());
        let turn = async {
            for frame in ["one ", "two ", "three"] {
                stream.write_all(frame.as_bytes()).await.unwrap();
                stream.flush().await.unwrap();
            }
            assert!(theirs.try_read(&mut [0; 16]).is_err(), "written before the end of the turn");
        };
        outlet.through(turn).await;
        let mut buf = [0; 32];
        let n = theirs.read(&mut buf).await.unwrap();
        assert_eq!(&buf[..n], b"one two three");
    }

    #[tokio::test]
    async fn much_goes_out_before_and_in_order() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let (mut stream, outlet) = gather(ours.into());
        let sent: Vec<u8> = (0..3 * BULK + 7).map(|i| (i % 251) as u8).collect();
        let reading = tokio::spawn(async move {
            let mut found = Vec::new();
            theirs.read_to_end(&mut found).await.unwrap();
            found
        });
        outlet.through(async { stream.write_all(&sent).await.and(stream.shutdown().await) }).await.unwrap();
        drop((stream, outlet));
        assert_eq!(reading.await.unwrap(), sent);
    }

    #[tokio::test]
    async fn a_failed_write_fails_the_next_read() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        drop(theirs);
        let (mut stream, outlet) = gather(ours.into());
        outlet.through(async { stream.write_all(b"lost").await }).await.unwrap();
        let error = outlet.through(stream.read(&mut [0; 4])).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    }
}
