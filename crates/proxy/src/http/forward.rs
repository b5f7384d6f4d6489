//! Forwarding: tries at endpoints until one answers, time is up, or there is no use in trying again.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll};

use bytes::Bytes;
use lateen_proxy_core::Flag;
use lateen_proxy_core::balance::{PickContext, request_hash};
use lateen_proxy_core::cluster::{Cluster, Discovery};
use lateen_proxy_core::endpoint::EndpointState;
use lateen_proxy_core::outlier::{self, Outcome};
use lateen_proxy_core::retry::Failure;
use lateen_proxy_core::route::{Chosen, Forward, HostRewrite};
use smallvec::SmallVec;
use std::sync::Arc;
use tokio::time::Instant;

use super::attempt::{self, Tried};
use super::body::Body;
use super::cause;
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

/// Time limits of a request. They run from the moment the whole request was received.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    global: Option<std::time::Duration>,
    per_try: Option<std::time::Duration>,
    /// End of the whole.
    end: Option<Instant>,
    /// End of this try.
    try_end: Option<Instant>,
}

/// Which limit was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Late {
    /// That of the whole request.
    Request,
    /// That of one try.
    Try,
}

impl Clock {
    fn new(forward: &Forward, x: &Exchange<'_>) -> Self {
        let asked = x.head.header("x-envoy-upstream-rq-timeout-ms").filter(|_| !x.hcm.use_remote_address);
        let asked = asked.as_deref().and_then(|text| std::str::from_utf8(text).ok()).and_then(|text| text.parse().ok());
        let global = match asked {
            Some(0) => None,
            Some(millis) => Some(std::time::Duration::from_millis(millis)),
            None => forward.timeout,
        };
        let per_try = forward.retry.as_ref().and_then(|retry| retry.per_try_timeout);
        Self { global, per_try, end: None, try_end: None }
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

    /// Ready when a limit is reached.
    pub fn poll(&self, cx: &mut Context<'_>, timer: &mut Timer) -> Poll<Late> {
        let (deadline, late) = match (self.end, self.try_end) {
            (Some(end), Some(try_end)) if try_end < end => (try_end, Late::Try),
            (Some(end), _) => (end, Late::Request),
            (None, Some(try_end)) => (try_end, Late::Try),
            (None, None) => return Poll::Pending,
        };
        timer.poll_at(cx, deadline).map(|()| late)
    }
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
            Tried::Late(late) if late == Late::Request || !tries.again(plan, Failure::PerTryTimeout, x) => {
                return timed_out(x, plan, body, reply, late).await;
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
        Self {
            clock,
            replay: (!over).then(|| Replay::new(if plan.forward.retry.is_some() { REPLAY } else { 0 })),
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
            high_priority: plan.forward.high_priority,
        };
        let worker = &x.conn.worker;
        let acquired = {
            let mut acquiring = pin!(worker.pools.acquire(worker, plan.cluster, endpoint, &want));
            let clock = self.clock;
            poll_fn(|cx| {
                if let Poll::Ready(acquired) = acquiring.as_mut().poll(cx) {
                    return Poll::Ready(Ok(acquired));
                }
                if body.is_over() && (body.poll_gone(cx).is_ready() || reply.poll_gone(cx).is_ready()) {
                    return Poll::Ready(Err(None));
                }
                clock.poll(cx, timer).map(|late| Err(Some(late)))
            })
            .await
        };
        let upstream = match acquired {
            Ok(Ok(upstream)) => upstream,
            Ok(Err(error)) => return unreachable_endpoint(x, plan, endpoint, &error),
            Err(Some(late)) => return Tried::Late(late),
            Err(None) => return attempt::gone(x, body),
        };
        let can_retry = self.left(plan) && self.replay.as_ref().is_none_or(|replay| replay.kept().is_some());
        let mut work = attempt::Work {
            plan,
            endpoint,
            edits,
            alpn,
            clock: &mut self.clock,
            replay: self.replay.as_mut(),
            can_retry,
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
        let Some(retry) = plan.forward.retry.as_ref().filter(|retry| retry.on_failure(failure)) else { return false };
        if self.retries >= retry.retries {
            if retry.retries > 0 {
                x.flags.set(Flag::UpstreamRetryLimitExceeded);
            }
            return false;
        }
        let limits = &plan.cluster.limits[usize::from(plan.forward.high_priority)];
        match Counted::take(&plan.cluster.state, Slot::Retries, limits.retries) {
            Ok(counted) => self.retry_count = Some(counted),
            Err(_) => {
                x.flags.set(Flag::UpstreamOverflow);
                return false;
            }
        }
        true
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

async fn timed_out(x: &mut Exchange<'_>, plan: &Plan<'_>, body: &Body<'_>, reply: &mut Reply<'_>, late: Late) {
    let (limit, details) = match late {
        Late::Request => (plan.forward.timeout, "upstream_response_timeout"),
        Late::Try => (plan.forward.retry.as_ref().and_then(|retry| retry.per_try_timeout), "upstream_per_try_timeout"),
    };
    let address = x.endpoint.as_ref().map(|endpoint| endpoint.address.to_string()).unwrap_or_default();
    let cause = format!(
        "upstream request timeout: {address} of cluster {} gave no answer within {:?}",
        plan.cluster.name,
        limit.unwrap_or_default()
    );
    x.fail(Flag::UpstreamRequestTimeout, details);
    x.cause.clone_from(&cause);
    local::send(x, body, reply, Local { grpc: Some(4), ..Local::text(504, cause) }).await;
}
