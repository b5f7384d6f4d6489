//! LoadBalancerSettings.

use super::{
    cursor::{At, Report},
    header, time,
};

pub(super) fn check(at: &At<'_>, report: &mut Report) {
    if at.count(&["simple", "consistentHash"]) > 1 {
        report.error(at, "only one of simple and consistentHash can be set");
    }
    consistent_hash(&at.get("consistentHash"), report);
    let (locality, zones) = (at.get("localityLbSetting"), at.get("zoneAwareLbSetting"));
    if locality.is_set() && zones.is_set() {
        report.error(&zones, "only one of localityLbSetting and zoneAwareLbSetting can be set");
    }
    locality_setting(&locality, report);
    time::or_zero(&at.get("warmupDurationSecs"), report);
    let warmup = at.get("warmup");
    if warmup.is_set() {
        time::positive(&warmup.get("duration"), report);
        time::percent(&warmup.get("minimumPercent"), report);
    }
}

fn consistent_hash(at: &At<'_>, report: &mut Report) {
    if !at.is_set() {
        return;
    }
    let keys = ["httpHeaderName", "httpCookie", "useSourceIp", "httpQueryParameterName"];
    if at.count(&keys) > 1 {
        report.error(at, format!("only one of {} can be set", keys.join(", ")));
    }
    if at.has("httpHeaderName") {
        let name = at.get("httpHeaderName");
        report.check(&name, header::name(name.text()));
    }
    let cookie = at.get("httpCookie");
    if cookie.is_set() {
        if cookie.get("name").is_blank() {
            report.error(&cookie.get("name"), "name required for HttpCookie");
        }
        time::or_zero(&cookie.get("ttl"), report);
        attributes(&cookie.get("attributes"), report);
    }
    if at.count(&["ringHash", "maglev"]) > 1 {
        report.error(at, "only one of ringHash and maglev can be set");
    }
    let size = at.get("maglev").get("tableSize");
    if size.integer().is_some_and(|size| !is_prime(size)) {
        report.error(&size, "tableSize must be a prime number for maglev");
    }
}

fn attributes(list: &At<'_>, report: &mut Report) {
    let mut seen: Vec<&str> = Vec::new();
    for attribute in list.items() {
        let name = attribute.get("name");
        if name.is_blank() {
            report.error(&name, "the name of a cookie attribute can't be empty");
        } else if seen.contains(&name.text()) {
            report.error(&name, format!("duplicate cookie attribute {:?}", name.text()));
        }
        seen.push(name.text());
    }
}

/// A table this large is no table any more: everything beyond is refused unseen.
const LARGEST_TABLE: i64 = 5_000_011;

fn is_prime(number: i64) -> bool {
    (2..=LARGEST_TABLE).contains(&number)
        && (2..).take_while(|divisor| divisor * divisor <= number).all(|divisor| number % divisor != 0)
}

fn locality_setting(at: &At<'_>, report: &mut Report) {
    if !at.get("distribute").is_blank() && !at.get("failover").is_blank() {
        report.error(at, "only one of distribute and failover can be set");
    }
    for rule in at.get("distribute").items() {
        let shares = rule.get("to").entries();
        let total: i64 = shares.iter().map(|(_, share)| share.integer().unwrap_or(0)).sum();
        if total != 100 {
            report.error(&rule.get("to"), format!("the weights add up to {total}, not to 100"));
        }
        for (locality, share) in &shares {
            if share.integer().is_some_and(|share| share < 1) {
                report.error(share, format!("the weight of {locality} must be at least 1"));
            }
        }
    }
    for rule in at.get("failover").items() {
        let (from, to) = (rule.get("from"), rule.get("to"));
        if from.text() == to.text() {
            report.error(&to, "fails over to where it comes from");
        }
        for side in [&from, &to] {
            if side.text().contains('*') {
                report.error(side, "wildcards are not allowed in failover");
            }
        }
    }
}
