//! Injected faults and cross-origin rules, both decided before a request is forwarded.

use std::time::Duration;

use crate::fraction::Fraction;
use crate::head::RequestHead;
use crate::header_match::HeaderMatch;
use crate::pattern::StringMatch;

/// How an aborted request is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Abort {
    /// With this HTTP status.
    Http(u16),
    /// With this gRPC status.
    Grpc(u32),
}

/// Faults of a route.
#[derive(Debug, Clone, Default)]
pub struct Fault {
    /// Requests that wait, and how long.
    pub delay: Option<(Fraction, Duration)>,
    /// Requests that fail, and how.
    pub abort: Option<(Fraction, Abort)>,
    /// Only requests with these headers.
    pub headers: Vec<HeaderMatch>,
}

/// What is to happen to one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Injection {
    /// Wait first.
    pub delay: Option<Duration>,
    /// Then answer so.
    pub abort: Option<Abort>,
}

impl Fault {
    /// What is to happen to this request; the two random numbers are independent.
    pub fn decide(&self, head: &(impl RequestHead + ?Sized), random: (u64, u64)) -> Injection {
        if !self.headers.iter().all(|matcher| matcher.matches(head)) {
            return Injection::default();
        }
        Injection {
            delay: self.delay.filter(|(fraction, _)| fraction.hits(random.0)).map(|(_, delay)| delay),
            abort: self.abort.filter(|(fraction, _)| fraction.hits(random.1)).map(|(_, abort)| abort),
        }
    }
}

/// Cross-origin rules of a route.
#[derive(Debug, Clone, Default)]
pub struct Cors {
    /// Origins let in.
    pub origins: Vec<StringMatch>,
    /// `access-control-allow-methods`.
    pub methods: Box<str>,
    /// `access-control-allow-headers`.
    pub headers: Box<str>,
    /// `access-control-expose-headers`.
    pub expose: Box<str>,
    /// `access-control-max-age`.
    pub max_age: Box<str>,
    /// `access-control-allow-credentials: true`.
    pub credentials: bool,
    /// Pass preflights of other origins on instead of answering them.
    pub forward_unmatched_preflights: bool,
}

/// What the cross-origin rules make of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CorsVerdict {
    /// Not their business.
    Pass,
    /// Let in: the response gets the headers.
    Allow,
    /// A preflight of an origin let in: answer it.
    AnswerPreflight,
    /// A preflight of another origin: answer it without the headers.
    RefusePreflight,
}

impl Cors {
    /// Judges the request.
    pub fn decide(&self, head: &(impl RequestHead + ?Sized)) -> CorsVerdict {
        let Some(origin) = head.header("origin").filter(|origin| !origin.is_empty()) else {
            return CorsVerdict::Pass;
        };
        let allowed = self.origins.iter().any(|matcher| matcher.matches(&origin));
        let preflight = head.method() == "OPTIONS"
            && head.header("access-control-request-method").is_some_and(|method| !method.is_empty());
        match (preflight, allowed) {
            (false, true) => CorsVerdict::Allow,
            (true, true) => CorsVerdict::AnswerPreflight,
            (true, false) if !self.forward_unmatched_preflights => CorsVerdict::RefusePreflight,
            _ => CorsVerdict::Pass,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::head::SimpleHead;

    #[test]
    fn faults_hit_the_configured_share() {
        let fault = Fault {
            delay: Some((Fraction::new(50, 100), Duration::from_secs(1))),
            abort: Some((Fraction::ALL, Abort::Http(503))),
            headers: Vec::new(),
        };
        let head = SimpleHead::get("a", "/");
        assert_eq!(fault.decide(&head, (0, 0)).delay, Some(Duration::from_secs(1)));
        assert_eq!(fault.decide(&head, (600_000, 0)).delay, None);
        assert_eq!(fault.decide(&head, (600_000, 0)).abort, Some(Abort::Http(503)));
    }

    #[test]
    fn preflights_are_told_apart() {
        let cors = Cors { origins: vec![StringMatch::Exact("https://a".into())], ..Cors::default() };
        let head = |origin: &str| SimpleHead::get("s", "/").with("origin", origin);
        let preflight = |origin: &str| {
            let head = head(origin).with("access-control-request-method", "PUT");
            SimpleHead { method: "OPTIONS".into(), ..head }
        };
        assert_eq!(cors.decide(&SimpleHead::get("s", "/")), CorsVerdict::Pass);
        assert_eq!(cors.decide(&head("https://a")), CorsVerdict::Allow);
        assert_eq!(cors.decide(&head("https://b")), CorsVerdict::Pass);
        assert_eq!(cors.decide(&preflight("https://a")), CorsVerdict::AnswerPreflight);
        assert_eq!(cors.decide(&preflight("https://b")), CorsVerdict::RefusePreflight);
    }
}
