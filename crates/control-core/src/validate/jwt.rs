//! PeerAuthentication and RequestAuthentication.

use serde_json::Value;

use super::{
    cursor::{At, Report},
    header, names, selector, time,
};

pub(super) fn check_peer(_: &At<'_>, spec: &At<'_>, report: &mut Report) {
    selector::match_labels(&spec.get("selector"), "matchLabels", report);
    let ports = spec.get("portLevelMtls");
    if !ports.is_set() {
        return;
    }
    if ports.is_blank() {
        report.error(&ports, "port level mTLS settings must not be empty");
    }
    if spec.get("selector").get("matchLabels").is_blank() {
        report.error(&ports, "port level mTLS settings need a selector: ports belong to workloads");
    }
    for (number, setting) in ports.entries() {
        if !number.parse::<u16>().is_ok_and(|number| number > 0) {
            report.error(&setting, format!("{number:?} is not a port number"));
        }
    }
}

pub(super) fn check_request(_: &At<'_>, spec: &At<'_>, report: &mut Report) {
    selector::check(spec, report);
    for rule in spec.get("jwtRules").items() {
        check_rule(&rule, report);
    }
}

fn check_rule(rule: &At<'_>, report: &mut Report) {
    let (issuer, uri, inline) = (rule.get("issuer"), rule.get("jwksUri"), rule.get("jwks"));
    if issuer.is_blank() && uri.is_blank() && inline.is_blank() {
        report.error(&issuer, "issuer or jwksUri or jwks must be set");
    }
    for audience in rule.get("audiences").items() {
        if audience.is_blank() {
            report.error(&audience, "audience must be non-empty");
        }
    }
    if !uri.is_blank() {
        report.check(&uri, key_address(uri.text()));
    }
    if !uri.is_blank() && !inline.is_blank() {
        report.warn(&inline, "is not used, since jwksUri is set");
    }
    if !inline.is_blank() {
        check_keys(&inline, report);
    }
    for location in rule.get("fromHeaders").items() {
        if location.get("name").is_blank() {
            report.error(&location.get("name"), "location header name must be non-empty");
        }
    }
    for name in ["fromParams", "fromCookies"] {
        for location in rule.get(name).items() {
            if location.is_blank() {
                report.error(&location, "must be non-empty");
            }
        }
    }
    for output in rule.get("outputClaimToHeaders").items() {
        let (claim, target) = (output.get("claim"), output.get("header"));
        if claim.is_blank() {
            report.error(&claim, "outputClaimToHeaders claim value must be non-empty");
        }
        report.check(&target, header::name(target.text()));
    }
    time::positive(&rule.get("timeout"), report);
}

/// `http://` or `https://`, a host, and perhaps a port.
fn key_address(text: &str) -> Result<(), String> {
    let refused = || format!("{text:?} is not an http or https URL");
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")).ok_or_else(refused)?;
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let authority = authority.rsplit_once('@').map_or(authority, |(_, authority)| authority);
    let (host, number) = match authority.rsplit_once(':') {
        Some((host, number)) if !host.is_empty() && !number.ends_with(']') => (host, Some(number)),
        _ => (authority, None),
    };
    let valid_port = number.is_none_or(|number| number.parse::<u16>().is_ok_and(|number| number > 0));
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    if valid_port && names::address_or_host(bare).is_ok() { Ok(()) } else { Err(refused()) }
}

/// A JSON Web Key Set: public keys only.
fn check_keys(at: &At<'_>, report: &mut Report) {
    let Ok(set) = serde_json::from_str::<Value>(at.text()) else {
        report.error(at, "is not a JSON Web Key Set; write {\"keys\": [...]}");
        return;
    };
    let Some(keys) = set["keys"].as_array() else {
        report.error(at, "has no list of keys; write {\"keys\": [...]}");
        return;
    };
    for key in keys {
        if !key["kty"].is_string() {
            report.error(at, "has a key without type (kty)");
        }
        if key.get("d").is_some() || key["kty"] == "oct" {
            report.warn(at, "holds a private key, which everyone who reads this resource can misuse; use public keys");
        }
    }
}
