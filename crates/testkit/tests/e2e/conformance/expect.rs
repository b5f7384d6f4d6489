//! What a call is expected to bring, and whether it did.

use std::collections::{BTreeMap, BTreeSet};

use lateen_testkit::world::Response;
use serde::Deserialize;

/// All given keys must hold, for every response.
#[derive(Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Expect {
    pub status: Option<u16>,
    pub not_status: Option<u16>,
    pub error: Option<bool>,
    pub error_or_status: Option<u16>,
    pub allow: Option<bool>,
    pub forbidden: Option<bool>,
    pub grpc_status: Option<String>,
    pub request_headers: BTreeMap<String, String>,
    pub response_headers: BTreeMap<String, String>,
    pub host: Option<String>,
    pub url: Option<String>,
    pub http_version: Option<String>,
    pub alpn: Option<String>,
    pub mtls: Option<bool>,
    pub response_starts_with: Option<String>,
    pub dns_answers: Option<BTreeSet<String>>,
    pub distribution: BTreeMap<String, usize>,
    pub tolerance: usize,
    pub distinct_backends: Option<Backends>,
}

/// How many pods may answer.
#[derive(Clone, Deserialize)]
pub struct Backends {
    #[serde(default)]
    min: usize,
    #[serde(default)]
    max: Option<usize>,
}

/// What came of a call: its responses, or why there are none.
pub type Outcome = Result<Vec<Response>, String>;

impl Expect {
    /// # Errors
    /// The first expectation that does not hold.
    pub fn check(&self, scheme: &str, outcome: &Outcome) -> Result<(), String> {
        if let Some(verdict) = self.failure(scheme, outcome) {
            return verdict;
        }
        let responses = outcome.as_ref().map_err(Clone::clone)?;
        for response in responses {
            self.one(scheme, response)?;
        }
        self.all(responses)
    }

    /// The verdict of the expectations that a failing call may meet.
    fn failure(&self, scheme: &str, outcome: &Outcome) -> Option<Result<(), String>> {
        let statuses = outcome.as_ref().map(|all| all.iter().map(|one| one.status.as_str()).collect::<Vec<_>>());
        let hold = |holds: bool, wanted: &str| {
            if holds { Ok(()) } else { Err(format!("expected {wanted}, got {statuses:?}")) }
        };
        let all = |status: u16| statuses.as_ref().is_ok_and(|all| all.iter().all(|one| *one == status.to_string()));
        if let Some(status) = &self.grpc_status {
            let code = format!("code = {status}");
            return Some(hold(outcome.as_ref().is_err_and(|reason| reason.contains(&code)), &code));
        }
        if let Some(status) = self.error_or_status {
            return Some(hold(outcome.is_err() || all(status), &format!("an error or {status}")));
        }
        if let Some(status) = self.not_status {
            return Some(hold(outcome.is_err() || !all(status), &format!("anything but {status}")));
        }
        if self.error == Some(true) {
            return Some(hold(outcome.is_err(), "an error"));
        }
        let denied = self.allow == Some(false) || self.forbidden == Some(true);
        denied.then(|| match scheme {
            "grpc" => {
                let code = "code = PermissionDenied";
                hold(outcome.as_ref().is_err_and(|reason| reason.contains(code)), code)
            }
            "tcp" | "tls" => hold(outcome.is_err(), "a closed connection"),
            _ => hold(all(403), "403"),
        })
    }

    fn one(&self, scheme: &str, response: &Response) -> Result<(), String> {
        let seen = |field: &str| response.seen.get(field).cloned().unwrap_or_default();
        let status = self.status.or(self.allow.map(|_| 200)).map(|status| status.to_string());
        same("status", status.as_ref(), &response.status)?;
        same("Host", self.host.as_ref(), &seen("Host"))?;
        same("URL", self.url.as_ref(), &seen("URL"))?;
        same("HTTP version", self.http_version.as_ref(), &seen("Proto"))?;
        same("ALPN", self.alpn.as_ref(), &seen("Alpn"))?;
        for (name, value) in &self.request_headers {
            same(name, Some(value), response.request_headers.get(name).map_or("", String::as_str))?;
        }
        for (name, value) in &self.response_headers {
            same(name, Some(value), response.response_headers.get(name).map_or("", String::as_str))?;
        }
        // Only where there are headers can the last hop tell what it was.
        if let Some(mtls) = self.mtls.filter(|_| matches!(scheme, "http" | "grpc" | "ws")) {
            let found = response.request_headers.contains_key("X-Forwarded-Client-Cert");
            same("mutual TLS", Some(&mtls.to_string()), &found.to_string())?;
        }
        if let Some(start) = &self.response_starts_with {
            let first = response.body.first().map_or("", String::as_str);
            (first.starts_with(start.as_str())).then_some(()).ok_or_else(|| format!("the response is {first:?}"))?;
        }
        match &self.dns_answers {
            Some(answers) if *answers != response.body.iter().cloned().collect() => {
                Err(format!("the answers are {:?}, expected {answers:?}", response.body))
            }
            _ => Ok(()),
        }
    }

    fn all(&self, responses: &[Response]) -> Result<(), String> {
        let pods: Vec<_> = responses.iter().map(|one| one.seen.get("Hostname").map_or("", String::as_str)).collect();
        if let Some(Backends { min, max }) = self.distinct_backends {
            let distinct = pods.iter().collect::<BTreeSet<_>>().len();
            let fits = distinct >= min && max.is_none_or(|max| distinct <= max);
            fits.then_some(()).ok_or_else(|| format!("{distinct} pods answered"))?;
        }
        for (destination, wanted) in &self.distribution {
            let count = pods.iter().filter(|pod| pod.starts_with(&format!("{destination}-v1-"))).count();
            let fits = count.abs_diff(*wanted) <= self.tolerance;
            fits.then_some(()).ok_or_else(|| format!("{destination} answered {count} times, expected {wanted}"))?;
        }
        Ok(())
    }
}

fn same(what: &str, expected: Option<&String>, found: &str) -> Result<(), String> {
    match expected {
        Some(expected) if expected != found => Err(format!("{what}: expected {expected:?}, got {found:?}")),
        _ => Ok(()),
    }
}
