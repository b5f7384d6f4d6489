//! Serving HTTP/1 connections.

use std::time::{Duration, Instant};

use lateen_proxy_core::RequestHead;
use lateen_proxy_core::http::{Hcm, Underscores};
use tokio::time::timeout;

use super::parse::{self, Framing, HeadError};
use super::request::H1Request;
use super::write;
use crate::buffer::{Inbuf, SIZE};
use crate::http::body::Body;
use crate::http::edits::Edits;
use crate::http::head::{Length, Nothing};
use crate::http::phases::{self, Incoming};
use crate::http::reply::Reply;
use crate::http::target::{self, Refusal};
use crate::http::timer::Timer;
use crate::io::Stream;
use crate::listener::Conn;
use crate::record::Protocol;

/// Room for the head of a response, and a small body with it.
const HEAD: usize = 1024;

/// Serves requests one after another until the connection ends.
pub async fn serve(conn: &Conn, hcm: &Hcm, stream: &Stream, inbuf: &mut Inbuf) {
    let mut timer = Timer::default();
    let mut served = 0u32;
    let opened = Instant::now();
    loop {
        let left = hcm.max_connection_duration.map(|limit| limit.saturating_sub(opened.elapsed()));
        let request = match next(conn, hcm, stream, inbuf, left).await {
            Next::Request(request) => request,
            Next::Bad(error) => {
                reject(conn, stream, &error).await;
                return;
            }
            Next::End => return,
        };
        served += 1;
        // Rules and routes that came since count for this request; without any it is the last one.
        let current = conn.manager();
        let hcm = current.as_deref().unwrap_or(hcm);
        let limit = hcm.max_requests_per_connection;
        let old = hcm.max_connection_duration.is_some_and(|limit| opened.elapsed() >= limit);
        let goes_on = current.is_some() && !conn.worker.is_draining() && !old && (limit == 0 || served < limit);
        let mut persistent = goes_on && request.parts.persistent();
        // On the heap while it lasts: a connection that rests holds no room for a request under way.
        Box::pin(one(conn, hcm, stream, inbuf, &mut persistent, request, &mut timer)).await;
        if !persistent {
            let _ = stream.shutdown().await;
            linger(stream, inbuf).await;
            return;
        }
    }
}

async fn one(
    conn: &Conn,
    hcm: &Hcm,
    stream: &Stream,
    inbuf: &mut Inbuf,
    persistent: &mut bool,
    mut request: Box<H1Request>,
    timer: &mut Timer,
) {
    let refusal = prepare(conn, hcm, &mut request).err();
    let request = &*request;
    let framing = request.parts.request_framing();
    let mut body = Body::h1(stream, inbuf, framing);
    let http10 = request.parts.http10;
    let mut out = Vec::with_capacity(HEAD);
    let mut reply = Reply::H1 { stream, out: &mut out, http10, persistent, begun: false };
    let incoming = Incoming {
        head: request,
        protocol: if http10 { Protocol::Http10 } else { Protocol::Http11 },
        length: match framing {
            Framing::None if request.parts.length.is_some() => Length::Known(0),
            Framing::None => Length::None,
            Framing::Length(length) => Length::Known(length),
            Framing::Chunked | Framing::UntilClose => Length::Unknown,
        },
        head_bytes: request.head_len() as u64,
        upgrade: request.upgrade(),
        expects_continue: request.parts.expect_continue && framing != Framing::None,
        refuse: refusal,
    };
    phases::serve(conn, hcm, incoming, &mut body, &mut reply, timer).await;
}

