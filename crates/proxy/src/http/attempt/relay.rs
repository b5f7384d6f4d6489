//! Passing an answer on while the request may still be on its way.

use std::future::poll_fn;
use std::task::Poll;

use lateen_proxy_core::Flag;

use super::grpc_status;
use super::h1::Sending;
use crate::http::body::Body;
use crate::http::clock::{Clock, Late, Progress};
use crate::http::exchange::Exchange;
use crate::http::reply::Reply;
use crate::http::sink::{Pump, PumpError, Sink};
use crate::http::timer::Timer;

/// How passing it on ended.
pub struct Ended {
    result: Result<(), Cut>,
    sent: u64,
    grpc_status: Option<u32>,
}

/// What cut it off.
enum Cut {
    /// The endpoint.
    Upstream(String),
    /// The client.
    Client,
    /// Time.
    Late(Late),
}

impl Ended {
    /// The client went away.
    pub fn client() -> Self {
        Self { result: Err(Cut::Client), sent: 0, grpc_status: None }
    }
}

/// Moves the answer to the client and the rest of the request to the endpoint. A tunnel lasts until both directions
/// ended, an answer until it is through.
#[allow(clippy::too_many_arguments)]
pub async fn relay(
    x: &Exchange<'_>,
    sending: &mut Sending,
    body: &mut Body<'_>,
    up: &mut Sink<'_>,
    answer: &mut Body<'_>,
    down: &mut Sink<'_>,
    tunnel: bool,
    clock: &mut Clock,
    timer: &mut Timer,
) -> Ended {
    let mut back = if x.grpc { Pump::keeping_trailers() } else { Pump::default() };
    let mut returned = false;
    let result = poll_fn(|cx| {
        if !sending.sent {
            match sending.pump.poll(cx, body, up, None) {
                Poll::Ready(Ok(())) => sending.sent = true,
                Poll::Ready(Err(_)) => (sending.sent, sending.failed) = (true, true),
                Poll::Pending => {}
            }
        }
        if !returned {
            match back.poll(cx, answer, down, None) {
                Poll::Ready(Ok(())) => returned = true,
                Poll::Ready(Err(PumpError::From(error))) => return Poll::Ready(Err(Cut::Upstream(error.to_string()))),
                Poll::Ready(Err(PumpError::To(_))) => return Poll::Ready(Err(Cut::Client)),
                Poll::Pending => {}
            }
        }
        if returned && (!tunnel || sending.sent) {
            return Poll::Ready(Ok(()));
        }
        if down.poll_reset(cx).is_ready() {
            return Poll::Ready(Err(Cut::Client));
        }
        let progress = Progress { moved: body.received + answer.received, received: body.is_over() };
        clock.poll(cx, timer, progress).map(|late| Err(Cut::Late(late)))
    })
    .await;
    if result.is_err() {
        down.abort(h2::Reason::INTERNAL_ERROR);
    }
    if !sending.sent {
        up.abort(h2::Reason::NO_ERROR);
    }
    let trailer = back.trailers.as_ref().and_then(|trailers| trailers.get("grpc-status"));
    Ended { result, sent: answer.received, grpc_status: grpc_status(trailer.map(|value| value.as_bytes())) }
}

/// Notes how it ended; true when the answer is whole.
pub fn settle(x: &mut Exchange<'_>, ended: &Ended, body: &Body<'_>, reply: &mut Reply<'_>) -> bool {
    x.sent = ended.sent;
    x.received = body.received;
    x.grpc_status = ended.grpc_status.or(x.grpc_status);
    if !body.is_over() {
        reply.close_after();
    }
    let Err(cut) = &ended.result else { return true };
    reply.close_after();
    match cut {
        Cut::Upstream(cause) => {
            x.fail(
                Flag::UpstreamConnectionTermination,
                "upstream_reset_after_response_started{connection_termination}",
            );
            x.cause.clone_from(cause);
        }
        Cut::Client => x.fail(Flag::DownstreamConnectionTermination, "downstream_remote_disconnect"),
        Cut::Late(Late::Request) => x.fail(Flag::UpstreamRequestTimeout, "response_timeout"),
        Cut::Late(Late::Try) => x.fail(Flag::UpstreamRequestTimeout, "upstream_per_try_timeout"),
        Cut::Late(Late::Stream) => x.fail(Flag::DurationTimeout, "max_duration_timeout"),
        Cut::Late(Late::Receive) => x.fail(Flag::StreamIdleTimeout, "request_overall_timeout"),
        Cut::Late(Late::Idle) => x.fail(Flag::StreamIdleTimeout, "stream_idle_timeout"),
    }
    false
}
