//! Telemetry.

use super::{
    cursor::{At, Report},
    selector, time,
};

pub(super) fn check(_: &At<'_>, spec: &At<'_>, report: &mut Report) {
    selector::check(spec, report);
    for tracing in spec.get("tracing").items() {
        check_tracing(&tracing, report);
    }
    for metrics in spec.get("metrics").items() {
        check_providers(&metrics, false, report);
        for override_ in metrics.get("overrides").items() {
            check_override(&override_, report);
        }
        time::positive(&metrics.get("reportingInterval"), report);
    }
    for logging in spec.get("accessLogging").items() {
        check_providers(&logging, false, report);
        let filter = logging.get("filter");
        if filter.is_set() && filter.get("expression").is_blank() {
            report.error(&filter.get("expression"), "must not be empty");
        }
    }
}

fn check_providers(at: &At<'_>, single: bool, report: &mut Report) {
    let providers = at.get("providers").items();
    for provider in &providers {
        if provider.get("name").is_blank() {
            report.error(&provider.get("name"), "must not be empty");
        }
    }
    if single && providers.len() > 1 {
        report.error(&at.get("providers"), "multiple providers are not currently supported for tracing");
    }
}

fn check_tracing(at: &At<'_>, report: &mut Report) {
    check_providers(at, true, report);
    time::percent(&at.get("randomSamplingPercentage"), report);
    for (name, tag) in at.get("customTags").entries() {
        if name.is_empty() {
            report.error(&tag, "tag name may not be empty");
        }
        if !tag.is_set() {
            report.error(&tag, format!("tag '{name}' may not have a nil value"));
        }
        for kind in ["environment", "header"] {
            if tag.has(kind) && tag.get(kind).get("name").is_blank() {
                report.error(&tag.get(kind).get("name"), format!("the {kind} of a tag needs a name"));
            }
        }
        if tag.has("literal") && tag.get("literal").get("value").is_blank() {
            report.error(&tag.get("literal").get("value"), "literal tag value may not be empty");
        }
    }
}

fn check_override(at: &At<'_>, report: &mut Report) {
    let matched = at.get("match");
    if matched.has("customMetric") && matched.get("customMetric").is_blank() {
        report.error(&matched.get("customMetric"), "must not be empty");
    }
    for (name, tag) in at.get("tagOverrides").entries() {
        if name.is_empty() {
            report.error(&tag, "tag name may not be empty");
        }
        if !tag.is_set() {
            report.error(&tag, "may not be null");
            continue;
        }
        let (operation, value) = (tag.get("operation").text(), tag.get("value"));
        if operation == "REMOVE" && !value.is_blank() {
            report.error(&value, "has no meaning with operation REMOVE");
        } else if operation != "REMOVE" && value.is_blank() {
            report.error(&value, "is needed with operation UPSERT");
        }
    }
}