/// Makes the target unambiguous, and refuses what is well-formed and yet not served.
fn prepare(conn: &Conn, hcm: &Hcm, request: &mut H1Request) -> Result<(), Refusal> {
    if request.parts.http10 && !hcm.accept_http10 {
        return Err(Refusal::Status(426, "HTTP/1.0 is not accepted here: use HTTP/1.1"));
    }
    if hcm.underscores == Underscores::Reject && request.has_underscore() {
        return Err(Refusal::Status(400, "a header has an underscore in its name"));
    }
    if request.method() == "CONNECT" {
        return Err(Refusal::Status(405, "CONNECT is not supported here"));
    }
    if let Some(path) = target::path(hcm, request.path())? {
        request.set_path(&path);
    }
    if let Some(authority) = target::authority(hcm, request.authority(), conn.listener.address.port()) {
        request.set_authority(&authority);
    }
    Ok(())
}

enum Next {
    Request(Box<H1Request>),
    Bad(HeadError),
    End,
}

/// Waits for the next request's head, while the connection has time `left`.
async fn next(conn: &Conn, hcm: &Hcm, stream: &Stream, inbuf: &mut Inbuf, left: Option<Duration>) -> Next {
    let idle = hcm.idle_timeout.into_iter().chain(left).min();
    if inbuf.is_empty() {
        tokio::select! {
            biased;
            read = limited(idle, inbuf.fill(stream, hcm.max_head)) => match read {
                Some(Ok(n)) if n > 0 => {}
                _ => return Next::End,
            },
            () = conn.worker.drained() => return Next::End,
        }
    }
    match limited(hcm.headers_timeout, head(conn, hcm, stream, inbuf)).await {
        Some(next) => next,
        None => Next::Bad(HeadError::Malformed("the head took too long")),
    }
}

async fn limited<T>(limit: Option<Duration>, future: impl Future<Output = T>) -> Option<T> {
    match limit {
        Some(limit) => timeout(limit, future).await.ok(),
        None => Some(future.await),
    }
}

async fn head(conn: &Conn, hcm: &Hcm, stream: &Stream, inbuf: &mut Inbuf) -> Next {
    loop {
        if !inbuf.is_empty() {
            match parse::request(inbuf.bytes_mut(), hcm.max_headers) {
                Ok(Some(parts)) => {
                    let bytes = inbuf.split(parts.len);
                    return match H1Request::new(bytes, parts, conn.scheme(), &hcm.default_host_http10) {
                        Ok(request) => Next::Request(Box::new(request)),
                        Err(error) => Next::Bad(error),
                    };
                }
                Ok(None) if inbuf.bytes().len() >= hcm.max_head => return Next::Bad(HeadError::TooLarge),
                Ok(None) => {}
                Err(error) => return Next::Bad(error),
            }
        }
        match inbuf.fill(stream, hcm.max_head).await {
            Ok(n) if n > 0 => {}
            _ => return Next::End,
        }
    }
}

/// Answers what is no request, and ends the connection.
async fn reject(conn: &Conn, stream: &Stream, error: &HeadError) {
    let status = match error {
        HeadError::TooLarge => 431,
        HeadError::Coding => 501,
        HeadError::Http10 => 426,
        HeadError::Malformed(_) | HeadError::Ambiguous(_) => 400,
    };
    tracing::debug!(remote = %conn.remote, %error, "request refused");
    let text = error.to_string();
    let mut edits = Edits::default();
    edits.add("content-type", &b"text/plain"[..]);
    let mut out = Vec::new();
    write::response(&mut out, status, &Nothing, &edits, Some(Length::Known(text.len() as u64)), Some("close"));
    out.extend_from_slice(text.as_bytes());
    let _ = stream.write_all(&out).await;
    let _ = stream.shutdown().await;
}

/// Lets the client read the last response: closing while its bytes arrive would reset the connection.
async fn linger(stream: &Stream, inbuf: &mut Inbuf) {
    let reading = async {
        loop {
            let n = inbuf.bytes().len();
            inbuf.consume(n);
            match inbuf.fill(stream, SIZE).await {
                Ok(n) if n > 0 => {}
                _ => return,
            }
        }
    };
    let _ = timeout(Duration::from_secs(1), reading).await;
}
