//! The annotations that steer injection, checked before anything is built from them.

use std::net::IpAddr;

use serde_json::Value;

use super::InjectError;

const TRAFFIC: &str = "traffic.sidecar.istio.io/";

/// The checks of one annotation's value: `Err` says what is wrong.
type Check = fn(&str) -> Result<(), String>;

/// (annotation, the setting it overrides, check)
const CHECKS: [(&str, &str, Check); 14] = [
    ("traffic.sidecar.istio.io/includeOutboundIPRanges", "includeIPRanges", ranges_or_all),
    ("traffic.sidecar.istio.io/excludeOutboundIPRanges", "excludeIPRanges", ranges),
    ("traffic.sidecar.istio.io/includeInboundPorts", "includeInboundPorts", ports_or_all),
    ("traffic.sidecar.istio.io/excludeInboundPorts", "excludeInboundPorts", ports),
    ("traffic.sidecar.istio.io/includeOutboundPorts", "includeOutboundPorts", ports_or_all),
    ("traffic.sidecar.istio.io/excludeOutboundPorts", "excludeOutboundPorts", ports),
    ("status.sidecar.istio.io/port", "statusPort", port),
    ("readiness.status.sidecar.istio.io/initialDelaySeconds", "readinessInitialDelaySeconds", number),
    ("readiness.status.sidecar.istio.io/periodSeconds", "readinessPeriodSeconds", number),
    ("readiness.status.sidecar.istio.io/failureThreshold", "readinessFailureThreshold", number),
    ("sidecar.istio.io/interceptionMode", "interceptionMode", interception),
    ("sidecar.istio.io/rewriteAppHTTPProbers", "rewriteAppHTTPProbe", flag),
    ("sidecar.istio.io/userVolume", "userVolume", json),
    ("sidecar.istio.io/userVolumeMount", "userVolumeMount", json),
];

/// Refuses a pod with an annotation that makes no sense, naming the annotation.
pub(super) fn check(pod: &Value) -> Result<(), InjectError> {
    let annotations = &pod["metadata"]["annotations"];
    for (annotation, setting, check) in CHECKS {
        let Some(value) = annotations[annotation].as_str() else {
            continue;
        };
        check(value).map_err(|reason| InjectError::Annotation {
            annotation: annotation.to_owned(),
            setting,
            reason,
        })?;
    }
    Ok(())
}

/// The value of a traffic annotation, or the installation's.
pub(super) fn traffic<'a>(pod: &'a Value, name: &str, default: &'a str) -> &'a str {
    pod["metadata"]["annotations"][format!("{TRAFFIC}{name}")].as_str().unwrap_or(default)
}

fn items(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|item| !item.is_empty())
}

fn ranges_or_all(text: &str) -> Result<(), String> {
    if text == "*" { Ok(()) } else { ranges(text) }
}

fn ranges(text: &str) -> Result<(), String> {
    items(text).try_for_each(|item| {
        let valid = match item.split_once('/') {
            Some((address, length)) => match (address.parse::<IpAddr>(), length.parse::<u8>()) {
                (Ok(IpAddr::V4(_)), Ok(length)) => length <= 32,
                (Ok(IpAddr::V6(_)), Ok(length)) => length <= 128,
                _ => false,
            },
            None => false,
        };
        valid.then_some(()).ok_or_else(|| format!("{item:?} is not a CIDR; write for example 10.0.0.0/8"))
    })
}

fn ports_or_all(text: &str) -> Result<(), String> {
    if text == "*" { Ok(()) } else { ports(text) }
}

fn ports(text: &str) -> Result<(), String> {
    items(text).try_for_each(port)
}

fn port(text: &str) -> Result<(), String> {
    let parsed = text.trim().parse::<u16>();
    parsed.map(drop).map_err(|_| format!("{text:?} is not a port; write a number from 0 to 65535"))
}

fn number(text: &str) -> Result<(), String> {
    text.parse::<u32>().map(drop).map_err(|_| format!("{text:?} is not a whole number of at least 0"))
}

fn interception(text: &str) -> Result<(), String> {
    match text {
        "REDIRECT" | "TPROXY" | "NONE" => Ok(()),
        _ => Err(format!("{text:?} is not REDIRECT, TPROXY or NONE")),
    }
}

fn flag(text: &str) -> Result<(), String> {
    truth(text).map(drop).ok_or_else(|| format!("{text:?} is neither true nor false"))
}

fn json(text: &str) -> Result<(), String> {
    match serde_json::from_str::<Value>(text) {
        Ok(Value::Object(_) | Value::Array(_)) => Ok(()),
        Ok(_) => Err("not a JSON object or list".into()),
        Err(error) => Err(format!("not valid JSON: {error}")),
    }
}

/// `true` and `false` in the spellings that annotations use.
pub(super) fn truth(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}
