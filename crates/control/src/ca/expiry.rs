//! Warns before certificates of the CA end.

use std::time::{Duration, SystemTime};

use super::Authority;

const DAY: Duration = Duration::from_secs(24 * 3600);
/// When a warning begins.
const SOON: Duration = Duration::from_secs(30 * 24 * 3600);
/// When it becomes an error.
const URGENT: Duration = Duration::from_secs(7 * 24 * 3600);

/// How near an end is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Urgency {
    None,
    Soon,
    Urgent,
}

pub(super) fn urgency(end: SystemTime, now: SystemTime) -> Urgency {
    match end.duration_since(now).unwrap_or_default() {
        left if left <= URGENT => Urgency::Urgent,
        left if left <= SOON => Urgency::Soon,
        _ => Urgency::None,
    }
}

/// Logs what ends soon, and what to do about it.
pub(super) fn warn(authority: &Authority, advice: &str, now: SystemTime) {
    let (chain, root) = (authority.not_after(), authority.root_not_after());
    let what = if root <= chain { "the root certificate" } else { "the CA's signing certificate or its chain" };
    let end = chain.min(root);
    let days = end.duration_since(now).unwrap_or_default().as_secs() / DAY.as_secs();
    match urgency(end, now) {
        Urgency::None => {}
        Urgency::Soon => tracing::warn!("{what} ends in {days} days: {advice}"),
        Urgency::Urgent => {
            tracing::error!("{what} ends in {days} days; all mutual TLS of the mesh fails then: {advice}");
        }
    }
}
