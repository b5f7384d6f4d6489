//! Forwarding: tries at endpoints until one answers, time is up, or there is no use in trying again.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::atomic::Ordering::Relaxed;
use std::task::Poll;

use bytes::Bytes;
use lateen_proxy_core::Flag;
use lateen_proxy_core::balance::{PickContext, request_hash};
use lateen_proxy_core::cluster::{Cluster, Discovery};
use lateen_proxy_core::endpoint::EndpointState;
use lateen_proxy_core::outlier::{self, Outcome};
use lateen_proxy_core::retry::{Failure, is_idempotent};
use lateen_proxy_core::route::{Chosen, Forward, HostRewrite};
use smallvec::SmallVec;
use std::sync::Arc;

use super::attempt::{self, Tried};
use super::body::Body;
use super::cause;
use super::clock::{Clock, Late, Progress};
use super::edits::Edits;
use super::exchange::{EndpointRef, Exchange};
use super::head::Length;
use super::local::{self, Local};
use super::reply::Reply;
use super::sink::Replay;
use super::timer::Timer;
use crate::pool::{AcquireError, Counted, Slot, Upstream, Version, Want};

/// Bytes of a body kept to send it again.
const REPLAY: usize = 64 << 10;

/// What is to be done with a request.
pub struct Plan<'t> {
    /// The route's action.
    pub forward: &'t Forward,
    /// The cluster.
    pub cluster: &'t Arc<Cluster>,
    /// The choice that led to it.
    pub chosen: Chosen<'t>,
    /// Length of the request's body.
    pub length: Length,
    /// The protocol to change to.
    pub upgrade: Option<&'t str>,
    /// Tell the client our metadata.
    pub tell: bool,
}

/// Counts a request at its endpoint.
struct Active<'e>(&'e EndpointState);

impl<'e> Active<'e> {
    fn new(state: &'e EndpointState) -> Self {
        state.active.fetch_add(1, Relaxed);
        Self(state)
    }
}

impl Drop for Active<'_> {
    fn drop(&mut self) {
        self.0.active.fetch_sub(1, Relaxed);
    }
}

/// Forwards the request, and records it.
pub async fn forward<'t>(
    x: &mut Exchange<'t>,
    plan: &Plan<'t>,
    mut edits: Edits<'t>,
    body: &mut Body<'_>,
    reply: &mut Reply<'_>,
    timer: &mut Timer,
) {
    let limits = &plan.cluster.limits[usize::from(plan.forward.high_priority)];
    let counted = Counted::take(&plan.cluster.state, Slot::Requests, limits.requests);
    let _counted = match counted {
        Ok(counted) => counted,
        Err(full) => {
            let cause = format!("{full} of cluster {}", plan.cluster.name);
            return local::refuse(x, body, reply, 503, Flag::UpstreamOverflow, "overflow", cause).await;
        }
    };
    let mut tries = Tries::new(x, plan, body);
    loop {
        x.attempts += 1;
        if x.attempts > 1 && x.host.is_some_and(|host| host.attempt_count_in_request) {
            edits.set("x-envoy-attempt-count", x.attempts.to_string().into_bytes());
        }
        let Some(endpoint) = tries.pick(x, plan) else {
            let cause = cause::no_endpoint(plan.cluster);
            return local::refuse(x, body, reply, 503, Flag::NoHealthyUpstream, "no_healthy_upstream", cause).await;
        };
        if matches!(plan.forward.host_rewrite, Some(HostRewrite::Auto)) && !endpoint.hostname.is_empty() {
            edits.authority = Some(endpoint.hostname.to_string().into());
        }
        x.endpoint = Some(endpoint.clone());
        let _active = Active::new(&endpoint.state);
        let tried = tries.once(x, plan, &endpoint, &edits, body, reply, timer).await;
        report(x, plan, &endpoint, &tried);
        match tried {
            Tried::Done | Tried::Gone => return,
            Tried::Late(late) if late != Late::Try || !tries.again(plan, Failure::PerTryTimeout, x) => {
                return timed_out(x, plan, &tries.clock, body, reply, late).await;
            }
            Tried::Late(_) | Tried::Answered => {}
            Tried::Failed { failure, stale, broken } => {
                let again = stale && tries.stale_once() || tries.again(plan, failure, x);
                if !again {
                    return local::refuse(x, body, reply, 503, broken.flag, broken.details, broken.cause).await;
                }
            }
        }
        if !tries.rewind(body) {
            let cause = "the request can't be sent again: its body was too long to be kept".to_owned();
            return local::refuse(x, body, reply, 503, Flag::UpstreamConnectionTermination, "retry_impossible", cause)
                .await;
        }
        tries.pause(x, plan).await;
    }
}

