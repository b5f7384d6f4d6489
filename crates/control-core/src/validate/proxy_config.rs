//! ProxyConfig.

use super::{
    cursor::{At, Report},
    selector, time,
};

pub(super) fn check(_: &At<'_>, spec: &At<'_>, report: &mut Report) {
    selector::match_labels(&spec.get("selector"), "matchLabels", report);
    let concurrency = spec.get("concurrency");
    if concurrency.number().is_some_and(|number| number < 0.0) {
        report.error(&concurrency, "concurrency must be greater than or equal to 0");
    }
    for (name, value) in spec.get("environmentVariables").entries() {
        if name.is_empty() {
            report.error(&value, "the name of a variable can't be empty");
        }
    }
    time::or_zero(&spec.get("terminationDrainDuration"), report);
}
