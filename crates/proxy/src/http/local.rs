//! Responses made here.

use std::borrow::Cow;
use std::future::poll_fn;

use bytes::Bytes;
use lateen_proxy_core::Flag;
use lateen_proxy_core::http::ServerHeader;
use lateen_proxy_core::listener::Direction;
use lateen_proxy_core::retry::UNREACHED;
use smallvec::SmallVec;

use super::body::Body;
use super::edits::Edits;
use super::exchange::Exchange;
use super::head::{Length, Nothing};
use super::reply::{Reply, Shape};
use super::sink::Pump;

/// A response made here.
#[derive(Default)]
pub struct Local {
    /// Status.
    pub status: u16,
    /// Body.
    pub body: Bytes,
    /// Further headers.
    pub headers: SmallVec<[(Cow<'static, str>, Vec<u8>); 4]>,
    /// gRPC status; from the HTTP status when unset.
    pub grpc: Option<u32>,
}

impl Local {
    /// With plain text.
    pub fn text(status: u16, text: impl Into<String>) -> Self {
        let mut headers = SmallVec::new();
        headers.push(("content-type".into(), b"text/plain".to_vec()));
        Self { status, body: Bytes::from(text.into()), headers, grpc: None }
    }

    /// Sends the client to `location`.
    pub fn redirect(status: u16, location: String) -> Self {
        let mut response = Self::empty(status);
        response.headers.push(("location".into(), location.into_bytes()));
        response
    }

    /// Without body.
    pub fn empty(status: u16) -> Self {
        Self { status, ..Self::default() }
    }
}

/// Answers a request that fails here, and says why.
pub async fn refuse(
    x: &mut Exchange<'_>,
    body: &Body<'_>,
    reply: &mut Reply<'_>,
    status: u16,
    flag: Flag,
    details: &'static str,
    cause: String,
) {
    x.fail(flag, details);
    x.cause.clone_from(&cause);
    send(x, body, reply, Local::text(status, cause)).await;
}

/// Answers a request here and records it.
pub async fn send(x: &mut Exchange<'_>, request: &Body<'_>, reply: &mut Reply<'_>, local: Local) {
    // Who called can tell from it that trying elsewhere does no harm.
    let unreached = !x.reached && local.status >= 500 && x.conn.listener.direction == Direction::Inbound;
    let local = if x.grpc { grpc(local) } else { local };
    x.status = local.status;
    x.received = request.received;
    if reply.has_begun() {
        reply.close_after();
        x.record(None);
        return;
    }
    if !request.is_over() {
        // What is left of the request would be taken for the next one.
        reply.close_after();
    }
    let hcm = x.hcm;
    let mut edits = Edits::default();
    for (name, value) in &local.headers {
        edits.add(&**name, value.as_slice());
    }
    if unreached {
        edits.add(UNREACHED, &b"true"[..]);
    }
    let date = x.conn.worker.date();
    edits.add("date", date.to_vec());
    if hcm.server_header != ServerHeader::PassThrough {
        edits.add("server", hcm.server_name.as_bytes());
    }
    x.grpc_status = local.headers.iter().find(|(name, _)| *name == "grpc-status").and_then(|(_, value)| number(value));
    let bodyless = x.head.method() == "HEAD" || local.body.is_empty() || matches!(local.status, 204 | 304);
    let length = if local.body.is_empty() { Length::None } else { Length::Known(local.body.len() as u64) };
    let declared = (!matches!(local.status, 204 | 304)).then_some(length);
    let mut out = if bodyless { Body::empty() } else { Body::buffered(local.body.clone()) };
    if let Ok(mut sink) = reply.begin(local.status, &Nothing, &edits, Shape { declared, bodyless }) {
        let mut pump = Pump::default();
        let sent = poll_fn(|cx| pump.poll(cx, &mut out, &mut sink, None)).await;
        drop(sink);
        if sent.is_err() {
            x.flags.set(Flag::DownstreamConnectionTermination);
            reply.close_after();
        }
    }
    x.sent = out.received;
    x.record(None);
}

fn number(text: &[u8]) -> Option<u32> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// The same for a gRPC client: status 200, the reason in headers.
fn grpc(local: Local) -> Local {
    let status = local.grpc.unwrap_or(match local.status {
        400 => 13,
        401 => 16,
        403 => 7,
        404 => 12,
        429 | 502 | 503 | 504 => 14,
        _ => 2,
    });
    let mut headers = SmallVec::new();
    headers.push(("content-type".into(), b"application/grpc".to_vec()));
    headers.push(("grpc-status".into(), status.to_string().into_bytes()));
    if !local.body.is_empty() {
        headers.push(("grpc-message".into(), percent(&local.body)));
    }
    headers.extend(local.headers.into_iter().filter(|(name, _)| name != "content-type"));
    Local { status: 200, body: Bytes::new(), headers, grpc: None }
}

/// Encodes a gRPC message.
fn percent(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    for byte in text {
        match byte {
            b'%' | 0..0x20 | 0x7f.. => out.extend_from_slice(format!("%{byte:02X}").as_bytes()),
            _ => out.push(*byte),
        }
    }
    out
}