/// Counts a retry in `count`, in place of the one before; false when there are too many in the cluster.
pub fn take_retry(x: &mut Exchange<'_>, plan: &Plan<'_>, count: &mut Option<Counted>) -> bool {
    let limits = &plan.cluster.limits[usize::from(plan.forward.high_priority)];
    let state = &plan.cluster.state;
    let limit = limits.retries(state.requests.load(Relaxed).saturating_add(state.pending.load(Relaxed)));
    *count = None;
    match Counted::take(state, Slot::Retries, limit) {
        Ok(counted) => *count = Some(counted),
        Err(_) => x.flags.set(Flag::UpstreamOverflow),
    }
    count.is_some()
}

/// How a try that brought no answer failed.
pub struct Broken {
    /// Flag for it.
    pub flag: Flag,
    /// The same in Envoy's words.
    pub details: &'static str,
    /// Plain cause.
    pub cause: String,
}

/// What the tries of one request share.
struct Tries {
    clock: Clock,
    replay: Option<Replay>,
    /// Sending it twice does no harm, and is possible.
    repeatable: bool,
    tried: SmallVec<[u64; 4]>,
    hash: Option<u64>,
    retries: u32,
    stale: bool,
    fresh: bool,
    retry_count: Option<Counted>,
}

impl Tries {
    fn new(x: &Exchange<'_>, plan: &Plan<'_>, body: &Body<'_>) -> Self {
        let over = body.is_over();
        let mut clock = Clock::new(plan.forward, x);
        if over {
            clock.start();
        }
        let hash = &plan.forward.hash;
        let idempotent = is_idempotent(x.head.method());
        let kept = match plan.length {
            Length::None => true,
            Length::Known(length) => length <= REPLAY as u64,
            Length::Unknown => false,
        };
        Self {
            clock,
            replay: (!over).then(|| Replay::new(if idempotent || plan.forward.retry.is_some() { REPLAY } else { 0 })),
            repeatable: idempotent && kept,
            tried: SmallVec::new(),
            hash: if hash.is_empty() { None } else { request_hash(hash, x.head, x.conn.remote.ip()) },
            retries: 0,
            stale: false,
            fresh: false,
            retry_count: None,
        }
    }

    fn pick<'t>(&mut self, x: &Exchange<'t>, plan: &Plan<'t>) -> Option<EndpointRef<'t>> {
        let worker = &x.conn.worker;
        if let Discovery::OriginalDst { .. } = plan.cluster.discovery {
            return Some(EndpointRef::Own(x.conn.original_endpoint(&plan.cluster.config)));
        }
        let retry = plan.forward.retry.as_ref().filter(|retry| retry.avoid_previous_hosts);
        let context = PickContext {
            now: worker.now(),
            random: worker.random(),
            hash: self.hash,
            avoid: if retry.is_some() { &self.tried } else { &[] },
            attempts: retry.map_or(0, |retry| retry.host_selection_attempts),
        };
        let endpoint = plan.cluster.pick(context)?;
        self.tried.push(endpoint.id);
        Some(EndpointRef::Table(endpoint))
    }

