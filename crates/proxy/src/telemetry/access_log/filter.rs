//! Which records a log wants.

use lateen_proxy_core::flags;
use lateen_proxy_core::listener::{Comparison, LogFilter};

use crate::record::Record;

pub(super) fn wants(filter: &LogFilter, record: &Record<'_>) -> bool {
    match filter {
        LogFilter::Flags(names) if names.is_empty() => !record.flags.is_empty(),
        LogFilter::Flags(names) => {
            let mut set = flags::ALL.iter().filter(|(flag, _)| record.flags.has(*flag));
            set.any(|(_, letters)| names.iter().any(|name| **name == **letters))
        }
        LogFilter::Status { op, value } => compare(*op, u64::from(record.response.status), *value),
        LogFilter::Duration { op, value } => {
            compare(*op, u64::try_from(record.duration.as_millis()).unwrap_or(u64::MAX), *value)
        }
        LogFilter::And(filters) => filters.iter().all(|filter| wants(filter, record)),
        LogFilter::Or(filters) => filters.iter().any(|filter| wants(filter, record)),
        LogFilter::Unknown => true,
    }
}

fn compare(op: Comparison, left: u64, right: u32) -> bool {
    let right = u64::from(right);
    match op {
        Comparison::Equal => left == right,
        Comparison::AtLeast => left >= right,
        Comparison::AtMost => left <= right,
        Comparison::Different => left != right,
    }
}
