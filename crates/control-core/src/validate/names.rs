//! The forms of names: hosts, labels, namespaces, addresses.

use std::net::IpAddr;

use super::cursor::{At, Report};

/// A DNS label: letters, digits and inner dashes, at most 63.
pub(super) fn is_label(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    (1..=63).contains(&text.len()) && text.bytes().all(inner) && !text.starts_with('-') && !text.ends_with('-')
}

/// A host name without wildcard.
pub(super) fn host(text: &str) -> Result<(), String> {
    let name = text.strip_suffix('.').unwrap_or(text);
    if name.len() <= 255 && !name.is_empty() && name.split('.').all(is_label) {
        return Ok(());
    }
    Err(format!("{text:?} is not a domain name"))
}

/// A host name whose first label may be, or begin with, `*`.
pub(super) fn wildcard_host(text: &str) -> Result<(), String> {
    if text.is_empty() {
        return Err("is empty; write a domain name".into());
    }
    let Some(rest) = text.strip_prefix('*') else { return host(text) };
    let plain = match rest.strip_prefix('.') {
        _ if rest.is_empty() => return Ok(()),
        Some(tail) => host(tail),
        // `*-suffix` and `*suffix`: any letter in front makes it an ordinary name.
        None => host(&format!("x{rest}")),
    };
    plain.map_err(|_| format!("{text:?} is not a domain name; a wildcard is its first label only"))
}

/// An address or a host name.
pub(super) fn address_or_host(text: &str) -> Result<(), String> {
    if is_address(text) { Ok(()) } else { host(text) }
}

pub(super) fn is_address(text: &str) -> bool {
    text.parse::<IpAddr>().is_ok()
}

/// An address, or a range of them.
pub(super) fn range(text: &str) -> Result<(), String> {
    lateen_mesh::Cidr::parse(text).map(drop).map_err(|error| error.to_string())
}

/// The labels of a map: Kubernetes' forms.
pub(super) fn labels(at: &At<'_>, report: &mut Report) {
    for (name, value) in at.entries() {
        if !is_label_key(name) {
            report.error(&value, format!("{name:?} can't be the name of a label"));
        }
        if !is_label_value(value.text()) {
            report.error(&value, format!("{:?} can't be the value of a label", value.text()));
        }
    }
}

fn is_label_key(key: &str) -> bool {
    let (prefix, name) = key.rsplit_once('/').map_or((None, key), |(prefix, name)| (Some(prefix), name));
    prefix.is_none_or(|prefix| host(prefix).is_ok()) && !name.is_empty() && is_label_value(name)
}

fn is_label_value(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let edge = |byte: Option<&u8>| byte.is_none_or(u8::is_ascii_alphanumeric);
    let bytes = text.as_bytes();
    text.len() <= 63 && text.bytes().all(inner) && edge(bytes.first()) && edge(bytes.last())
}

/// `exportTo`: namespaces, `.`, `*`, and `~` for service entries.
pub(super) fn export_to(resource: &At<'_>, spec: &At<'_>, report: &mut Report) {
    let list = spec.get("exportTo");
    let items = list.items();
    let own = resource.get("metadata").get("namespace");
    let nowhere_allowed = resource.get("kind").text() == "ServiceEntry";
    let mut seen: Vec<&str> = Vec::new();
    for item in &items {
        let name = match item.text() {
            "." if !own.text().is_empty() => own.text(),
            name => name,
        };
        match name {
            "*" | "." => {}
            "~" if nowhere_allowed => {}
            name if is_label(name) => {}
            name => report.error(item, format!("{name:?} is not a namespace, \".\" or \"*\"")),
        }
        if seen.contains(&name) {
            report.error(item, format!("{name:?} is listed twice"));
        }
        seen.push(name);
    }
    if items.len() > 1 && items.iter().any(|item| matches!(item.text(), "*" | "~")) {
        report.error(&list, "\"*\" and \"~\" stand alone");
    }
}
