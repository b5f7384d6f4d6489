//! One try at one endpoint: send the request, wait for the answer, pass it on.

mod h1;
mod h2;
mod relay;

use lateen_proxy_core::Flag;
use lateen_proxy_core::http::Alpn;
use lateen_proxy_core::retry::{Failure, is_idempotent};

use super::body::Body;
use super::clock::{Clock, Late};
use super::edits::Edits;
use super::exchange::{EndpointRef, Exchange};
use super::forward::{Broken, Plan, take_retry};
use super::head::{Length, Response};
use super::reply::Shape;
use super::sink::Replay;
use crate::pool::Counted;

pub use h1::h1;
pub use h2::h2;

/// What a try needs.
pub struct Work<'w, 't> {
    /// What is to be done.
    pub plan: &'w Plan<'t>,
    /// Where.
    pub endpoint: &'w EndpointRef<'t>,
    /// Changes of the head.
    pub edits: &'w Edits<'t>,
    /// Application protocols asked for.
    pub alpn: Option<&'w Alpn>,
    /// Time limits.
    pub clock: &'w mut Clock,
    /// Keeps the body for another try.
    pub replay: Option<&'w mut Replay>,
    /// There may be another try.
    pub can_retry: bool,
    /// The retry that is counted.
    pub retry_count: &'w mut Option<Counted>,
}

/// How a try ended.
pub enum Tried {
    /// The answer was passed on, or as much of it as possible; it is recorded.
    Done,
    /// The client went away; that is recorded.
    Gone,
    /// The answer asks for another try.
    Answered,
    /// A time limit was reached.
    Late(Late),
    /// There was no answer.
    Failed {
        /// How.
        failure: Failure,
        /// On a kept connection, before anything came back: another connection may do, for a request that can be
        /// repeated without harm.
        stale: bool,
        /// In words.
        broken: Broken,
    },
}

/// Why there is no answer to pass on.
enum Wait {
    /// The client's body broke off.
    Client,
    /// The client went away.
    Gone,
    /// The endpoint's connection broke; whether anything of an answer had come.
    Upstream { cause: String, began: bool, refused: bool },
    /// The endpoint doesn't speak HTTP.
    Protocol(String),
    /// Time is up.
    Late(Late),
}

/// Records that the client went away.
pub fn gone(x: &mut Exchange<'_>, body: &Body<'_>) -> Tried {
    x.fail(Flag::DownstreamConnectionTermination, "downstream_remote_disconnect");
    x.received = body.received;
    x.status = 0;
    x.record(None);
    Tried::Gone
}

/// What a wait without answer means.
fn broken(x: &mut Exchange<'_>, work: &Work<'_, '_>, body: &Body<'_>, reused: bool, wait: Wait) -> Tried {
    let address = &work.endpoint.address;
    let cluster = &work.plan.cluster.name;
    let harmless = is_idempotent(x.head.method());
    match wait {
        Wait::Client | Wait::Gone => gone(x, body),
        Wait::Late(late) => Tried::Late(late),
        Wait::Protocol(cause) => Tried::Failed {
            failure: Failure::Reset,
            stale: false,
            broken: Broken {
                flag: Flag::UpstreamProtocolError,
                details: "upstream_reset_before_response_started{protocol_error}",
                cause: format!("{address} of cluster {cluster} answered with something that is no HTTP: {cause}"),
            },
        },
        Wait::Upstream { cause, began, refused } => Tried::Failed {
            failure: if refused { Failure::RefusedStream } else { Failure::Reset },
            stale: reused && !began && harmless,
            broken: Broken {
                flag: Flag::UpstreamConnectionTermination,
                details: "upstream_reset_before_response_started{connection_termination}",
                cause: format!("{address} of cluster {cluster} closed the connection before it answered: {cause}"),
            },
        },
    }
}

/// What the response's body looks like to the client.
fn shape(method: &str, status: u16, length: Length) -> Shape {
    let bodyless = method == "HEAD" || matches!(status, 204 | 304) || length == Length::None;
    let declared = match status {
        204 | 304 if !matches!(length, Length::Known(_)) => None,
        204 => None,
        _ if method == "HEAD" && length == Length::None => None,
        _ => Some(length),
    };
    Shape { declared, bodyless }
}

/// Whether the answer asks for another try.
fn asks_again(x: &mut Exchange<'_>, work: &mut Work<'_, '_>, status: u16, head: &dyn Response) -> bool {
    let Some(retry) = &work.plan.forward.retry else { return false };
    let grpc = if x.grpc { grpc_status(head.header("grpc-status")) } else { None };
    if !retry.on_response(x.head.method(), status, grpc, |name| head.header(name)) {
        return false;
    }
    if !work.can_retry && retry.retries > 0 {
        x.flags.set(Flag::UpstreamRetryLimitExceeded);
    }
    work.can_retry && take_retry(x, work.plan, work.retry_count)
}

fn grpc_status(value: Option<&[u8]>) -> Option<u32> {
    std::str::from_utf8(value?).ok()?.parse().ok()
}
