//! Gateway.

use super::{
    cursor::{At, Report},
    names, port, server_tls,
};

pub(super) fn check(_: &At<'_>, spec: &At<'_>, report: &mut Report) {
    let servers = spec.get("servers");
    if servers.items().is_empty() {
        report.error(&servers, "a gateway must have at least one server");
    }
    let mut names_seen: Vec<&str> = Vec::new();
    for server in servers.items() {
        check_server(&server, report);
        let name = server.get("port").get("name");
        if !name.text().is_empty() {
            if names_seen.contains(&name.text()) {
                report.error(&name, format!("port names in servers must be unique: {:?} is used twice", name.text()));
            }
            names_seen.push(name.text());
        }
    }
    for (name, value) in spec.get("selector").entries() {
        if name.is_empty() || name.contains('*') || value.text().contains('*') {
            report.error(&value, "a selector names labels without wildcards");
        }
    }
}

fn check_server(at: &At<'_>, report: &mut Report) {
    let hosts = at.get("hosts");
    if hosts.items().is_empty() {
        report.error(&hosts, "server config must contain at least one host");
    }
    for host in hosts.items() {
        check_host(&host, report);
    }
    let bind = at.get("bind").text();
    check_port(&at.get("port"), bind, report);
    let on_socket = bind.starts_with("unix:///") || bind.starts_with("unix://@");
    if !bind.is_empty() && !on_socket && !names::is_address(bind) {
        report.error(&at.get("bind"), format!("{bind} is not a valid IP"));
    }
    check_tls(at, report);
}

fn check_host(at: &At<'_>, report: &mut Report) {
    let host = match at.text().split_once('/') {
        None => at.text(),
        Some((namespace, host)) => {
            if !matches!(namespace, "*" | ".") && !names::is_label(namespace) {
                report.error(at, format!("{namespace:?} is not a namespace"));
            }
            host
        }
    };
    if !names::is_address(host) {
        report.check(at, names::wildcard_host(host));
    }
}

fn check_port(at: &At<'_>, bind: &str, report: &mut Report) {
    if !at.is_set() {
        report.error(at, "port is required");
        return;
    }
    port::protocol(&at.get("protocol"), false, report);
    let number = at.get("number");
    if number.integer().unwrap_or(0) != 0 || !bind.starts_with("unix") {
        match number.integer() {
            None => report.error(&number, "port number is required"),
            Some(_) => port::number(&number, report),
        }
    }
    if at.get("name").is_blank() {
        report.error(&at.get("name"), "port name must be set");
    }
}

fn check_tls(at: &At<'_>, report: &mut Report) {
    let tls = at.get("tls");
    let protocol = at.get("port").get("protocol").text().to_ascii_uppercase();
    let needs_tls = matches!(protocol.as_str(), "HTTPS" | "TLS");
    if needs_tls && !tls.is_set() {
        report.error(&tls, format!("server must have TLS settings for {protocol}"));
    }
    if tls.is_set() {
        if protocol == "HTTP" && !tls.get("httpsRedirect").flag() {
            report.error(&tls, "server cannot have TLS settings for plain text HTTP ports");
        }
        if needs_tls || !tls.get("httpsRedirect").flag() {
            server_tls::check(&tls, report);
        }
    }
}
