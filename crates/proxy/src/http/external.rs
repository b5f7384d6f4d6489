//! Asks external authorizers, over the worker's own pools.

use std::future::poll_fn;
use std::time::Duration;

use bytes::Bytes;
use lateen_proxy_core::Tables;
use lateen_proxy_core::external::{
    Answer, Content, External, GRPC_PATH, HttpService, Question, Service, Side, grpc_message, http_headers,
};
use lateen_proxy_core::route::{Chosen, Target};
use tokio::time::timeout;

use super::body::{Body, BodyError};
use super::edits::Edits;
use super::exchange::Exchange;
use super::forward::{self, Plan};
use super::head::{Length, Request, Written};
use super::reply::Reply;
use super::sink::Kept;
use super::timer::Timer;
use crate::listener::Conn;
use crate::record::Protocol;

/// Beyond the time limit of the answer itself, for getting a connection.
const GRACE: Duration = Duration::from_secs(1);

/// The beginning of a request's body, as far as an authorizer sees it.
pub struct Shown {
    /// The bytes.
    pub bytes: Bytes,
    /// There is more.
    pub partial: bool,
}

/// Reads the beginning of a body and puts it back.
///
/// # Errors
/// When the client breaks off.
pub async fn shown(body: &mut Body<'_>, max: usize) -> Result<Shown, BodyError> {
    let mut bytes = Vec::new();
    let mut whole = false;
    while bytes.len() < max {
        if !poll_fn(|cx| body.poll_next(cx)).await? {
            whole = true;
            break;
        }
        bytes.extend_from_slice(&body.take(max - bytes.len()));
    }
    let partial = !whole && !body.is_over() && poll_fn(|cx| body.poll_next(cx)).await?;
    let bytes = Bytes::from(bytes);
    body.unread(bytes.clone());
    Ok(Shown { bytes, partial })
}

/// What is asked about a connection.
fn question<'q>(conn: &'q Conn, content: Option<Content<'q>>) -> Question<'q> {
    let own = conn.tls.as_ref().and_then(|tls| tls.local.as_deref());
    Question {
        source: Side { address: conn.remote, principal: conn.principal().unwrap_or_default() },
        destination: Side { address: conn.destination, principal: own.unwrap_or_default() },
        time: std::time::SystemTime::now(),
        content,
    }
}

/// Asks about a byte stream.
pub async fn ask_about_stream(conn: &Conn, tables: &Tables, external: &External) -> Answer {
    let Service::Grpc { authority } = &external.service else {
        return Answer::Failed("an authorizer that speaks HTTP can't be asked about byte streams".to_owned());
    };
    let message = grpc_message(external, &question(conn, None));
    let head = grpc_head(authority, external.forward.timeout);
    call(conn, tables, external, &head, Protocol::Http2, message.into()).await
}

/// Asks about a request; `shown` is what the authorizer sees of its body.
pub async fn ask(
    x: &Exchange<'_>,
    external: &External,
    head: &dyn Request,
    size: Option<u64>,
    shown: Option<&Shown>,
) -> Answer {
    let mut headers = Vec::new();
    head.each(&mut |name, value| headers.push((name.into(), value.into())));
    let content = Content {
        head,
        headers: &headers,
        id: &x.request_id,
        protocol: x.protocol.as_str(),
        size,
        body: shown.map(|shown| &*shown.bytes),
        partial: shown.is_some_and(|shown| shown.partial),
    };
    match &external.service {
        Service::Grpc { authority } => {
            let message = grpc_message(external, &question(x.conn, Some(content)));
            let head = grpc_head(authority, external.forward.timeout);
            call(x.conn, x.tables, external, &head, Protocol::Http2, message.into()).await
        }
        Service::Http(service) => {
            let head = http_head(x, external, service, &content);
            let body = shown.map(|shown| shown.bytes.clone()).unwrap_or_default();
            call(x.conn, x.tables, external, &head, Protocol::Http11, body).await
        }
    }
}

fn grpc_head(authority: &str, limit: Option<Duration>) -> Written {
    let header = |name: &str, value: &str| (name.into(), value.as_bytes().into());
    let mut headers = vec![header("content-type", "application/grpc"), header("te", "trailers")];
    if let Some(limit) = limit {
        // Eight digits at the most, says gRPC.
        headers.push(header("grpc-timeout", &format!("{}m", limit.as_millis().min(99_999_999))));
    }
    Written { method: "POST".into(), path: GRPC_PATH.into(), authority: authority.into(), scheme: "http", headers }
}

fn http_head(x: &Exchange<'_>, external: &External, service: &HttpService, content: &Content<'_>) -> Written {
    let head = content.head;
    let mut headers = http_headers(&external.shown, content);
    let mut edits = Edits::default();
    edits.apply(&service.added, x.head, x);
    headers.retain(|(name, _)| !edits.hides(name));
    headers.extend(edits.each_added().map(|(name, value)| (name.into(), value.into())));
    Written {
        method: head.method().into(),
        path: format!("{}{}", service.path_prefix, head.path()).into(),
        authority: head.authority().into(),
        scheme: "http",
        headers,
    }
}

async fn call(
    conn: &Conn,
    tables: &Tables,
    external: &External,
    head: &Written,
    protocol: Protocol,
    content: Bytes,
) -> Answer {
    let Target::Single(id) = external.forward.target else { return Answer::Failed("it has no cluster".to_owned()) };
    let Some(cluster) = tables.cluster(id) else {
        let name = tables.cluster_name(id);
        return Answer::Failed(format!("its cluster {name} doesn't exist: does its Service?"));
    };
    let mut x = Exchange::new(conn, &external.manager, tables, head, protocol);
    x.recorded = false;
    (x.cluster_name, x.cluster) = (tables.cluster_name(id), Some(cluster));
    let chosen = Chosen { cluster: Some(id), weighted: None };
    let length = Length::Known(content.len() as u64);
    let plan = Plan { forward: &external.forward, cluster, chosen, length, upgrade: None, tell: false };
    let (mut kept, mut body, mut timer) = (Kept::default(), Body::buffered(content), Timer::default());
    let mut reply = Reply::Kept { kept: &mut kept, begun: false };
    let asking = forward::forward(&mut x, &plan, Edits::default(), &mut body, &mut reply, &mut timer);
    let whole = external.forward.timeout.map(|limit| limit + GRACE);
    let asked = match whole {
        Some(limit) => timeout(limit, Box::pin(asking)).await.is_ok(),
        None => {
            Box::pin(asking).await;
            true
        }
    };
    let (flags, details, cause, grpc_status) = (x.flags, x.details, std::mem::take(&mut x.cause), x.grpc_status);
    drop(x);
    if !asked {
        return Answer::Failed("it didn't answer in time".to_owned());
    }
    if details != "via_upstream" || !flags.is_empty() || kept.too_long {
        let cause = if kept.too_long { "its answer is too long".to_owned() } else { cause };
        return Answer::Failed(cause);
    }
    match &external.service {
        Service::Grpc { .. } if kept.status != 200 => {
            Answer::Failed(format!("it answered with status {}", kept.status))
        }
        Service::Grpc { .. } => Answer::of_grpc(grpc_status, &kept.body),
        Service::Http(service) => Answer::of_http(service, kept.status, &kept.headers, kept.body.into()),
    }
}
