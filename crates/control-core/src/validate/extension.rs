//! WasmPlugin and TrafficExtension.

use super::{
    cursor::{At, Report},
    selector,
};

/// The largest script that is taken inline.
const LUA_LIMIT: usize = 64 * 1024;

pub(super) fn check_wasm_plugin(_: &At<'_>, spec: &At<'_>, report: &mut Report) {
    selector::check(spec, report);
    check_wasm(spec, report);
    check_matches(&spec.get("match"), report);
}

pub(super) fn check_traffic_extension(_: &At<'_>, spec: &At<'_>, report: &mut Report) {
    selector::check(spec, report);
    check_matches(&spec.get("match"), report);
    let (wasm, lua) = (spec.get("wasm"), spec.get("lua"));
    if wasm.is_set() == lua.is_set() {
        report.error(spec, "needs one of wasm and lua");
    }
    if wasm.is_set() {
        check_wasm(&wasm, report);
    }
    let code = lua.get("inlineCode");
    if lua.is_set() && code.text().is_empty() {
        report.error(&code, "lua.inlineCode must not be empty");
    }
    if code.text().len() > LUA_LIMIT {
        report.error(&code, "lua.inlineCode exceeds maximum size of 64KB");
    }
}

fn check_wasm(at: &At<'_>, report: &mut Report) {
    let url = at.get("url");
    if url.is_blank() {
        report.error(&url, "url field needs to be set");
    } else if let Some((scheme, _)) = url.text().split_once("://")
        && !matches!(scheme, "http" | "https" | "oci" | "file")
    {
        report.error(&url, format!("url contains unsupported scheme {scheme}; use http, https, oci or file"));
    }
    check_digest(&at.get("sha256"), report);
    check_variables(&at.get("vmConfig").get("env"), report);
}

fn check_digest(at: &At<'_>, report: &mut Report) {
    let digest = at.text();
    if digest.is_empty() {
        return;
    }
    if digest.len() != 64 {
        report.error(at, "sha256 field must be 64 characters long");
    } else if !digest.bytes().all(|byte| matches!(byte, b'a'..=b'f' | b'0'..=b'9')) {
        report.error(at, "sha256 field must match [a-f0-9]{64} pattern");
    }
}

fn check_variables(list: &At<'_>, report: &mut Report) {
    let mut seen: Vec<&str> = Vec::new();
    for variable in list.items() {
        let name = variable.get("name");
        if name.is_blank() {
            report.error(&name, "spec.vmConfig.env invalid: a variable needs a name");
        } else if seen.contains(&name.text()) {
            report.error(&name, format!("duplicate env {}", name.text()));
        }
        seen.push(name.text());
        if variable.get("valueFrom").text() == "HOST" && !variable.get("value").is_blank() {
            report.error(&variable.get("value"), "value may only be set when valueFrom has type INLINE");
        }
    }
}

fn check_matches(list: &At<'_>, report: &mut Report) {
    for (index, item) in list.items().iter().enumerate() {
        if !item.is_set() {
            report.error(item, format!("spec.Match[{index}] is nil"));
        }
        for (place, port) in item.get("ports").items().iter().enumerate() {
            let place = format!("spec.Match[{index}].Ports[{place}]");
            match port.get("number").integer() {
                _ if !port.is_set() => report.error(port, format!("{place} is nil")),
                Some(number) if (1..=65535).contains(&number) => {}
                number => report.error(port, format!("{place} is out of range: {}", number.unwrap_or(0))),
            }
        }
    }
}
