//! Time limits of a request.

use std::task::{Context, Poll};
use std::time::Duration;

use lateen_mesh::grpc;
use lateen_proxy_core::Flag;
use lateen_proxy_core::route::Forward;
use tokio::time::Instant;

use super::exchange::Exchange;
use super::timer::Timer;

/// Time limits of a request. Those of the answer run from the moment the whole request was received.
#[derive(Debug, Clone)]
pub struct Clock {
    global: Option<Duration>,
    per_try: Option<Duration>,
    stream: Option<Duration>,
    receive: Option<Duration>,
    idle: Option<Duration>,
    /// End of the whole.
    end: Option<Instant>,
    /// End of this try.
    try_end: Option<Instant>,
    /// When it came.
    began: Instant,
    /// When anything last moved, and how much had by then.
    moved: (Instant, u64),
}

/// Which limit was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Late {
    /// That of the answer.
    Request,
    /// That of one try.
    Try,
    /// That of the stream from its first byte to its last, which gRPC clients set themselves.
    Stream,
    /// That of receiving the request.
    Receive,
    /// Nothing moved for too long.
    Idle,
}

/// How far a request has come.
#[derive(Debug, Clone, Copy)]
pub struct Progress {
    /// Bytes moved so far in both directions.
    pub moved: u64,
    /// All of the request was received.
    pub received: bool,
}

impl Clock {
    /// The limits of a request to a route.
    pub fn new(forward: &Forward, x: &Exchange<'_>) -> Self {
        let asked = x.head.header("x-envoy-upstream-rq-timeout-ms").filter(|_| !x.hcm.use_remote_address);
        let asked = asked.as_deref().and_then(|text| std::str::from_utf8(text).ok()).and_then(|text| text.parse().ok());
        let global = match asked {
            Some(0) => None,
            Some(millis) => Some(Duration::from_millis(millis)),
            None => forward.timeout,
        };
        let began = Instant::from_std(x.began);
        Self {
            global,
            per_try: forward.retry.as_ref().and_then(|retry| retry.per_try_timeout),
            stream: stream_limit(forward, x),
            receive: x.hcm.request_timeout,
            idle: forward.idle_timeout.unwrap_or(x.hcm.stream_idle_timeout),
            end: None,
            try_end: None,
            began,
            moved: (began, 0),
        }
    }

    /// The whole request was received, or a new try begins.
    pub fn start(&mut self) {
        if self.global.is_none() && self.per_try.is_none() {
            return;
        }
        let now = Instant::now();
        if self.end.is_none() {
            self.end = self.global.map(|limit| now + limit);
        }
        self.try_end = self.per_try.map(|limit| now + limit);
    }

    /// The connection changes to another protocol: only silence is limited from here.
    pub fn open_up(&mut self) {
        (self.end, self.try_end, self.stream, self.receive) = (None, None, None, None);
    }

    /// Ready when a limit is reached.
    pub fn poll(&mut self, cx: &mut Context<'_>, timer: &mut Timer, progress: Progress) -> Poll<Late> {
        if self.idle.is_some() && progress.moved != self.moved.1 {
            self.moved = (Instant::now(), progress.moved);
        }
        let receive = self.receive.filter(|_| !progress.received);
        let limits = [
            (self.end, Late::Request),
            (self.try_end, Late::Try),
            (self.stream.map(|limit| self.began + limit), Late::Stream),
            (receive.map(|limit| self.began + limit), Late::Receive),
            (self.idle.map(|limit| self.moved.0 + limit), Late::Idle),
        ];
        let first = limits.into_iter().filter_map(|(end, late)| Some((end?, late))).min_by_key(|(end, _)| *end);
        match first {
            Some((end, late)) => timer.poll_at(cx, end).map(|()| late),
            None => Poll::Pending,
        }
    }

    /// Flag, details and words for a limit that was reached before there was an answer.
    pub fn explain(&self, late: Late) -> (Flag, &'static str, String) {
        let text = |limit: Option<Duration>| format!("{:?}", limit.unwrap_or_default());
        match late {
            Late::Request => (
                Flag::UpstreamRequestTimeout,
                "upstream_response_timeout",
                format!("gave no answer within {}", text(self.global)),
            ),
            Late::Try => (
                Flag::UpstreamRequestTimeout,
                "upstream_per_try_timeout",
                format!("gave no answer within {}", text(self.per_try)),
            ),
            Late::Stream => (
                Flag::DurationTimeout,
                "max_duration_timeout",
                format!("gave no answer before the deadline of {}", text(self.stream)),
            ),
            Late::Receive => (
                Flag::StreamIdleTimeout,
                "request_overall_timeout",
                format!("could not be sent a request that was not whole after {}", text(self.receive)),
            ),
            Late::Idle => (
                Flag::StreamIdleTimeout,
                "stream_idle_timeout",
                format!("neither got nor sent anything for {}", text(self.idle)),
            ),
        }
    }
}

/// The deadline that a gRPC client sets, as far as the route heeds it; otherwise the configured limit.
fn stream_limit(forward: &Forward, x: &Exchange<'_>) -> Option<Duration> {
    let asked = || grpc::timeout(std::str::from_utf8(&x.head.header("grpc-timeout")?).ok()?);
    if let Some(most) = forward.max_grpc_timeout.filter(|_| x.grpc)
        && let Some(asked) = asked()
    {
        return Some(most.map_or(asked, |most| asked.min(most)));
    }
    forward.max_stream_duration.unwrap_or(x.hcm.max_stream_duration)
}
