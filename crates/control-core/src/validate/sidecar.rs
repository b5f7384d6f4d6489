//! Sidecar.

use std::net::IpAddr;

use super::{
    cursor::{At, Report},
    names, port, route, selector, server_tls, traffic_policy,
};

pub(super) fn check(_: &At<'_>, spec: &At<'_>, report: &mut Report) {
    let (ingress, egress) = (spec.get("ingress"), spec.get("egress"));
    let sets_anything = spec.count(&["outboundTrafficPolicy", "inboundConnectionPool"]) > 0;
    if ingress.items().is_empty() && egress.items().is_empty() && !sets_anything {
        report.error(spec, "sidecar: empty configuration provided");
    }
    selector::match_labels(&spec.get("workloadSelector"), "labels", report);
    let mut ports = Vec::new();
    for listener in ingress.items() {
        check_ingress(&listener, report);
        once(&listener.get("port"), &mut ports, report);
    }
    check_egress(&egress, report);
    traffic_policy::connection_pool(&spec.get("inboundConnectionPool"), report);
    check_outbound(&spec.get("outboundTrafficPolicy"), report);
}

fn once(port: &At<'_>, seen: &mut Vec<i64>, report: &mut Report) {
    let Some(number) = port.get("number").integer().filter(|number| *number != 0) else { return };
    if seen.contains(&number) {
        report.error(port, format!("ports on listeners must be unique: {number} is used twice"));
    }
    seen.push(number);
}

fn check_ingress(at: &At<'_>, report: &mut Report) {
    let listener = at.get("port");
    if !listener.is_set() {
        report.error(&listener, "port is required for ingress listeners");
    }
    port::number(&listener.get("number"), report);
    port::protocol(&listener.get("protocol"), true, report);
    let bind = at.get("bind");
    if !bind.is_blank() && !names::is_address(bind.text()) && !bind.text().starts_with("unix://") {
        report.error(&bind, format!("{} is not a valid IP", bind.text()));
    }
    if at.has("defaultEndpoint") {
        let endpoint = at.get("defaultEndpoint");
        report.check(&endpoint, default_endpoint(endpoint.text()));
    }
    if at.has("tls") {
        check_tls(&at.get("tls"), report);
    }
    traffic_policy::connection_pool(&at.get("connectionPool"), report);
    let tcp_only = ["TCP", "MONGO", "MYSQL", "REDIS"]
        .iter()
        .any(|known| known.eq_ignore_ascii_case(listener.get("protocol").text()));
    if tcp_only && at.get("connectionPool").has("http") {
        report.warn(&at.get("connectionPool").get("http"), "has no effect on a TCP port");
    }
}

/// Where inbound connections go: the pod itself, by loopback or instance address, or a socket.
fn default_endpoint(text: &str) -> Result<(), String> {
    if let Some(path) = text.strip_prefix("unix://") {
        let named = path.strip_prefix(['/', '@']).is_some_and(|name| !name.is_empty());
        return named.then_some(()).ok_or_else(|| format!("{text:?} names no socket"));
    }
    let refused = || format!("{text:?} is not :port, 127.0.0.1, 0.0.0.0, [::1] or [::] with a port, nor a unix socket");
    let (host, port) = text.rsplit_once(':').ok_or_else(refused)?;
    port.parse::<u16>().ok().filter(|port| *port > 0).ok_or_else(refused)?;
    if host.is_empty() {
        return Ok(());
    }
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().map_err(|_| refused())?;
    (address.is_loopback() || address.is_unspecified()).then_some(()).ok_or_else(refused)
}

fn check_tls(at: &At<'_>, report: &mut Report) {
    let mode = at.get("mode");
    if matches!(mode.text(), "ISTIO_MUTUAL" | "AUTO_PASSTHROUGH") {
        report.error(&mode, format!("mode {} is not supported by a sidecar", mode.text()));
    }
    for name in ["subjectAltNames", "credentialName", "credentialNames", "httpsRedirect"] {
        if !at.get(name).is_blank() {
            report.error(&at.get(name), "is not supported by a sidecar");
        }
    }
    server_tls::check(at, report);
}

fn check_egress(list: &At<'_>, report: &mut Report) {
    let listeners = list.items();
    let mut ports = Vec::new();
    for (index, listener) in listeners.iter().enumerate() {
        let port = listener.get("port");
        if !port.is_set() && index + 1 != listeners.len() {
            report.error(listener, "only the last egress listener can leave out its port, to catch the rest");
        }
        port::number(&port.get("number"), report);
        once(&port, &mut ports, report);
        let hosts = listener.get("hosts");
        if hosts.items().is_empty() {
            report.error(&hosts, "egress listener must contain at least one host");
        }
        let mut seen: Vec<(&str, &str)> = Vec::new();
        for host in hosts.items() {
            check_egress_host(&host, &mut seen, report);
        }
    }
}

/// `namespace/host`, where the namespace may be `*`, `.`, `~` (none) or `~name` (all but that).
fn check_egress_host<'a>(at: &At<'a>, seen: &mut Vec<(&'a str, &'a str)>, report: &mut Report) {
    let Some((namespace, host)) = at.text().split_once('/') else {
        report.error(at, format!("{:?} must be of the form namespace/host", at.text()));
        return;
    };
    let name = namespace.strip_prefix('~').filter(|name| !name.is_empty()).unwrap_or(namespace);
    if !matches!(name, "*" | "." | "~") && !names::is_label(name) {
        report.error(at, format!("{namespace:?} is not a namespace, \"*\", \".\" or \"~\""));
    }
    let partial = host.starts_with('*') && host != "*" && !host.starts_with("*.");
    match partial {
        true => report.error(at, format!("partial wildcard {host:?} is not allowed; write *. and whole labels")),
        false => report.check(at, names::wildcard_host(host)),
    }
    let covered = |(known_namespace, known_host): &&(&str, &str)| {
        *known_host == "*"
            && (*known_namespace == namespace || (*known_namespace == "*" && !namespace.starts_with('~')))
    };
    if let Some((wider, _)) = seen.iter().find(covered) {
        report.warn(at, format!("adds nothing to {wider}/*"));
    }
    seen.push((namespace, host));
}

fn check_outbound(at: &At<'_>, report: &mut Report) {
    let proxy = at.get("egressProxy");
    if !proxy.is_set() {
        return;
    }
    if at.get("mode").text() != "ALLOW_ANY" {
        report.error(&proxy, "egress_proxy must be set only with ALLOW_ANY outbound_traffic_policy mode");
    }
    route::destination(&proxy, report);
    if !proxy.get("port").has("number") {
        report.error(&proxy.get("port"), "egress_proxy needs a port");
    }
}
