//! WorkloadEntry and WorkloadGroup.

use super::{
    cursor::{At, Report},
    names, port, time,
};

pub(super) fn check_entry(_: &At<'_>, spec: &At<'_>, report: &mut Report) {
    let address = spec.get("address");
    if address.is_blank() {
        match spec.get("network").is_blank() {
            true => report.error(&address, "address is required"),
            false => {
                report.warn(&address, "without address, the workload is reached through its network's gateway only")
            }
        }
    }
    check_endpoint(spec, report);
}

/// An endpoint's address, ports and labels.
pub(super) fn check_endpoint(at: &At<'_>, report: &mut Report) {
    let address = at.get("address");
    if let Some(path) = address.text().strip_prefix("unix://") {
        if !path.starts_with('/') && !path.starts_with('@') {
            report.error(&address, "the path of a unix socket must be absolute");
        }
        if !at.get("ports").is_blank() {
            report.error(&at.get("ports"), "a unix socket has no ports");
        }
    } else if !address.is_blank() {
        report.check(&address, names::address_or_host(address.text()));
    }
    for (name, number) in at.get("ports").entries() {
        if !names::is_label(name) {
            report.error(&number, format!("port name {name:?} must be letters, digits and inner dashes"));
        }
        port::number(&number, report);
    }
    names::labels(&at.get("labels"), report);
}

pub(super) fn check_group(_: &At<'_>, spec: &At<'_>, report: &mut Report) {
    let template = spec.get("template");
    if !template.is_set() {
        report.error(&template, "template is required");
    }
    names::labels(&spec.get("metadata").get("labels"), report);
    check_endpoint(&template, report);
    check_probe(&spec.get("probe"), report);
}

fn check_probe(at: &At<'_>, report: &mut Report) {
    if !at.is_set() {
        return;
    }
    for name in ["initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold"] {
        time::not_negative(&at.get(name), report);
    }
    if at.count(&["httpGet", "tcpSocket", "exec", "grpc"]) != 1 {
        report.error(at, "needs one of httpGet, tcpSocket, exec and grpc");
    }
    for name in ["httpGet", "tcpSocket", "grpc"] {
        let method = at.get(name);
        let number = method.get("port");
        if method.is_set() && name != "grpc" && number.integer().unwrap_or(0) == 0 {
            report.error(&number, "port is required");
        }
        port::number(&number, report);
    }
    let path = at.get("httpGet").get("path");
    if !path.text().is_empty() && !path.text().starts_with('/') {
        report.error(&path, "must begin with /");
    }
    let command = at.get("exec").get("command");
    if at.has("exec") && command.is_blank() {
        report.error(&command, "is required");
    }
}
