//! Ports by number, name and protocol.

use super::{
    cursor::{At, Report},
    names,
};

/// The protocols that a port can declare.
const PROTOCOLS: [&str; 13] = [
    "HTTP",
    "HTTPS",
    "HTTP2",
    "HTTP_PROXY",
    "GRPC",
    "GRPC-WEB",
    "TCP",
    "TLS",
    "UDP",
    "MONGO",
    "MYSQL",
    "REDIS",
    "HBONE",
];

/// A port number, if it is there.
pub(super) fn number(at: &At<'_>, report: &mut Report) {
    if let Some(port) = at.integer()
        && !(1..=65535).contains(&port)
    {
        report.error(at, format!("port number {port} must be between 1 and 65535"));
    }
}

/// A protocol name; an absent one is detected where that is possible.
pub(super) fn protocol(at: &At<'_>, optional: bool, report: &mut Report) {
    let text = at.text();
    let known = PROTOCOLS.iter().any(|known| known.eq_ignore_ascii_case(text));
    let left_out = optional && text.is_empty();
    if !known && !left_out {
        report.error(at, format!("invalid protocol {text:?}; there are {}", PROTOCOLS.join(", ")));
    }
}

/// The name of a port.
pub(super) fn name(at: &At<'_>, report: &mut Report) {
    if !names::is_label(at.text()) {
        report.error(at, format!("port name {:?} must be letters, digits and inner dashes", at.text()));
    }
}
