//! TrafficPolicy: connection pools, outlier detection, TLS to a destination.

use super::{
    cursor::{At, Report},
    load_balancer, names, port, time,
};

const PARTS: [&str; 8] = [
    "loadBalancer",
    "connectionPool",
    "outlierDetection",
    "tls",
    "portLevelSettings",
    "tunnel",
    "proxyProtocol",
    "retryBudget",
];

pub(super) fn check(at: &At<'_>, report: &mut Report) {
    if at.count(&PARTS) == 0 {
        report.error(at, format!("traffic policy must have at least one of {}", PARTS.join(", ")));
    }
    check_parts(at, report);
    for settings in at.get("portLevelSettings").items() {
        let number = settings.get("port").get("number");
        if !number.is_set() {
            report.error(&number, "portLevelSettings must have a port");
        }
        port::number(&number, report);
        check_parts(&settings, report);
    }
    let tunnel = at.get("tunnel");
    if tunnel.is_set() {
        let (host, target) = (tunnel.get("targetHost"), tunnel.get("targetPort"));
        report.check(&host, names::address_or_host(host.text()));
        if !target.is_set() {
            report.error(&target, "is required");
        }
        port::number(&target, report);
    }
    time::percent(&at.get("retryBudget").get("percent"), report);
}

fn check_parts(at: &At<'_>, report: &mut Report) {
    connection_pool(&at.get("connectionPool"), report);
    load_balancer::check(&at.get("loadBalancer"), report);
    outlier_detection(&at.get("outlierDetection"), report);
    client_tls(&at.get("tls"), report);
}

/// Limits on connections and requests.
pub(super) fn connection_pool(at: &At<'_>, report: &mut Report) {
    if !at.is_set() {
        return;
    }
    let (tcp, http) = (at.get("tcp"), at.get("http"));
    if !tcp.is_set() && !http.is_set() {
        report.error(at, "connection pool must have at least one of tcp and http");
    }
    time::not_negative(&tcp.get("maxConnections"), report);
    time::positive(&tcp.get("connectTimeout"), report);
    time::or_zero(&tcp.get("idleTimeout"), report);
    time::positive(&tcp.get("maxConnectionDuration"), report);
    for name in [
        "http1MaxPendingRequests",
        "http2MaxRequests",
        "maxRequestsPerConnection",
        "maxRetries",
        "maxConcurrentStreams",
    ] {
        time::not_negative(&http.get(name), report);
    }
    time::or_zero(&http.get("idleTimeout"), report);
    let keepalive = http.get("http2KeepAlive");
    if keepalive.is_set() {
        for name in ["interval", "timeout"] {
            let field = keepalive.get(name);
            if !field.is_set() {
                report.error(&field, "interval and timeout are both required");
            }
            time::positive(&field, report);
        }
    }
    if http.get("h2UpgradePolicy").text() == "UPGRADE" && http.get("useClientProtocol").flag() {
        report.error(&http.get("useClientProtocol"), "contradicts h2UpgradePolicy UPGRADE");
    }
}

fn outlier_detection(at: &At<'_>, report: &mut Report) {
    time::positive(&at.get("interval"), report);
    time::positive(&at.get("baseEjectionTime"), report);
    time::percent(&at.get("maxEjectionPercent"), report);
    time::percent(&at.get("minHealthPercent"), report);
    time::not_negative(&at.get("consecutiveErrors"), report);
    let count = at.get("consecutiveLocalOriginFailures");
    if count.is_set() && !at.get("splitExternalLocalOriginErrors").flag() {
        report.error(&count, "counts only when splitExternalLocalOriginErrors is true");
    }
}

fn client_tls(at: &At<'_>, report: &mut Report) {
    let mode = at.get("mode").text();
    let unverified = at.get("insecureSkipVerify");
    if unverified.flag() {
        if !at.get("caCertificates").is_blank() {
            report.error(&unverified, "contradicts caCertificates, which are there to verify with");
        }
        if !at.get("subjectAltNames").is_blank() {
            report.error(&unverified, "contradicts subjectAltNames, which are there to verify");
        }
    }
    let named = !at.get("credentialName").is_blank();
    if (mode == "SIMPLE" || mode == "MUTUAL") && named {
        for name in ["caCertificates", "privateKey", "clientCertificate"] {
            if !at.get(name).is_blank() {
                report.error(&at.get(name), "can't be set beside credentialName, which brings all of them");
            }
        }
    }
    if mode == "MUTUAL" && !named {
        for (name, thing) in [("clientCertificate", "client certificate"), ("privateKey", "private key")] {
            if at.get(name).is_blank() {
                report.error(&at.get(name), format!("{thing} required for mutual TLS"));
            }
        }
    }
}
