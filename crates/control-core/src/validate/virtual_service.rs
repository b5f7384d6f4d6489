//! VirtualService.

use lateen_mesh::Hostname;

use super::{
    cursor::{At, Report},
    header, http_route, names, port, route, unreachable,
};

pub(super) fn check(resource: &At<'_>, spec: &At<'_>, report: &mut Report) {
    let hosts = spec.get("hosts");
    let delegate = hosts.is_blank();
    route::gateways(&spec.get("gateways"), report);
    check_hosts(spec, report);
    let [http, tls, tcp] = ["http", "tls", "tcp"].map(|name| spec.get(name));
    if [&http, &tls, &tcp].iter().all(|routes| routes.items().is_empty()) {
        report.error(spec, "http, tcp or tls must be provided in a virtual service");
    }
    for route in http.items() {
        http_route::check(&route, delegate, report);
    }
    for route in tls.items() {
        check_tls(&route, report);
    }
    for route in tcp.items() {
        check_tcp(&route, report);
    }
    if delegate && !(tls.is_blank() && tcp.is_blank()) {
        report.error(&hosts, "a virtual service without hosts is a delegate, which has http routes only");
    }
    unreachable::warn(&http, report);
    names::export_to(resource, spec, report);
}

fn check_hosts(spec: &At<'_>, report: &mut Report) {
    let gateways = spec.get("gateways");
    let in_mesh = gateways.is_blank() || gateways.items().iter().any(|gateway| gateway.text() == "mesh");
    let hosts = spec.get("hosts").items();
    for host in &hosts {
        match host.text() {
            "*" if in_mesh => {
                report.error(host, "wildcard host * is not allowed for virtual services bound to the mesh gateway");
            }
            address if names::is_address(address) => {}
            text => report.check(host, names::wildcard_host(text)),
        }
    }
    for (index, host) in hosts.iter().enumerate() {
        let name = Hostname::new(host.text());
        let overlaps = |other: &&At<'_>| {
            let other = Hostname::new(other.text());
            name.matches(&other) || other.matches(&name)
        };
        if let Some(other) = hosts[..index].iter().find(overlaps) {
            report.error(host, format!("duplicate hosts: overlaps with {}", other.text()));
        }
    }
}

fn check_tls(at: &At<'_>, report: &mut Report) {
    let matches = at.get("match");
    if matches.items().is_empty() {
        report.error(&matches, "a TLS route must have at least one match condition");
    }
    for condition in matches.items() {
        let hosts = condition.get("sniHosts");
        if hosts.items().is_empty() {
            report.error(&hosts, "a TLS match must have at least one SNI host");
        }
        for host in hosts.items() {
            report.check(&host, names::wildcard_host(host.text()));
        }
        check_l4_match(&condition, report);
    }
    check_l4_route(at, report);
}

fn check_tcp(at: &At<'_>, report: &mut Report) {
    for condition in at.get("match").items() {
        check_l4_match(&condition, report);
        if !condition.get("sourceSubnet").is_blank() {
            let subnet = condition.get("sourceSubnet");
            report.check(&subnet, names::range(subnet.text()));
        }
    }
    check_l4_route(at, report);
}

fn check_l4_match(at: &At<'_>, report: &mut Report) {
    for subnet in at.get("destinationSubnets").items() {
        report.check(&subnet, names::range(subnet.text()));
    }
    port::number(&at.get("port"), report);
    names::labels(&at.get("sourceLabels"), report);
    route::gateways(&at.get("gateways"), report);
}

fn check_l4_route(at: &At<'_>, report: &mut Report) {
    let routes = at.get("route");
    if routes.items().is_empty() {
        report.error(&routes, "route is required");
    }
    for route in routes.items().iter().filter(|route| route.has("headers")) {
        header::operations(&route.get("headers"), report);
        report.error(&route.get("headers"), "there are no headers in TCP and TLS routes");
    }
    route::weighted(&routes, report);
}