    #[allow(clippy::too_many_arguments)]
    async fn once<'t>(
        &mut self,
        x: &mut Exchange<'t>,
        plan: &Plan<'t>,
        endpoint: &EndpointRef<'t>,
        edits: &Edits<'t>,
        body: &mut Body<'_>,
        reply: &mut Reply<'_>,
        timer: &mut Timer,
    ) -> Tried {
        let version = Version::of(plan.cluster, x.protocol, plan.upgrade.is_some());
        let choices = x.hcm.filters.alpn.as_ref().filter(|_| !plan.cluster.keep_alpn);
        let alpn = choices.and_then(|choices| version.alpn(choices)).filter(|_| endpoint.transport.is_tls());
        let want = Want {
            version,
            alpn,
            host: edits.authority.as_deref().unwrap_or(x.head.authority()),
            fresh: std::mem::take(&mut self.fresh),
            repeatable: self.repeatable,
            high_priority: plan.forward.high_priority,
        };
        let worker = &x.conn.worker;
        let acquired = {
            let mut acquiring = pin!(worker.pools.acquire(worker, plan.cluster, endpoint, &want));
            let mut clock = self.clock.clone();
            poll_fn(|cx| {
                if let Poll::Ready(acquired) = acquiring.as_mut().poll(cx) {
                    return Poll::Ready(Ok(acquired));
                }
                if body.is_over() && (body.poll_gone(cx).is_ready() || reply.poll_gone(cx).is_ready()) {
                    return Poll::Ready(Err(None));
                }
                let progress = Progress { moved: body.received, received: body.is_over() };
                clock.poll(cx, timer, progress).map(|late| Err(Some(late)))
            })
            .await
        };
        let upstream = match acquired {
            Ok(Ok(upstream)) => upstream,
            Ok(Err(error)) => return unreachable_endpoint(x, plan, endpoint, &error),
            Err(Some(late)) => return Tried::Late(late),
            Err(None) => return attempt::gone(x, body),
        };
        x.reached = true;
        let can_retry = self.left(plan) && self.replay.as_ref().is_none_or(|replay| replay.kept().is_some());
        let mut work = attempt::Work {
            plan,
            endpoint,
            edits,
            alpn,
            clock: &mut self.clock,
            replay: self.replay.as_mut(),
            can_retry,
            retry_count: &mut self.retry_count,
        };
        match upstream {
            Upstream::H1(conn) => attempt::h1(x, &mut work, conn, body, reply, timer).await,
            Upstream::H2(send, facts) => attempt::h2(x, &mut work, send, facts, body, reply, timer).await,
        }
    }

    fn left(&self, plan: &Plan<'_>) -> bool {
        plan.forward.retry.as_ref().is_some_and(|retry| self.retries < retry.retries)
    }

    /// A kept connection that turned out closed is no failure of the endpoint: one new connection is free.
    fn stale_once(&mut self) -> bool {
        let kept = self.replay.as_ref().is_none_or(|replay| replay.kept().is_some());
        if self.stale || !kept {
            return false;
        }
        self.stale = true;
        self.fresh = true;
        true
    }

    /// Whether to try again after a failure.
    fn again(&mut self, plan: &Plan<'_>, failure: Failure, x: &mut Exchange<'_>) -> bool {
        let Some(retry) = plan.forward.retry.as_ref().filter(|retry| retry.on_failure(failure, x.head.method())) else {
            return false;
        };
        if self.retries >= retry.retries {
            if retry.retries > 0 {
                x.flags.set(Flag::UpstreamRetryLimitExceeded);
            }
            return false;
        }
        take_retry(x, plan, &mut self.retry_count)
    }

    /// Makes the body ready to be sent again.
    fn rewind(&mut self, body: &mut Body<'_>) -> bool {
        let Some(replay) = &mut self.replay else { return true };
        let Some(kept) = replay.kept() else { return false };
        body.unread(Bytes::copy_from_slice(kept));
        *replay = Replay::new(REPLAY);
        true
    }

    async fn pause(&mut self, x: &Exchange<'_>, plan: &Plan<'_>) {
        if self.fresh {
            return;
        }
        self.retries += 1;
        if let Some(retry) = &plan.forward.retry {
            tokio::time::sleep(retry.backoff(self.retries + 1, x.conn.worker.random())).await;
        }
        self.clock.start();
    }
}

fn unreachable_endpoint(
    x: &mut Exchange<'_>,
    plan: &Plan<'_>,
    endpoint: &EndpointRef<'_>,
    error: &AcquireError,
) -> Tried {
    let cause = cause::acquire(x.conn, plan.cluster, endpoint, error);
    let (failure, flag, details) = match error {
        AcquireError::Full(_) => (Failure::Overflow, Flag::UpstreamOverflow, "overflow"),
        _ => (
            Failure::Connect,
            Flag::UpstreamConnectionFailure,
            "upstream_reset_before_response_started{connection_failure}",
        ),
    };
    x.transport_failure = error.to_string();
    Tried::Failed { failure, stale: false, broken: Broken { flag, details, cause } }
}

/// Tells outlier detection how a try went.
fn report(x: &Exchange<'_>, plan: &Plan<'_>, endpoint: &EndpointRef<'_>, tried: &Tried) {
    let Some(config) = &plan.cluster.outlier else { return };
    let outcome = match tried {
        Tried::Done | Tried::Answered if x.status > 0 => Outcome::Status(x.status),
        Tried::Late(_) => Outcome::Timeout,
        Tried::Failed { failure: Failure::Overflow, .. } | Tried::Gone | Tried::Done | Tried::Answered => return,
        Tried::Failed { .. } => Outcome::LocalFailure,
    };
    let now = x.conn.worker.now();
    if outlier::report(config, &plan.cluster.endpoints, &endpoint.state.health, outcome, now) {
        tracing::info!(cluster = %plan.cluster.name, endpoint = %endpoint.address, "endpoint left out for a while");
    }
}

async fn timed_out(
    x: &mut Exchange<'_>,
    plan: &Plan<'_>,
    clock: &Clock,
    body: &Body<'_>,
    reply: &mut Reply<'_>,
    late: Late,
) {
    let (flag, details, what) = clock.explain(late);
    let address = x.endpoint.as_ref().map(|endpoint| endpoint.address.to_string()).unwrap_or_default();
    let cause = format!("upstream request timeout: {address} of cluster {} {what}", plan.cluster.name);
    // Who is still sending is late himself.
    let status = if matches!(late, Late::Idle | Late::Receive) && !body.is_over() { 408 } else { 504 };
    x.fail(flag, details);
    x.cause.clone_from(&cause);
    local::send(x, body, reply, Local { grpc: Some(4), ..Local::text(status, cause) }).await;
}
