//! Formats of strings in schemas. What is not listed here is no restriction.

use std::net::{Ipv4Addr, Ipv6Addr};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ipnet::IpNet;

use super::pattern::compiled;
use crate::cel::is_absolute_url;

/// Whether a text is of a format.
pub fn fits(format: &str, text: &str) -> bool {
    let matches = |pattern: &str| compiled(pattern).is_some_and(|regex| regex.is_match(text));
    match format.replace('-', "").as_str() {
        "datetime" => text.parse::<jiff::Timestamp>().is_ok(),
        "date" => text.len() == 10 && text.parse::<jiff::civil::Date>().is_ok(),
        "duration" => crate::cel::parse_duration(text).is_some() || is_worded_duration(text),
        "byte" => STANDARD.decode(text).is_ok(),
        "ipv4" | "ip" if text.parse::<Ipv4Addr>().is_ok() => true,
        "ipv6" | "ip" => text.parse::<Ipv6Addr>().is_ok(),
        "ipv4" => false,
        "cidr" => text.parse::<IpNet>().is_ok(),
        "mac" => matches(r"^([0-9a-fA-F]{2}[:-]){5}[0-9a-fA-F]{2}$"),
        "uri" => is_absolute_url(text),
        "email" => matches(r"^[^@\s<>]+@[^@\s<>]+$"),
        "hostname" => is_hostname(text),
        "uuid" => matches(r"^(?i)[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}$"),
        "uuid3" => matches(r"^(?i)[0-9a-f]{8}-?[0-9a-f]{4}-?3[0-9a-f]{3}-?[0-9a-f]{4}-?[0-9a-f]{12}$"),
        "uuid4" => matches(r"^(?i)[0-9a-f]{8}-?[0-9a-f]{4}-?4[0-9a-f]{3}-?[89ab][0-9a-f]{3}-?[0-9a-f]{12}$"),
        "uuid5" => matches(r"^(?i)[0-9a-f]{8}-?[0-9a-f]{4}-?5[0-9a-f]{3}-?[89ab][0-9a-f]{3}-?[0-9a-f]{12}$"),
        "hexcolor" => matches(r"^#?([0-9a-fA-F]{3}|[0-9a-fA-F]{6})$"),
        "bsonobjectid" => matches(r"^[0-9a-fA-F]{24}$"),
        "ssn" => matches(r"^\d{3}[- ]?\d{2}[- ]?\d{4}$"),
        "isbn10" => matches(r"^(\d[ -]?){9}[\dX]$"),
        "isbn13" => matches(r"^(\d[ -]?){13}$"),
        _ => true,
    }
}

fn is_hostname(text: &str) -> bool {
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    text.len() <= 255 && text.trim_end_matches('.').split('.').all(label)
}

/// `3 days`, `2h`, ...: the format knows words that rules don't.
fn is_worded_duration(text: &str) -> bool {
    compiled(
        r"^(\d+(\.\d+)?\s*(ns|nano|us|µs|micro|ms|milli|s|sec|second|m|min|minute|h|hr|hour|d|day|w|wk|week)s?\s*)+$",
    )
    .is_some_and(|regex| regex.is_match(text))
}
