//! ServiceEntry.

use super::{
    cursor::{At, Report},
    names, port, selector, workload,
};

pub(super) fn check(resource: &At<'_>, spec: &At<'_>, report: &mut Report) {
    let hosts = spec.get("hosts");
    let resolution = spec.get("resolution").text();
    if hosts.items().is_empty() {
        report.error(&hosts, "service entry must have at least one host");
    }
    for host in hosts.items() {
        check_host(&host, resolution, report);
    }
    for address in spec.get("addresses").items() {
        report.check(&address, names::range(address.text()));
    }
    check_selector(spec, resolution, report);
    check_ports(spec, report);
    check_endpoints(spec, resolution, report);
    check_resolution(spec, resolution, report);
    names::export_to(resource, spec, report);
}

fn check_host(at: &At<'_>, resolution: &str, report: &mut Report) {
    let text = at.text();
    match text {
        "*" => report.error(at, "\"*\" is every host, which a service entry can't take over"),
        _ => report.check(at, if names::is_address(text) { Ok(()) } else { names::wildcard_host(text) }),
    }
    let partial = text.starts_with('*') && !text.starts_with("*.");
    if partial && resolution != "DYNAMIC_DNS" {
        report.warn(at, format!("partial wildcard {text:?} is not supported; write *. and whole labels"));
    }
}

fn check_selector(spec: &At<'_>, resolution: &str, report: &mut Report) {
    let workloads = spec.get("workloadSelector");
    if !workloads.is_set() {
        return;
    }
    selector::match_labels(&workloads, "labels", report);
    if !spec.get("endpoints").is_blank() {
        report.error(&workloads, "only one of workloadSelector and endpoints can be set");
    }
    let labels = workloads.get("labels");
    let usable = !labels.is_blank() && labels.entries().iter().all(|(name, _)| !name.is_empty());
    if usable && !matches!(resolution, "STATIC" | "DNS" | "DNS_ROUND_ROBIN") {
        report.warn(&workloads, "has an effect with resolution STATIC or DNS only");
    }
    for item in spec.get("ports").items() {
        let (number, target) = (item.get("number"), item.get("targetPort"));
        if target.is_set() && target.integer() != number.integer() {
            report.warn(&target, "is not used with a workloadSelector that selects pods of this port");
        }
    }
}

fn check_ports(spec: &At<'_>, report: &mut Report) {
    let ports = spec.get("ports");
    let (mut numbers, mut port_names) = (Vec::new(), Vec::new());
    for item in ports.items() {
        if !item.is_set() {
            report.error(&item, "is null; a port needs a number and a name");
            continue;
        }
        let (number, name) = (item.get("number"), item.get("name"));
        if !number.is_set() {
            report.error(&number, "port number is required");
        }
        port::number(&number, report);
        port::number(&item.get("targetPort"), report);
        port::protocol(&item.get("protocol"), true, report);
        port::name(&name, report);
        if number.is_set() && numbers.contains(&number.integer()) {
            report.error(&number, "service entry port numbers must be unique");
        }
        if port_names.contains(&name.text()) {
            report.error(&name, "service entry port names must be unique");
        }
        numbers.push(number.integer());
        port_names.push(name.text());
    }
}

fn check_endpoints(spec: &At<'_>, resolution: &str, report: &mut Report) {
    let endpoints = spec.get("endpoints").items();
    let ports = spec.get("ports").items();
    for endpoint in &endpoints {
        let address = endpoint.get("address");
        let on_socket = address.text().starts_with("unix://");
        if on_socket && ports.len() != 1 {
            report.error(&address, "a unix socket endpoint needs exactly one service port");
        }
        let static_host = resolution == "STATIC" && !on_socket && !address.is_blank();
        if static_host && !names::is_address(address.text()) {
            report.error(&address, format!("{:?} is not an IP address, as resolution STATIC needs", address.text()));
        }
        workload::check_endpoint(endpoint, report);
        for (name, number) in endpoint.get("ports").entries() {
            if !ports.iter().any(|port| port.get("name").text() == name) {
                report.error(&number, format!("endpoint port {name:?} is not a port of the service entry"));
            }
        }
    }
    let many = endpoints.len() > 1 && resolution == "DNS_ROUND_ROBIN";
    if many {
        report.error(&spec.get("endpoints"), "resolution DNS_ROUND_ROBIN takes at most one endpoint");
    }
}

fn check_resolution(spec: &At<'_>, resolution: &str, report: &mut Report) {
    let (endpoints, addresses) = (spec.get("endpoints"), spec.get("addresses"));
    match resolution {
        "" | "NONE" => {
            if !endpoints.is_blank() {
                report.error(&endpoints, "no endpoints should be provided for resolution type none");
            }
            for item in spec.get("ports").items() {
                let bare = item.get("protocol").is_blank() || item.get("protocol").text().eq_ignore_ascii_case("TCP");
                if item.is_set() && bare && addresses.is_blank() && !spec.has("workloadSelector") {
                    report.warn(
                        &item.get("protocol"),
                        "without addresses, a TCP (or undeclared) port takes all traffic to that port number",
                    );
                }
            }
        }
        "DNS" | "DNS_ROUND_ROBIN" if endpoints.is_blank() && !spec.has("workloadSelector") => {
            for host in spec.get("hosts").items() {
                if names::host(host.text()).is_err() {
                    report.error(&host, "hosts must be FQDN if no endpoints are provided for resolution mode DNS");
                }
            }
        }
        "DYNAMIC_DNS" => check_dynamic(spec, report),
        _ => {}
    }
}

fn check_dynamic(spec: &At<'_>, report: &mut Report) {
    for name in ["endpoints", "addresses"] {
        if !spec.get(name).is_blank() {
            report.error(&spec.get(name), "has no meaning for resolution DYNAMIC_DNS");
        }
    }
    for host in spec.get("hosts").items() {
        if !host.text().starts_with('*') {
            report.error(&host, "resolution DYNAMIC_DNS is for wildcard hosts");
        }
    }
    for item in spec.get("ports").items() {
        let protocol = item.get("protocol");
        let named = ["HTTP", "HTTPS", "HTTP2", "GRPC", "GRPC-WEB", "TLS"];
        if !named.iter().any(|known| known.eq_ignore_ascii_case(protocol.text())) {
            report.error(&protocol, "resolution DYNAMIC_DNS needs a protocol that names its host: HTTP, GRPC or TLS");
        }
    }
}
