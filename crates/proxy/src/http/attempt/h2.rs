//! A try over HTTP/2.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Instant;

use bytes::Bytes;
use h2::client::SendRequest;
use h2::{Reason, RecvStream};
use http::uri::{PathAndQuery, Scheme};
use http::{HeaderMap, Method, Uri, Version};
use lateen_proxy_core::{Flag, RequestHead};

use super::h1::Sending;
use super::relay::{Ended, relay, settle};
use super::{Tried, Wait, Work, asks_again, broken, grpc_status, shape};
use crate::http::body::Body;
use crate::http::clock::Progress;
use crate::http::edits::Edits;
use crate::http::exchange::Exchange;
use crate::http::head::Length;
use crate::http::reply::{self, Reply};
use crate::http::sink::{Pump, PumpError, Sink};
use crate::http::timer::Timer;
use crate::http::{decorate, local};
use crate::pool::Facts;

/// Sends the request as a stream of its own and passes the answer on.
pub async fn h2<'t>(
    x: &mut Exchange<'t>,
    work: &mut Work<'_, 't>,
    mut send: SendRequest<Bytes>,
    facts: Rc<Facts>,
    body: &mut Body<'_>,
    reply: &mut Reply<'_>,
    timer: &mut Timer,
) -> Tried {
    let plan = work.plan;
    x.facts = Some(facts);
    let Some(request) = request(x, work.edits, plan.length) else {
        let cause = "the request's target can't be written in HTTP/2".to_owned();
        let details = "http2.invalid_target";
        local::refuse(x, body, reply, 400, Flag::DownstreamProtocolError, details, cause).await;
        return Tried::Done;
    };
    let over = body.is_over();
    let (answer, stream) = match send.send_request(request, over) {
        Ok(sent) => sent,
        Err(error) => return broken(x, work, body, true, failed(&error)),
    };
    let mut up = if over { Sink::Nowhere } else { Sink::h2(stream) };
    let mut sending = Sending { pump: Pump::default(), sent: over, failed: false };
    if over {
        work.clock.start();
    }
    let began = Instant::now();
    let mut answer = pin!(answer);
    let waited = poll_fn(|cx| {
        if !sending.sent {
            match sending.pump.poll(cx, body, &mut up, work.replay.as_deref_mut()) {
                Poll::Ready(Ok(())) => {
                    sending.sent = true;
                    work.clock.start();
                }
                Poll::Ready(Err(PumpError::From(_))) => return Poll::Ready(Err(Wait::Client)),
                Poll::Ready(Err(PumpError::To(_))) => (sending.sent, sending.failed) = (true, true),
                Poll::Pending => {}
            }
        }
        match answer.as_mut().poll(cx) {
            Poll::Ready(Ok(answer)) => return Poll::Ready(Ok(answer)),
            Poll::Ready(Err(error)) => return Poll::Ready(Err(failed(&error))),
            Poll::Pending => {}
        }
        if sending.sent && !sending.failed && (body.poll_gone(cx).is_ready() || reply.poll_gone(cx).is_ready()) {
            return Poll::Ready(Err(Wait::Gone));
        }
        let progress = Progress { moved: body.received, received: body.is_over() };
        work.clock.poll(cx, timer, progress).map(|late| Err(Wait::Late(late)))
    })
    .await;
    let (head, recv) = match waited {
        Ok(answer) => answer.into_parts(),
        Err(wait) => {
            up.abort(Reason::CANCEL);
            return broken(x, work, body, false, wait);
        }
    };
    x.upstream_time = Some(began.elapsed());
    x.status = head.status.as_u16();
    if asks_again(x, work, x.status, &head.headers) {
        return Tried::Answered;
    }
    x.details = "via_upstream";
    x.grpc_status = grpc_status(head.headers.get("grpc-status").map(|value| value.as_bytes()));
    let ended = pass_on(x, work, &mut sending, &head.headers, recv, body, &mut up, reply, timer).await;
    settle(x, &ended, body, reply);
    x.record(Some(&head.headers));
    Tried::Done
}

#[allow(clippy::too_many_arguments)]
async fn pass_on<'t>(
    x: &mut Exchange<'t>,
    work: &mut Work<'_, 't>,
    sending: &mut Sending,
    head: &HeaderMap,
    recv: RecvStream,
    body: &mut Body<'_>,
    up: &mut Sink<'_>,
    reply: &mut Reply<'_>,
    timer: &mut Timer,
) -> Ended {
    let mut edits = Edits::default();
    decorate::response(x, head, work.plan.chosen, work.plan.tell, &mut edits);
    let known = head.get(http::header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    let length = match known {
        Some(length) => Length::Known(length),
        None if recv.is_end_stream() => Length::None,
        None => Length::Unknown,
    };
    let begun = reply.begin(x.status, head, &edits, shape(x.head.method(), x.status, length));
    drop(edits);
    let Ok(mut down) = begun else { return Ended::client() };
    let mut answer = Body::h2(recv);
    relay(x, sending, body, up, &mut answer, &mut down, false, work.clock, timer).await
}

fn failed(error: &h2::Error) -> Wait {
    let refused = error.reason() == Some(Reason::REFUSED_STREAM);
    Wait::Upstream { cause: error.to_string(), began: false, refused }
}

fn request(x: &Exchange<'_>, edits: &Edits<'_>, length: Length) -> Option<http::Request<()>> {
    let mut request = http::Request::new(());
    *request.version_mut() = Version::HTTP_2;
    let method = edits.method.as_deref().unwrap_or(x.head.method());
    *request.method_mut() = Method::from_bytes(method.as_bytes()).ok()?;
    let authority = edits.authority.as_deref().unwrap_or(RequestHead::authority(x.head));
    let path = edits.path.as_deref().unwrap_or(x.head.path());
    let mut uri = http::uri::Parts::default();
    uri.scheme = Some(if x.head.scheme() == "https" { Scheme::HTTPS } else { Scheme::HTTP });
    uri.authority = Some(authority.parse().ok()?);
    uri.path_and_query = Some(PathAndQuery::try_from(path).ok()?);
    *request.uri_mut() = Uri::from_parts(uri).ok()?;
    let map = request.headers_mut();
    map.reserve(24);
    reply::fill(map, x.head, edits);
    if let Length::Known(length) = length {
        map.insert(http::header::CONTENT_LENGTH, length.into());
    }
    // Only the one form of it that HTTP/2 knows may stay.
    if map.get(http::header::TE).is_some_and(|value| value != "trailers") {
        map.remove(http::header::TE);
    }
    Some(request)
}
