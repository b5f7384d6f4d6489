//! When to try a request again.

use std::time::Duration;

use crate::header_match::HeaderMatch;

/// A reason to try again, as `retry_on` names them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum RetryOn {
    /// `5xx`: any 5xx answer or none at all.
    FiveXx = 1,
    /// `gateway-error`: 502, 503, 504.
    GatewayError = 1 << 1,
    /// `reset`: the upstream didn't answer at all.
    Reset = 1 << 2,
    /// `connect-failure`.
    ConnectFailure = 1 << 3,
    /// `envoy-ratelimited`.
    RateLimited = 1 << 4,
    /// `retriable-4xx`: 409.
    Retriable4xx = 1 << 5,
    /// `refused-stream`.
    RefusedStream = 1 << 6,
    /// `retriable-status-codes`.
    StatusCodes = 1 << 7,
    /// `retriable-headers`.
    Headers = 1 << 8,
    /// `reset-before-request`.
    ResetBeforeRequest = 1 << 9,
    /// `cancelled` (gRPC 1).
    Cancelled = 1 << 10,
    /// `deadline-exceeded` (gRPC 4).
    DeadlineExceeded = 1 << 11,
    /// `resource-exhausted` (gRPC 8).
    ResourceExhausted = 1 << 12,
    /// `unavailable` (gRPC 14).
    Unavailable = 1 << 13,
    /// `internal` (gRPC 13).
    Internal = 1 << 14,
    /// `http3-post-connect-failure`.
    Http3 = 1 << 15,
}

const NAMES: [(&str, RetryOn); 16] = [
    ("5xx", RetryOn::FiveXx),
    ("gateway-error", RetryOn::GatewayError),
    ("reset", RetryOn::Reset),
    ("connect-failure", RetryOn::ConnectFailure),
    ("envoy-ratelimited", RetryOn::RateLimited),
    ("retriable-4xx", RetryOn::Retriable4xx),
    ("refused-stream", RetryOn::RefusedStream),
    ("retriable-status-codes", RetryOn::StatusCodes),
    ("retriable-headers", RetryOn::Headers),
    ("reset-before-request", RetryOn::ResetBeforeRequest),
    ("cancelled", RetryOn::Cancelled),
    ("deadline-exceeded", RetryOn::DeadlineExceeded),
    ("resource-exhausted", RetryOn::ResourceExhausted),
    ("unavailable", RetryOn::Unavailable),
    ("internal", RetryOn::Internal),
    ("http3-post-connect-failure", RetryOn::Http3),
];

/// Parses a comma-separated list of reasons; unknown ones are skipped.
pub fn parse_retry_on(text: &str) -> u32 {
    text.split(',')
        .filter_map(|name| NAMES.iter().find(|(known, _)| *known == name.trim()))
        .fold(0, |bits, (_, on)| bits | *on as u32)
}

/// When and how often to try again.
#[derive(Debug, Clone)]
pub struct RetryPolicy {
    /// Reasons, as bits of [`RetryOn`].
    pub on: u32,
    /// Tries after the first.
    pub retries: u32,
    /// Limit for each try.
    pub per_try_timeout: Option<Duration>,
    /// Answers to try again on, with `retriable-status-codes`.
    pub status_codes: Vec<u16>,
    /// Response headers to try again on, with `retriable-headers`.
    pub headers: Vec<HeaderMatch>,
    /// Prefer endpoints not tried yet.
    pub avoid_previous_hosts: bool,
    /// Picks of an endpoint before a tried one is taken after all.
    pub host_selection_attempts: u32,
    /// First pause.
    pub base_interval: Duration,
    /// Longest pause.
    pub max_interval: Duration,
    /// Only requests that surely had no effect, or whose method can be repeated without harm, are tried again.
    pub safe: bool,
}

/// Header of an answer that a sidecar made without having passed the request on.
pub const UNREACHED: &str = "x-lateen-unreached";

/// Whether a request with this method has the same effect when it is made several times (RFC 9110, 9.2.2).
pub fn is_idempotent(method: &str) -> bool {
    matches!(method, "GET" | "HEAD" | "OPTIONS" | "PUT" | "DELETE" | "TRACE")
}

/// How a try failed before there was an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// No connection.
    Connect,
    /// The endpoint refused the stream without touching it.
    RefusedStream,
    /// The connection ended before the request was sent, or a kept-alive one turned out closed.
    BeforeRequest,
    /// The connection or stream ended after the request was sent.
    Reset,
    /// The try took too long.
    PerTryTimeout,
    /// A circuit breaker refused.
    Overflow,
}

impl RetryPolicy {
    fn has(&self, on: RetryOn) -> bool {
        self.on & on as u32 != 0
    }

    /// Whether a request may be made again although it may have had an effect.
    fn repeats(&self, method: &str) -> bool {
        !self.safe || is_idempotent(method)
    }

    /// Whether to try a request with this method again after a failure.
    pub fn on_failure(&self, failure: Failure, method: &str) -> bool {
        if matches!(failure, Failure::Reset | Failure::PerTryTimeout) && !self.repeats(method) {
            return false;
        }
        if self.has(RetryOn::FiveXx) && failure != Failure::Overflow {
            return true;
        }
        match failure {
            Failure::Connect => {
                self.has(RetryOn::ConnectFailure) || self.has(RetryOn::Reset) || self.has(RetryOn::ResetBeforeRequest)
            }
            Failure::RefusedStream => self.has(RetryOn::RefusedStream) || self.has(RetryOn::Reset),
            Failure::BeforeRequest => self.has(RetryOn::ResetBeforeRequest) || self.has(RetryOn::Reset),
            Failure::Reset => self.has(RetryOn::Reset),
            Failure::PerTryTimeout => self.has(RetryOn::Reset) || self.has(RetryOn::GatewayError),
            Failure::Overflow => false,
        }
    }

