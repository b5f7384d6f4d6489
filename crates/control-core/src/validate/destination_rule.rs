//! DestinationRule.

use super::{
    cursor::{At, Report},
    names, selector, traffic_policy,
};

pub(super) fn check(resource: &At<'_>, spec: &At<'_>, report: &mut Report) {
    let host = spec.get("host");
    report.check(&host, names::wildcard_host(host.text()));
    if spec.has("trafficPolicy") {
        traffic_policy::check(&spec.get("trafficPolicy"), report);
    }
    let mut seen: Vec<&str> = Vec::new();
    for subset in spec.get("subsets").items() {
        let name = subset.get("name");
        if !names::is_label(name.text()) {
            report.error(&name, format!("{:?} can't be the name of a subset", name.text()));
        }
        if seen.contains(&name.text()) {
            report.warn(&name, "is the name of an earlier subset too; the earlier one holds");
        }
        seen.push(name.text());
        names::labels(&subset.get("labels"), report);
        if subset.has("trafficPolicy") {
            traffic_policy::check(&subset.get("trafficPolicy"), report);
        }
    }
    selector::match_labels(&spec.get("workloadSelector"), "matchLabels", report);
    names::export_to(resource, spec, report);
    if spec.has("workloadSelector") && spec.get("exportTo").items().iter().any(|item| item.text() != ".") {
        report
            .error(&spec.get("exportTo"), "with a workloadSelector, a rule can be for its own namespace (\".\") only");
    }
}
