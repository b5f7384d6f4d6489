//! The address families of a Service: what it asks for, what the cluster has, and what follows.

use std::net::IpAddr;

use serde_json::{Value, json};

use crate::status::FieldError;

const POLICY: &str = "spec.ipFamilyPolicy";

/// Fills in `ipFamilies` and `ipFamilyPolicy`. `dual` says whether the cluster has IPv6 beside IPv4; `old` is the
/// Service that this one replaces.
pub(super) fn fill(spec: &mut Value, old: Option<&Value>, dual: bool) -> Result<(), FieldError> {
    let headless = spec["clusterIP"] == "None";
    let selectorless = spec["selector"].as_object().is_none_or(serde_json::Map::is_empty);
    let map = crate::object::as_map(spec);
    map.retain(|field, value| !(field == "ipFamilies" && value.as_array().is_none_or(Vec::is_empty)));
    map.retain(|field, value| !(field == "ipFamilyPolicy" && value.is_null()));
    if headless && selectorless {
        // Its endpoints are not the cluster's business: they may be of any family.
        let policy = map.entry("ipFamilyPolicy").or_insert("RequireDualStack".into()).clone();
        let families = map.entry("ipFamilies").or_insert(json!(["IPv4"]));
        if policy != "SingleStack" {
            add_other(families);
        }
        return Ok(());
    }
    if let Some(old) = old {
        let downgraded = spec["ipFamilyPolicy"] == "SingleStack" && old["spec"]["ipFamilyPolicy"] != "SingleStack";
        if downgraded {
            keep_first(spec, &old["spec"]);
        }
    }
    let of_addresses = families_of(&spec["clusterIPs"], &spec["clusterIP"]);
    let map = crate::object::as_map(spec);
    let families = map.entry("ipFamilies").or_insert(json!(of_addresses)).clone();
    let policy = map.entry("ipFamilyPolicy").or_insert("SingleStack".into()).clone();
    check(&families, &policy, &of_addresses, dual)?;
    if dual && policy != "SingleStack" {
        add_other(&mut spec["ipFamilies"]);
    }
    Ok(())
}

fn check(families: &Value, policy: &Value, of_addresses: &[&str], dual: bool) -> Result<(), FieldError> {
    let list = families.as_array().map_or(&[][..], Vec::as_slice);
    if !dual && *policy == "RequireDualStack" {
        let text = "this cluster is not configured for dual-stack services";
        return Err(FieldError::invalid(POLICY, policy, text));
    }
    if !dual && let Some(index) = list.iter().position(|family| family != "IPv4") {
        let field = format!("spec.ipFamilies[{index}]");
        return Err(FieldError::invalid(field, &list[index], "not configured on this cluster"));
    }
    if *policy == "SingleStack" && (list.len() > 1 || of_addresses.len() > 1) {
        let what = if list.len() > 1 { "IP families" } else { "cluster IPs" };
        let text = format!("must be RequireDualStack or PreferDualStack when multiple {what} are specified");
        return Err(FieldError::invalid(POLICY, policy, &text));
    }
    Ok(())
}

/// The families of the addresses that a Service asks for, IPv4 where it asks for none.
fn families_of(all: &Value, first: &Value) -> Vec<&'static str> {
    let listed = all.as_array().filter(|all| !all.is_empty());
    let texts = listed.map_or_else(|| vec![first], |all| all.iter().collect());
    let parsed = texts.into_iter().filter_map(|ip| ip.as_str()?.parse::<IpAddr>().ok());
    let families: Vec<_> = parsed.map(|ip| if ip.is_ipv6() { "IPv6" } else { "IPv4" }).collect();
    if families.is_empty() { vec!["IPv4"] } else { families }
}

fn add_other(families: &mut Value) {
    if let Some(list) = families.as_array_mut()
        && list.len() == 1
    {
        let other = if list[0] == "IPv4" { "IPv6" } else { "IPv4" };
        list.push(other.into());
    }
}

/// A Service that gives up its second family gives up what belongs to it, unless the user changed that too.
fn keep_first(spec: &mut Value, old: &Value) {
    for field in ["ipFamilies", "clusterIPs"] {
        if spec[field] == old[field]
            && let Some(list) = spec[field].as_array_mut()
        {
            list.truncate(1);
        }
    }
}