    /// Whether to try a request with this method again after an answer. `grpc_status` is the one in the response's
    /// headers, `header` looks up its other headers.
    pub fn on_response<'h>(
        &self,
        method: &str,
        status: u16,
        grpc_status: Option<u32>,
        header: impl Fn(&str) -> Option<&'h [u8]>,
    ) -> bool {
        let unreached = self.safe && header(UNREACHED).is_some();
        if unreached && self.has(RetryOn::ConnectFailure) {
            return true;
        }
        if !unreached && !self.repeats(method) {
            return false;
        }
        let rate_limited = header("x-envoy-ratelimited").is_some();
        if rate_limited && (500..600).contains(&status) {
            return self.has(RetryOn::RateLimited);
        }
        (self.has(RetryOn::FiveXx) && (500..600).contains(&status))
            || (self.has(RetryOn::GatewayError) && (502..=504).contains(&status))
            || (self.has(RetryOn::Retriable4xx) && status == 409)
            || (self.has(RetryOn::StatusCodes) && self.status_codes.contains(&status))
            || (self.has(RetryOn::Headers) && self.headers.iter().any(|h| h.matches_value(header(&h.name))))
            || grpc_status.is_some_and(|status| self.on_grpc(status))
    }

    fn on_grpc(&self, status: u32) -> bool {
        match status {
            1 => self.has(RetryOn::Cancelled),
            4 => self.has(RetryOn::DeadlineExceeded),
            8 => self.has(RetryOn::ResourceExhausted),
            13 => self.has(RetryOn::Internal),
            14 => self.has(RetryOn::Unavailable),
            _ => false,
        }
    }

    /// The pause before try number `attempt` (2 is the first one again): exponential, fully jittered.
    pub fn backoff(&self, attempt: u32, random: u64) -> Duration {
        let doublings = attempt.saturating_sub(2).min(16);
        let ceiling = self.base_interval.saturating_mul((1u32 << (doublings + 1)) - 1).min(self.max_interval);
        let micros = (ceiling.as_micros() as u64).max(1);
        Duration::from_micros(random % micros)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(on: &str) -> RetryPolicy {
        RetryPolicy {
            on: parse_retry_on(on),
            retries: 2,
            per_try_timeout: None,
            status_codes: vec![503],
            headers: Vec::new(),
            avoid_previous_hosts: true,
            host_selection_attempts: 5,
            base_interval: Duration::from_millis(25),
            max_interval: Duration::from_millis(250),
            safe: false,
        }
    }

    #[test]
    fn answers_are_retried_as_asked() {
        for (on, status, grpc, expect) in [
            ("5xx", 500, None, true),
            ("gateway-error", 500, None, false),
            ("gateway-error", 502, None, true),
            ("retriable-status-codes", 503, None, true),
            ("connect-failure", 503, None, false),
            ("unavailable,cancelled", 200, Some(14), true),
            ("unavailable", 200, Some(1), false),
        ] {
            assert_eq!(policy(on).on_response("POST", status, grpc, |_| None), expect, "{on} {status} {grpc:?}");
        }
    }

    #[test]
    fn failures_are_retried_as_asked() {
        for (on, failure, expect) in [
            ("connect-failure", Failure::Connect, true),
            ("connect-failure", Failure::Reset, false),
            ("refused-stream", Failure::RefusedStream, true),
            ("reset", Failure::Reset, true),
            ("5xx", Failure::PerTryTimeout, true),
            ("5xx", Failure::Overflow, false),
        ] {
            assert_eq!(policy(on).on_failure(failure, "POST"), expect, "{on} {failure:?}");
        }
    }

    #[test]
    fn what_may_have_had_an_effect_is_repeated_only_without_harm() {
        let safe = RetryPolicy { safe: true, ..policy("5xx,reset,unavailable,connect-failure,refused-stream") };
        for (failure, post) in [
            (Failure::Connect, true),
            (Failure::RefusedStream, true),
            (Failure::BeforeRequest, true),
            (Failure::Reset, false),
            (Failure::PerTryTimeout, false),
        ] {
            assert_eq!(safe.on_failure(failure, "POST"), post, "{failure:?}");
            assert!(safe.on_failure(failure, "GET"), "{failure:?}");
        }
        let none = |_: &str| None;
        let unreached = |name: &str| (name == UNREACHED).then_some(&b"true"[..]);
        assert!(!safe.on_response("POST", 503, None, none) && safe.on_response("PUT", 503, None, none));
        assert!(!safe.on_response("POST", 200, Some(14), none), "a call that the application refused");
        assert!(safe.on_response("POST", 200, Some(14), unreached));
        let default = RetryPolicy { safe: true, ..policy("connect-failure") };
        assert!(default.on_response("POST", 503, None, unreached) && !default.on_response("GET", 503, None, none));
    }

    #[test]
    fn pauses_grow_and_are_capped() {
        let policy = policy("5xx");
        assert!(policy.backoff(2, u64::MAX) < Duration::from_millis(25));
        assert!(policy.backoff(9, u64::MAX) < Duration::from_millis(250));
    }
}
