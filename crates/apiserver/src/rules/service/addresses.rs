//! A Service's addresses and their families.

use std::net::IpAddr;

use serde_json::{Value, json};

use super::super::{Errors, list};
use crate::status::FieldError;

const NOT_AN_ADDRESS: &str = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";

/// Why an address can't be another machine's or pod's.
pub fn special_address(address: &Value) -> Option<&'static str> {
    let Some(ip) = address.as_str().and_then(|text| text.parse::<IpAddr>().ok()) else {
        return Some(NOT_AN_ADDRESS);
    };
    let (link_local, link_local_multicast) = match ip {
        IpAddr::V4(ip) => (ip.is_link_local(), ip.octets()[..3] == [224, 0, 0]),
        IpAddr::V6(ip) => (ip.is_unicast_link_local(), ip.segments()[0] == 0xff02),
    };
    if ip.is_unspecified() {
        Some("may not be unspecified (0.0.0.0 or ::)")
    } else if ip.is_loopback() {
        Some("may not be in the loopback range (127.0.0.0/8, ::1/128)")
    } else if link_local {
        Some("may not be in the link-local range (169.254.0.0/16, fe80::/10)")
    } else if link_local_multicast {
        Some("may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)")
    } else {
        None
    }
}

pub(super) fn validate(spec: &Value, errors: &mut Errors) {
    for (index, address) in list(&spec["externalIPs"]).iter().enumerate() {
        if let Some(text) = special_address(address) {
            errors.push(FieldError::invalid(format!("spec.externalIPs[{index}]"), address, text));
        }
    }
    let kind = spec["type"].as_str().unwrap_or_default();
    if spec["clusterIP"] == "None" && matches!(kind, "NodePort" | "LoadBalancer") {
        let text = format!("may not be set to 'None' for {kind} services");
        errors.push(FieldError::invalid("spec.clusterIPs[0]", &json!("None"), text));
    }
    families(spec, errors);
    cluster_ips(spec, errors);
}

fn families(spec: &Value, errors: &mut Errors) {
    let allowed = ["PreferDualStack", "RequireDualStack", "SingleStack"];
    let policy = &spec["ipFamilyPolicy"];
    if !policy.is_null() && !allowed.iter().any(|a| policy == a) {
        errors.push(FieldError::not_supported("spec.ipFamilyPolicy", policy, &allowed));
    }
    let families = list(&spec["ipFamilies"]);
    for (index, family) in families.iter().enumerate() {
        let field = format!("spec.ipFamilies[{index}]");
        if !["IPv4", "IPv6"].iter().any(|f| family == f) {
            errors.push(FieldError::not_supported(field, family, &["IPv4", "IPv6"]));
        } else if families[..index].contains(family) {
            errors.push(FieldError::duplicate(field, family));
        }
    }
}

fn cluster_ips(spec: &Value, errors: &mut Errors) {
    let ips = list(&spec["clusterIPs"]);
    if ips.len() > 2 {
        let text = "may only hold up to 2 values";
        errors.push(FieldError::invalid("spec.clusterIPs", &spec["clusterIPs"], text));
    }
    let first = &spec["clusterIP"];
    let given = first.as_str().is_some_and(|ip| !ip.is_empty());
    if given && !ips.is_empty() && ips[0] != *first {
        let text = "first value must match `clusterIP`";
        errors.push(FieldError::invalid("spec.clusterIPs", &spec["clusterIPs"], text));
    } else if !given && !ips.is_empty() && ips[0] != "" {
        let text = "must be empty when `clusterIP` is not specified";
        errors.push(FieldError::forbidden("spec.clusterIPs", text));
    }
    for (index, ip) in ips.iter().enumerate() {
        let valid = ip.as_str().is_some_and(|text| text.is_empty() || text == "None" || text.parse::<IpAddr>().is_ok());
        if !valid {
            errors.push(FieldError::invalid(format!("spec.clusterIPs[{index}]"), ip, NOT_AN_ADDRESS));
        }
    }
}

pub(super) fn validate_update(new: &Value, old: &Value, errors: &mut Errors) {
    let external = |spec: &Value| spec["type"] == "ExternalName";
    if external(new) || external(old) {
        return;
    }
    let (new_ip, old_ip) = (&new["clusterIP"], &old["clusterIP"]);
    if new_ip != old_ip && !old_ip.is_null() {
        errors.push(FieldError::invalid("spec.clusterIPs[0]", new_ip, "may not change once set"));
    }
    let (new_family, old_family) = (&new["ipFamilies"][0], &old["ipFamilies"][0]);
    if new_family != old_family && !old_family.is_null() && !new_family.is_null() {
        errors.push(FieldError::invalid("spec.ipFamilies[0]", new_family, "may not change once set"));
    }
}
