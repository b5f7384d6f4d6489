//! What routes of every protocol share: destinations, weights, string matches.

use lateen_mesh::string_match;

use super::{
    cursor::{At, Report},
    header, names, port,
};

/// A destination: host, subset, port.
pub(super) fn destination(at: &At<'_>, report: &mut Report) {
    if !at.is_set() {
        report.error(at, "destination is required");
        return;
    }
    let host = at.get("host");
    match host.text() {
        "*" => report.error(&host, "\"*\" is every host; name one"),
        text => report.check(&host, if names::is_address(text) { Ok(()) } else { names::wildcard_host(text) }),
    }
    subset(&at.get("subset"), report);
    port::number(&at.get("port").get("number"), report);
}

/// The name of a subset, if it is there.
pub(super) fn subset(at: &At<'_>, report: &mut Report) {
    if !at.text().is_empty() && !names::is_label(at.text()) {
        report.error(at, format!("{:?} can't be the name of a subset", at.text()));
    }
}

/// A list of destinations with weights.
pub(super) fn weighted(list: &At<'_>, report: &mut Report) {
    let routes = list.items();
    let mut total = 0;
    for route in &routes {
        if !route.is_set() {
            report.error(route, "is empty");
            continue;
        }
        destination(&route.get("destination"), report);
        header::operations(&route.get("headers"), report);
        let weight = route.get("weight");
        if weight.integer().is_some_and(|weight| weight < 0) {
            report.error(&weight, "must not be negative");
        }
        total += weight.integer().unwrap_or(0);
    }
    if routes.len() > 1 && total == 0 {
        report.error(list, "the total weight is 0: no destination gets any traffic");
    }
}

/// `exact`, `prefix` or `regex`.
pub(super) fn string_match(at: &At<'_>, report: &mut Report) {
    let pattern = at.get("regex");
    if pattern.is_set() {
        regex(&pattern, report);
    }
    if at.count(&["exact", "prefix", "regex"]) > 1 {
        report.error(at, "only one of exact, prefix and regex can be set");
    }
}

/// A regular expression that the proxy can use.
pub(super) fn regex(at: &At<'_>, report: &mut Report) {
    if at.text().is_empty() {
        report.error(at, "an empty regular expression matches nothing that is meant");
    } else if let Err(error) = string_match::full_match(at.text()) {
        report.error(at, error.to_string());
    }
}

/// Names of gateways: `mesh`, `name` or `namespace/name`.
pub(super) fn gateways(list: &At<'_>, report: &mut Report) {
    for gateway in list.items() {
        let valid = match gateway.text().split_once('/') {
            Some((namespace, name)) => names::is_label(namespace) && names::host(name).is_ok(),
            None => names::host(gateway.text()).is_ok(),
        };
        if !valid {
            report.error(&gateway, format!("{:?} is not the name of a gateway, or namespace/name", gateway.text()));
        }
    }
}
