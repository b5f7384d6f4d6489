//! Faults and cross-origin policies, as settings of filters on a route.

use std::collections::HashMap;

use lateen_api::envoy::envoy::extensions::filters::common::fault::v3 as common;
use lateen_api::envoy::envoy::extensions::filters::http::cors::v3::CorsPolicy;
use lateen_api::envoy::envoy::extensions::filters::http::fault::v3 as proto;
use lateen_api::google::protobuf::Any;
use lateen_api::istio as api;
use lateen_mesh::grpc::STATUSES;

use super::matching::string_matcher;
use crate::translate::wire::{any, flag, parse_duration, percent};

/// The settings of filters that a rule asks for.
pub fn filter_settings(rule: &api::HttpRoute) -> HashMap<String, Any> {
    let mut all = HashMap::new();
    if let Some(wanted) = &rule.fault {
        all.insert("envoy.filters.http.fault".to_owned(), any(&fault(wanted)));
    }
    if let Some(wanted) = &rule.cors_policy {
        all.insert("envoy.filters.http.cors".to_owned(), any(&cors(wanted)));
    }
    all
}

fn fault(wanted: &api::HttpFaultInjection) -> proto::HttpFault {
    proto::HttpFault {
        delay: wanted.delay.as_ref().and_then(delay),
        abort: wanted.abort.as_ref().and_then(abort),
        ..Default::default()
    }
}

fn delay(wanted: &api::FaultDelay) -> Option<common::FaultDelay> {
    let fixed = parse_duration(wanted.fixed_delay.as_deref())?;
    let share = wanted.percentage.as_ref().map(|p| p.value).or(wanted.percent.map(f64::from)).unwrap_or(0.0);
    Some(common::FaultDelay {
        percentage: Some(percent(share)),
        fault_delay_secifier: Some(common::fault_delay::FaultDelaySecifier::FixedDelay(fixed)),
    })
}

fn abort(wanted: &api::FaultAbort) -> Option<proto::FaultAbort> {
    use proto::fault_abort::ErrorType;
    let by_name = |name: &str| {
        let code = STATUSES.iter().position(|s| s.eq_ignore_ascii_case(name))?;
        u32::try_from(code).ok()
    };
    let error = match (wanted.http_status, wanted.grpc_status.as_deref()) {
        (Some(status), _) => ErrorType::HttpStatus(u32::try_from(status).ok()?),
        (None, Some(name)) => ErrorType::GrpcStatus(by_name(name)?),
        (None, None) => return None,
    };
    Some(proto::FaultAbort {
        percentage: Some(percent(wanted.percentage.as_ref().map_or(0.0, |p| p.value))),
        error_type: Some(error),
        ..Default::default()
    })
}

fn cors(wanted: &api::CorsPolicy) -> CorsPolicy {
    let exact = |origin: &String| api::StringMatch { exact: Some(origin.clone()), ..Default::default() };
    let origins: Vec<api::StringMatch> =
        wanted.allow_origins.iter().cloned().chain(wanted.allow_origin.iter().map(exact)).collect();
    let seconds = parse_duration(wanted.max_age.as_deref()).map(|d| d.seconds.to_string());
    let forward = !matches!(wanted.unmatched_preflights, Some(api::UnmatchedPreflights::Ignore));
    CorsPolicy {
        allow_origin_string_match: origins.iter().filter_map(origin).collect(),
        allow_methods: wanted.allow_methods.join(","),
        allow_headers: wanted.allow_headers.join(","),
        expose_headers: wanted.expose_headers.join(","),
        max_age: seconds.unwrap_or_default(),
        allow_credentials: wanted.allow_credentials.and_then(flag),
        forward_not_matching_preflights: flag(forward),
        ..Default::default()
    }
}

/// `*` and an expression for everything mean any origin.
fn origin(wanted: &api::StringMatch) -> Option<lateen_api::envoy::envoy::r#type::matcher::v3::StringMatcher> {
    let any_origin = api::StringMatch { regex: Some(".+".into()), ..Default::default() };
    match wanted.exact.as_deref() {
        Some("*") => string_matcher(&any_origin),
        _ => string_matcher(wanted).or_else(|| string_matcher(&any_origin)),
    }
}
