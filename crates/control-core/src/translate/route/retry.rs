//! Retries and time limits.

use std::collections::BTreeMap;

use lateen_api::envoy::envoy::config::route::v3 as proto;
use lateen_api::envoy::envoy::extensions::retry::host::previous_hosts::v3::PreviousHostsPredicate;
use lateen_api::google::protobuf::Duration;
use lateen_api::istio as api;

use crate::translate::scope::Scope;
use crate::translate::wire::{any, number, parse_duration};

/// When a request is tried again unless a route says otherwise.
const CONDITIONS: &str = "connect-failure,refused-stream,unavailable,cancelled,retriable-status-codes";
/// How often.
const ATTEMPTS: u32 = 2;
/// How often another endpoint is picked because one was tried before.
const PICKS: i64 = 5;

/// Annotation of a VirtualService that turns safe retries off.
const SAFE: &str = "lateen.io/safe-retries";

/// Are the retries of a route limited to what does no harm: where nobody said when to retry, and nothing turns it off.
pub fn is_safe(
    route: Option<&api::HttpRetry>,
    annotations: Option<&BTreeMap<String, String>>,
    scope: &Scope<'_>,
) -> bool {
    let mesh = &scope.snapshot.mesh;
    let said = route.or(mesh.raw.default_http_retry_policy.as_ref()).is_some_and(|retry| !retry.retry_on.is_empty());
    let off = annotations.and_then(|all| all.get(SAFE)).is_some_and(|value| value == "false");
    scope.view.lateen && mesh.safe_retries() && !said && !off
}

/// The retries of a route; `None` if it has none.
pub fn policy(
    route: Option<&api::HttpRetry>,
    mesh: Option<&api::HttpRetry>,
    hashed: bool,
) -> Option<proto::RetryPolicy> {
    let Some(own) = route.or(mesh) else { return Some(base(CONDITIONS, ATTEMPTS, !hashed)) };
    let attempts = u32::try_from(own.attempts).unwrap_or(0);
    if attempts == 0 {
        return None;
    }
    let avoid = own.retry_ignore_previous_hosts.unwrap_or(!hashed);
    let (conditions, codes) = conditions(&own.retry_on);
    let mut policy = base(&conditions, attempts, avoid);
    policy.retriable_status_codes = codes;
    policy.per_try_timeout = parse_duration(own.per_try_timeout.as_deref()).filter(|d| d.seconds > 0 || d.nanos > 0);
    policy.retry_back_off = parse_duration(own.backoff.as_deref())
        .map(|interval| proto::retry_policy::RetryBackOff { base_interval: Some(interval), ..Default::default() });
    if own.retry_remote_localities == Some(true) {
        policy.retry_priority = Some(other_priorities());
    }
    Some(policy)
}

fn base(conditions: &str, attempts: u32, avoid_previous: bool) -> proto::RetryPolicy {
    let previous = proto::retry_policy::RetryHostPredicate {
        name: "envoy.retry_host_predicates.previous_hosts".into(),
        config_type: Some(proto::retry_policy::retry_host_predicate::ConfigType::TypedConfig(any(
            &PreviousHostsPredicate {},
        ))),
    };
    proto::RetryPolicy {
        retry_on: conditions.to_owned(),
        num_retries: number(attempts),
        retry_host_predicate: avoid_previous.then_some(previous).into_iter().collect(),
        host_selection_retry_max_attempts: PICKS,
        ..Default::default()
    }
}

/// Splits conditions and status codes; codes need a condition of their own.
fn conditions(text: &str) -> (String, Vec<u32>) {
    let parts = text.split(',').map(str::trim).filter(|p| !p.is_empty());
    let (codes, mut names): (Vec<&str>, Vec<&str>) = parts.partition(|p| p.parse::<u32>().is_ok());
    if names.is_empty() && codes.is_empty() {
        return (CONDITIONS.to_owned(), Vec::new());
    }
    if !codes.is_empty() && !names.contains(&"retriable-status-codes") {
        names.push("retriable-status-codes");
    }
    (names.join(","), codes.iter().filter_map(|c| c.parse().ok()).collect())
}

fn other_priorities() -> proto::retry_policy::RetryPriority {
    use lateen_api::envoy::envoy::extensions::retry::priority::previous_priorities::v3::PreviousPrioritiesConfig;
    let config = PreviousPrioritiesConfig { update_frequency: 2 };
    proto::retry_policy::RetryPriority {
        name: "envoy.retry_priorities.previous_priorities".into(),
        config_type: Some(proto::retry_policy::retry_priority::ConfigType::TypedConfig(any(&config))),
    }
}

/// Retries of requests to the workload itself: only those that surely had no effect.
pub fn inbound() -> proto::RetryPolicy {
    proto::RetryPolicy { retry_on: "reset-before-request".into(), num_retries: number(2), ..Default::default() }
}

/// No limit on how long a stream lives.
pub fn unlimited() -> proto::route_action::MaxStreamDuration {
    proto::route_action::MaxStreamDuration {
        max_stream_duration: Some(Duration::default()),
        grpc_timeout_header_max: Some(Duration::default()),
        ..Default::default()
    }
}

/// A limit that also bounds the time that a gRPC caller may ask for.
pub fn limited(timeout: Duration) -> proto::route_action::MaxStreamDuration {
    proto::route_action::MaxStreamDuration { grpc_timeout_header_max: Some(timeout), ..unlimited() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_codes_become_a_condition() {
        for (text, names, codes) in [
            ("503", "retriable-status-codes", vec![503]),
            ("5xx,gateway-error", "5xx,gateway-error", vec![]),
            ("5xx, 429 ,503", "5xx,retriable-status-codes", vec![429, 503]),
            ("", CONDITIONS, vec![]),
        ] {
            assert_eq!(conditions(text), (names.to_owned(), codes), "{text}");
        }
    }

    #[test]
    fn no_attempts_mean_no_retries() {
        let none = api::HttpRetry::default();
        assert_eq!(policy(Some(&none), None, false), None);
        assert_eq!(policy(None, Some(&none), false), None);
        let default = policy(None, None, false).expect("there by default");
        assert_eq!((default.retry_on.as_str(), default.num_retries.map(|n| n.value)), (CONDITIONS, Some(2)));
        assert!(policy(None, None, true).expect("there by default").retry_host_predicate.is_empty());
    }
}
