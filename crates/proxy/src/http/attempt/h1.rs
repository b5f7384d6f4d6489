//! A try over HTTP/1.

use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use super::relay::{Ended, relay, settle};
use super::{Tried, Wait, Work, asks_again, broken, shape};
use crate::buffer::{Inbuf, SIZE};
use crate::http::body::Body;
use crate::http::clock::Progress;
use crate::http::decorate;
use crate::http::edits::Edits;
use crate::http::exchange::Exchange;
use crate::http::h1::parse::{self, Framing, Parts};
use crate::http::h1::response::H1Response;
use crate::http::h1::write;
use crate::http::head::Length;
use crate::http::reply::Reply;
use crate::http::sink::{Pump, PumpError, Sink};
use crate::http::timer::Timer;
use crate::io::Stream;
use crate::pool::H1Conn;

/// Longest head of a response.
const MAX_HEAD: usize = 8 * SIZE;

/// Sends the request on `conn` and passes the answer on.
pub async fn h1<'t>(
    x: &mut Exchange<'t>,
    work: &mut Work<'_, 't>,
    mut conn: Box<H1Conn>,
    body: &mut Body<'_>,
    reply: &mut Reply<'_>,
    timer: &mut Timer,
) -> Tried {
    let plan = work.plan;
    x.facts = Some(conn.facts.clone());
    let H1Conn { stream, inbuf, out, reused, .. } = &mut *conn;
    out.clear();
    write::request(out, x.head, work.edits, plan.length, plan.upgrade);
    let mut up = Sink::h1(stream, out, plan.length == Length::Unknown, false);
    let mut sending = Sending { pump: Pump::default(), sent: false, failed: false };
    let began = Instant::now();
    let waited = poll_fn(|cx| sending.poll_answer(cx, work, stream, inbuf, body, &mut up, reply, timer)).await;
    let parts = match waited {
        Ok(parts) => parts,
        Err(wait) => return broken(x, work, body, *reused, wait),
    };
    x.upstream_time = Some(began.elapsed());
    let response = H1Response { bytes: inbuf.head(), parts: &parts };
    if asks_again(x, work, parts.status, &response) {
        x.status = parts.status;
        return Tried::Answered;
    }
    x.status = parts.status;
    x.details = "via_upstream";
    let framing = parts.response_framing(x.head.method());
    let mut edits = Edits::default();
    decorate::response(x, &response, plan.chosen, plan.tell, &mut edits);
    let upgraded = plan.upgrade.filter(|_| parts.status == 101);
    let ended = if let Some(protocol) = upgraded {
        let mut down = reply.switch(&response, &edits, protocol);
        drop(edits);
        body.open_up();
        up.close_at_end();
        sending.pump = Pump::default();
        sending.sent = false;
        let mut answer = Body::h1(stream, inbuf, Framing::UntilClose);
        work.clock.open_up();
        relay(x, &mut sending, body, &mut up, &mut answer, &mut down, true, work.clock, timer).await
    } else {
        let length = length(&parts, framing);
        let begun = reply.begin(parts.status, &response, &edits, shape(x.head.method(), parts.status, length));
        drop(edits);
        match begun {
            Ok(mut down) => {
                let mut answer = Body::h1(stream, inbuf, framing);
                relay(x, &mut sending, body, &mut up, &mut answer, &mut down, false, work.clock, timer).await
            }
            Err(_) => Ended::client(),
        }
    };
    let whole = settle(x, &ended, body, reply);
    x.record(Some(&H1Response { bytes: inbuf.head(), parts: &parts }));
    let reusable = whole && sending.sent && !sending.failed && parts.persistent() && upgraded.is_none();
    if reusable && framing != Framing::UntilClose {
        x.conn.worker.pools.release(plan.cluster, work.endpoint, work.alpn, conn);
    }
    Tried::Done
}

fn length(parts: &Parts, framing: Framing) -> Length {
    match (framing, parts.length) {
        // A HEAD is answered with the length that a GET would bring.
        (_, Some(length)) => Length::Known(length),
        (Framing::None, None) => Length::None,
        _ => Length::Unknown,
    }
}

/// The request on its way.
pub struct Sending {
    /// Moves the body.
    pub pump: Pump,
    /// All of it went out, or as much as the endpoint took.
    pub sent: bool,
    /// The endpoint didn't take all of it.
    pub failed: bool,
}

impl Sending {
    #[allow(clippy::too_many_arguments)]
    fn poll_answer(
        &mut self,
        cx: &mut Context<'_>,
        work: &mut Work<'_, '_>,
        stream: &Stream,
        inbuf: &mut Inbuf,
        body: &mut Body<'_>,
        up: &mut Sink<'_>,
        reply: &mut Reply<'_>,
        timer: &mut Timer,
    ) -> Poll<Result<Parts, Wait>> {
        if !self.sent {
            match self.pump.poll(cx, body, up, work.replay.as_deref_mut()) {
                Poll::Ready(Ok(())) => {
                    self.sent = true;
                    work.clock.start();
                }
                Poll::Ready(Err(PumpError::From(_))) => return Poll::Ready(Err(Wait::Client)),
                // The answer may be there all the same: a server that refuses a body answers first.
                Poll::Ready(Err(PumpError::To(_))) => (self.sent, self.failed) = (true, true),
                Poll::Pending => {}
            }
        }
        match poll_head(cx, stream, inbuf) {
            Poll::Ready(Ok(parts)) => return Poll::Ready(Ok(parts)),
            Poll::Ready(Err(wait)) => return Poll::Ready(Err(wait)),
            Poll::Pending => {}
        }
        if self.sent && !self.failed && (body.poll_gone(cx).is_ready() || reply.poll_gone(cx).is_ready()) {
            return Poll::Ready(Err(Wait::Gone));
        }
        let progress = Progress { moved: body.received, received: body.is_over() };
        work.clock.poll(cx, timer, progress).map(|late| Err(Wait::Late(late)))
    }
}

/// Reads the head of the answer; it stays at the front of the buffer.
fn poll_head(cx: &mut Context<'_>, stream: &Stream, inbuf: &mut Inbuf) -> Poll<Result<Parts, Wait>> {
    loop {
        if !inbuf.is_empty() {
            match parse::response(inbuf.bytes_mut()) {
                // Provisional answers were met here or are not waited for.
                Ok(Some(parts)) if parts.status < 200 && parts.status != 101 => {
                    inbuf.consume(parts.len);
                    continue;
                }
                Ok(Some(parts)) => {
                    inbuf.pin(parts.len);
                    return Poll::Ready(Ok(parts));
                }
                Ok(None) => {}
                Err(error) => return Poll::Ready(Err(Wait::Protocol(error.to_string()))),
            }
        }
        let read = ready!(inbuf.poll_fill(cx, stream, MAX_HEAD));
        let began = !inbuf.is_empty();
        let cause = match read {
            Ok(0) if inbuf.bytes().len() >= MAX_HEAD => {
                return Poll::Ready(Err(Wait::Protocol("its head is too long".into())));
            }
            Ok(0) => end_cause(began),
            Ok(_) => continue,
            Err(error) => reset_cause(&error),
        };
        return Poll::Ready(Err(Wait::Upstream { cause, began, refused: false }));
    }
}

fn end_cause(began: bool) -> String {
    if began { "it ended in the middle of the head".into() } else { "it ended without a byte".into() }
}

fn reset_cause(error: &io::Error) -> String {
    error.to_string()
}
