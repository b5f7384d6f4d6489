//! The target of a request, made unambiguous before anything decides on it.

use lateen_proxy_core::http::Hcm;
use lateen_proxy_core::normalize::{Normalized, normalize};
use lateen_proxy_core::route::split_port;

/// Why a well-formed request is not served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// Answered with a status and the reason.
    Status(u16, &'static str),
    /// Sent to another path.
    Redirect(String),
}

/// The path to go on with, when it differs from `path`.
pub fn path(hcm: &Hcm, path: &str) -> Result<Option<String>, Refusal> {
    match normalize(path, hcm.normalization()) {
        Normalized::Path(new) if new == path => Ok(None),
        Normalized::Path(new) => Ok(Some(new.into_owned())),
        Normalized::Redirect(to) => Err(Refusal::Redirect(to)),
        Normalized::Refused(why) => Err(Refusal::Status(400, why)),
    }
}

/// The authority to go on with, when it differs from `authority`.
pub fn authority(hcm: &Hcm, authority: &str, listener_port: u16) -> Option<String> {
    if !hcm.strip_any_port && !hcm.strip_matching_port {
        return None;
    }
    let (host, port) = split_port(authority);
    let matches = port?.parse() == Ok(listener_port);
    (hcm.strip_any_port || matches).then(|| host.to_owned())
}
