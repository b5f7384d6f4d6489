//! Which workloads a policy is for: `selector`, `targetRef`, `targetRefs`.

use super::cursor::{At, Report};

/// What a policy can be attached to.
const TARGETS: [(&str, &str); 5] = [
    ("gateway.networking.k8s.io", "Gateway"),
    ("gateway.networking.k8s.io", "GatewayClass"),
    ("", "Service"),
    ("core", "Service"),
    ("networking.istio.io", "ServiceEntry"),
];

/// Checks the selector and references of a policy: one or the other.
pub(super) fn check(spec: &At<'_>, report: &mut Report) {
    let mut targets = spec.get("targetRefs").items();
    targets.extend(Some(spec.get("targetRef")).filter(At::is_set));
    if !targets.is_empty() && spec.has("selector") {
        report.error(&spec.get("selector"), "only one of targetRefs or workloadSelector can be set");
    }
    for target in &targets {
        check_target(target, report);
    }
    match_labels(&spec.get("selector"), "matchLabels", report);
}

/// A selector's labels. One without labels selects every workload, which is probably not meant.
pub(super) fn match_labels(selector: &At<'_>, field: &str, report: &mut Report) {
    if !selector.is_set() {
        return;
    }
    let labels = selector.get(field);
    if labels.is_blank() {
        report.warn(selector, "has no labels: it selects every workload; leave it out if that is meant");
    }
    for (name, value) in labels.entries() {
        if name.is_empty() {
            report.error(&value, "the name of a label can't be empty");
        }
        if name.contains('*') || value.text().contains('*') {
            report.error(&value, "wildcards don't work in selectors");
        }
    }
}

fn check_target(target: &At<'_>, report: &mut Report) {
    if target.get("name").is_blank() {
        report.error(&target.get("name"), "targetRef name must be set");
    }
    if !target.get("namespace").is_blank() {
        report
            .error(&target.get("namespace"), "targetRef namespace must not be set; a policy is for its own namespace");
    }
    let (group, kind) = (target.get("group").text(), target.get("kind").text());
    if !TARGETS.contains(&(group, kind)) {
        report.error(target, format!("targetRef must be to one of allowedTargetRefs but was {group}/{kind}"));
    }
}
