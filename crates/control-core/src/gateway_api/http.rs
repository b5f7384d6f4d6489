//! Rules of HTTPRoutes and GRPCRoutes, one for each of their conditions.

use lateen_api::gateway_api as api;
use lateen_api::istio;
use lateen_mesh::duration;

use super::backend::{Referrer, World};
use super::{Problem, filter, matching};

/// When a request is tried again where retries are asked for: connection errors, whatever else is said.
const RETRY_ON: [&str; 4] = ["connect-failure", "refused-stream", "unavailable", "cancelled"];
/// Retries where no number is said.
const ATTEMPTS: u32 = 2;

/// The rules of a route, and the first thing that is wrong with it.
#[derive(Debug, Default)]
pub(super) struct Rules {
    pub(super) all: Vec<istio::HttpRoute>,
    pub(super) problem: Option<Problem>,
}

/// What both kinds of rules have.
struct Rule<'a> {
    name: Option<&'a String>,
    matches: Result<Vec<istio::HttpMatchRequest>, Problem>,
    filters: &'a [api::RouteFilter],
    backends: &'a [api::HttpBackendRef],
    timeouts: Option<&'a api::RouteTimeouts>,
    retry: Option<&'a api::RouteRetry>,
}

/// The rules of an HTTPRoute.
pub(super) fn http_rules(spec: &api::HttpRoute, namespace: &str, name: &str, world: World<'_>) -> Rules {
    let rules = spec.rules.iter().map(|rule| Rule {
        name: rule.name.as_ref(),
        matches: rule.matches.iter().map(matching::http).collect(),
        filters: &rule.filters,
        backends: &rule.backend_refs,
        timeouts: rule.timeouts.as_ref(),
        retry: rule.retry.as_ref(),
    });
    convert(rules, Referrer { kind: "HTTPRoute", namespace }, name, world)
}

/// The rules of a GRPCRoute.
pub(super) fn grpc_rules(spec: &api::GrpcRoute, namespace: &str, name: &str, world: World<'_>) -> Rules {
    let rules = spec.rules.iter().map(|rule| Rule {
        name: rule.name.as_ref(),
        matches: rule.matches.iter().map(matching::grpc).collect(),
        filters: &rule.filters,
        backends: &rule.backend_refs,
        timeouts: None,
        retry: None,
    });
    convert(rules, Referrer { kind: "GRPCRoute", namespace }, name, world)
}

/// A rule that cannot be read is left out; the others are served.
fn convert<'a>(rules: impl Iterator<Item = Rule<'a>>, from: Referrer<'_>, name: &str, world: World<'_>) -> Rules {
    let mut made = Rules::default();
    for (index, rule) in rules.enumerate() {
        let shown = rule.name.cloned().unwrap_or_else(|| format!("{}.{name}.{index}", from.namespace));
        match rule.convert(shown, from, world, &mut made.problem) {
            Ok(converted) => made.all.extend(converted),
            Err(problem) => drop(made.problem.get_or_insert(problem)),
        }
    }
    made
}

impl Rule<'_> {
    fn convert(
        self,
        name: String,
        from: Referrer<'_>,
        world: World<'_>,
        problem: &mut Option<Problem>,
    ) -> Result<Vec<istio::HttpRoute>, Problem> {
        let matches = self.matches?;
        let mut rule = istio::HttpRoute { name, ..Default::default() };
        filter::apply(self.filters, &mut rule, from, world, problem)?;
        rule.retries = self.retry.map(retries);
        if let Some(timeouts) = self.timeouts {
            limit(timeouts, &mut rule)?;
        }
        for (reference, backend) in world.backends(self.backends, |b| &b.to, from, problem) {
            let mut headers = None;
            reference.filters.iter().try_for_each(|own| filter::headers(own, &mut headers))?;
            let (destination, weight) = (backend.destination, backend.weight);
            rule.route.push(istio::HttpRouteDestination { destination, weight, headers });
        }
        if rule.redirect.is_some() {
            rule.route.clear();
        } else if rule.route.is_empty() {
            // Requests that lead nowhere are errors.
            rule.direct_response = Some(istio::HttpDirectResponse { status: 500, ..Default::default() });
        }
        if matches.is_empty() {
            return Ok(vec![rule]);
        }
        let with = |one: istio::HttpMatchRequest| {
            // A condition without parts holds for everything.
            let matches = if one == istio::HttpMatchRequest::default() { Vec::new() } else { vec![one] };
            istio::HttpRoute { matches, ..rule.clone() }
        };
        Ok(matches.into_iter().map(with).collect())
    }
}

fn retries(wanted: &api::RouteRetry) -> istio::HttpRetry {
    let attempts = wanted.attempts.unwrap_or(ATTEMPTS);
    let codes = wanted.codes.iter().map(u32::to_string);
    let conditions: Vec<String> = RETRY_ON.iter().map(|text| (*text).to_owned()).chain(codes).collect();
    istio::HttpRetry {
        attempts: i32::try_from(attempts).unwrap_or(i32::MAX),
        retry_on: if attempts == 0 { String::new() } else { conditions.join(",") },
        backoff: wanted.backoff.as_deref().and_then(seconds),
        ..Default::default()
    }
}

fn limit(timeouts: &api::RouteTimeouts, rule: &mut istio::HttpRoute) -> Result<(), Problem> {
    let read = |text: &Option<String>, field: &str| match text {
        None => Ok(None),
        Some(text) if duration::parse(text).is_ok_and(|limit| limit.is_zero()) => Ok(None),
        Some(text) => seconds(text).map(Some).ok_or_else(|| {
            let message = format!("timeouts.{field}: '{text}' is not a duration; write for example 500ms or 10s");
            Problem::new("UnsupportedValue", message)
        }),
    };
    rule.timeout = read(&timeouts.request, "request")?;
    if let Some(limit) = read(&timeouts.backend_request, "backendRequest")? {
        match &mut rule.retries {
            Some(retries) => retries.per_try_timeout = Some(limit),
            // The only attempt is all there is.
            None => rule.timeout = Some(limit),
        }
    }
    Ok(())
}

/// A duration in seconds: `0.003s`.
fn seconds(text: &str) -> Option<String> {
    duration::parse(text).ok().map(|length| format!("{}s", length.as_secs_f64()))
}
