//! Serving HTTP/2 connections.

use std::borrow::Cow;
use std::rc::Rc;

use h2::server::SendResponse;
use h2::{Reason, RecvStream};
use http::HeaderMap;
use http::request::Parts;
use lateen_proxy_core::RequestHead;
use lateen_proxy_core::head::join;
use lateen_proxy_core::http::{Hcm, Underscores};
use tokio::time::Instant;

use super::body::Body;
use super::head::{Headers, Length};
use super::phases::{self, Incoming};
use super::reply::Reply;
use super::target::{self, Refusal};
use super::timer::Timer;
use crate::gather::gather;
use crate::io::Io;
use crate::listener::Conn;
use crate::record::Protocol;

/// Serves streams until the connection ends.
pub async fn serve(conn: Rc<Conn>, hcm: std::sync::Arc<Hcm>, io: Io) {
    let (io, outlet) = gather(io);
    let handshake = h2::server::Builder::new()
        .initial_window_size(hcm.http2.stream_window.max(1 << 16))
        // A small window would make h2 end connections that carry many small frames.
        .initial_connection_window_size(hcm.http2.connection_window.max(1 << 20))
        .max_concurrent_streams(hcm.http2.max_concurrent_streams)
        .max_header_list_size(hcm.max_head as u32)
        .max_send_buffer_size(1 << 20)
        .handshake(io);
    let Ok(mut connection) = outlet.through(handshake).await else { return };
    let mut draining = false;
    let end = hcm.max_connection_duration.map(|limit| Instant::now() + limit);
    loop {
        let accepted = tokio::select! {
            biased;
            accepted = outlet.through(connection.accept()) => accepted,
            () = conn.worker.drained(), if !draining => {
                draining = true;
                connection.graceful_shutdown();
                continue;
            }
            () = ended(end), if !draining => {
                draining = true;
                connection.graceful_shutdown();
                continue;
            }
        };
        match accepted {
            Some(Ok((request, respond))) => {
                // Rules and routes that came since count for this request; without any the connection ends.
                let current = conn.manager();
                if current.is_none() && !draining {
                    draining = true;
                    connection.graceful_shutdown();
                }
                let hcm = current.unwrap_or_else(|| hcm.clone());
                // In a box: a task is moved several times, and this future is large.
                tokio::task::spawn_local(Box::pin(one(conn.clone(), hcm, request, respond)));
            }
            Some(Err(error)) => {
                tracing::debug!(remote = %conn.remote, %error, "HTTP/2 connection broke");
                return;
            }
            None => return,
        }
    }
}

/// Ready at `end`; never if there is none.
async fn ended(end: Option<Instant>) {
    match end {
        Some(end) => tokio::time::sleep_until(end).await,
        None => std::future::pending().await,
    }
}

async fn one(
    conn: Rc<Conn>,
    hcm: std::sync::Arc<Hcm>,
    request: http::Request<RecvStream>,
    mut respond: SendResponse<bytes::Bytes>,
) {
    let (parts, recv) = request.into_parts();
    let Some(mut head) = H2Request::new(parts, conn.scheme()) else {
        respond.send_reset(Reason::PROTOCOL_ERROR);
        return;
    };
    let refuse = prepare(&conn, &hcm, &mut head).err();
    let mut body = Body::h2(recv);
    let length = match head.length() {
        Some(length) => Length::Known(length),
        None if body.is_over() => Length::None,
        None => Length::Unknown,
    };
    let incoming = Incoming {
        head: &head,
        protocol: Protocol::Http2,
        length,
        head_bytes: head.size(),
        upgrade: None,
        expects_continue: false,
        refuse,
    };
    let mut reply = Reply::H2 { respond, begun: false };
    phases::serve(&conn, &hcm, incoming, &mut body, &mut reply, &mut Timer::default()).await;
}

/// Makes the target unambiguous, and refuses what is well-formed and yet not served.
fn prepare(conn: &Conn, hcm: &Hcm, head: &mut H2Request) -> Result<(), Refusal> {
    if head.parts.method == http::Method::CONNECT {
        return Err(Refusal::Status(405, "CONNECT is not supported here"));
    }
    if hcm.underscores == Underscores::Reject && head.parts.headers.keys().any(|name| name.as_str().contains('_')) {
        return Err(Refusal::Status(400, "a header has an underscore in its name"));
    }
    if let Some(path) = target::path(hcm, &head.path)? {
        head.path = path.into();
    }
    if let Some(authority) = target::authority(hcm, &head.authority, conn.listener.address.port()) {
        head.authority = authority.into();
    }
    Ok(())
}

/// A request's head as HTTP/2 brought it.
struct H2Request {
    parts: Parts,
    path: Box<str>,
    authority: Box<str>,
    scheme: &'static str,
}

impl H2Request {
    fn new(parts: Parts, scheme: &'static str) -> Option<Self> {
        let path = parts.uri.path_and_query().map_or("", |path| path.as_str()).into();
        let authority = match parts.uri.authority() {
            Some(authority) => authority.as_str(),
            None => parts.headers.get(http::header::HOST)?.to_str().ok()?,
        };
        let authority: Box<str> = authority.into();
        super::h1::request::valid_authority(&authority).then_some(Self { parts, path, authority, scheme })
    }

    fn length(&self) -> Option<u64> {
        self.parts.headers.get(http::header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
    }

    fn size(&self) -> u64 {
        let fields = self.parts.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4);
        (fields.sum::<usize>() + self.path.len() + self.authority.len()) as u64
    }
}

impl RequestHead for H2Request {
    fn method(&self) -> &str {
        self.parts.method.as_str()
    }

    fn path(&self) -> &str {
        &self.path
    }

    fn authority(&self) -> &str {
        &self.authority
    }

    fn scheme(&self) -> &str {
        self.scheme
    }

    fn header(&self, name: &str) -> Option<Cow<'_, [u8]>> {
        join(self.parts.headers.get_all(name).iter().map(|value| value.as_bytes()))
    }
}

impl Headers for H2Request {
    fn each(&self, f: &mut dyn FnMut(&str, &[u8])) {
        let map: &HeaderMap = &self.parts.headers;
        // HTTP/1 wants one cookie header, HTTP/2 may bring several.
        let cookies = map.get_all(http::header::COOKIE);
        if cookies.iter().nth(1).is_some() {
            let joined: Vec<&[u8]> = cookies.iter().map(|value| value.as_bytes()).collect();
            f("cookie", &joined.join(&b"; "[..]));
        }
        let several = cookies.iter().nth(1).is_some();
        for (name, value) in map {
            if name == http::header::HOST || (several && name == http::header::COOKIE) {
                continue;
            }
            f(name.as_str(), value.as_bytes());
        }
    }

    fn has(&self, name: &str) -> bool {
        self.parts.headers.contains_key(name)
    }

    /// As it came, unless [`Headers::each`] would change something.
    fn as_map(&self) -> Option<&HeaderMap> {
        let map = &self.parts.headers;
        let as_it_came =
            !map.contains_key(http::header::HOST) && map.get_all(http::header::COOKIE).iter().nth(1).is_none();
        as_it_came.then_some(map)
    }
}
