//! How a Service's traffic is to be spread.

use ipnet::IpNet;
use serde_json::Value;

use super::super::{Errors, list};
use crate::status::FieldError;

/// The longest that a client may be kept with its endpoint.
const MAX_AFFINITY_SECONDS: i64 = 86_400;

/// Whether the Service is reached from outside the cluster.
pub(super) fn is_external(spec: &Value) -> bool {
    let kind = spec["type"].as_str();
    matches!(kind, Some("NodePort" | "LoadBalancer"))
        || (kind == Some("ClusterIP") && !list(&spec["externalIPs"]).is_empty())
}

pub(super) fn validate(spec: &Value, errors: &mut Errors) {
    affinity(spec, errors);
    policies(spec, errors);
    load_balancer(spec, errors);
}

fn affinity(spec: &Value, errors: &mut Errors) {
    let allowed = ["ClientIP", "None"];
    let affinity = &spec["sessionAffinity"];
    if !allowed.iter().any(|a| affinity == a) {
        errors.push(FieldError::not_supported("spec.sessionAffinity", affinity, &allowed));
    }
    let config = &spec["sessionAffinityConfig"];
    if affinity == "None" && !config.is_null() {
        let text = "must not be set when session affinity is None";
        errors.push(FieldError::forbidden("spec.sessionAffinityConfig", text));
    }
    let seconds = &config["clientIP"]["timeoutSeconds"];
    if affinity == "ClientIP" && !seconds.as_i64().is_some_and(|s| (1..=MAX_AFFINITY_SECONDS).contains(&s)) {
        let text = format!("must be greater than 0 and less than {MAX_AFFINITY_SECONDS}");
        errors.push(FieldError::invalid("spec.sessionAffinityConfig.clientIP.timeoutSeconds", seconds, text));
    }
}

fn policies(spec: &Value, errors: &mut Errors) {
    let allowed = ["Cluster", "Local"];
    let unknown = |value: &Value| !value.is_null() && !allowed.iter().any(|a| value == a);
    let (inside, outside) = (&spec["internalTrafficPolicy"], &spec["externalTrafficPolicy"]);
    if unknown(inside) {
        errors.push(FieldError::not_supported("spec.internalTrafficPolicy", inside, &allowed));
    }
    if !outside.is_null() && !is_external(spec) {
        let text = "may only be set for externally-accessible services";
        errors.push(FieldError::invalid("spec.externalTrafficPolicy", outside, text));
    } else if unknown(outside) {
        errors.push(FieldError::not_supported("spec.externalTrafficPolicy", outside, &allowed));
    }
    let allowed = ["PreferClose", "PreferSameNode", "PreferSameZone"];
    let spread = &spec["trafficDistribution"];
    if !spread.is_null() && !allowed.iter().any(|a| spread == a) {
        errors.push(FieldError::not_supported("spec.trafficDistribution", spread, &allowed));
    }
}

fn load_balancer(spec: &Value, errors: &mut Errors) {
    let ranges = list(&spec["loadBalancerSourceRanges"]);
    if spec["type"] != "LoadBalancer" {
        let text = "may only be used when `type` is 'LoadBalancer'";
        if !ranges.is_empty() {
            errors.push(FieldError::forbidden("spec.LoadBalancerSourceRanges", text));
        }
        for field in ["allocateLoadBalancerNodePorts", "loadBalancerClass"] {
            if !spec[field].is_null() {
                errors.push(FieldError::forbidden(format!("spec.{field}"), text));
            }
        }
    }
    for (index, range) in ranges.iter().enumerate() {
        if range.as_str().is_none_or(|text| text.trim().parse::<IpNet>().is_err()) {
            let text = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)";
            errors.push(FieldError::invalid(format!("spec.loadBalancerSourceRanges[{index}]"), range, text));
        }
    }
}
