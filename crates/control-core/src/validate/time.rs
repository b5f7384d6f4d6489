//! Durations and shares.

use std::time::Duration;

use super::cursor::{At, Report};

/// A duration of at least a millisecond, if it is there.
pub(super) fn positive(at: &At<'_>, report: &mut Report) {
    duration(at, Duration::from_millis(1), report);
}

/// A duration where zero means "none", if it is there.
pub(super) fn or_zero(at: &At<'_>, report: &mut Report) {
    duration(at, Duration::ZERO, report);
}

fn duration(at: &At<'_>, least: Duration, report: &mut Report) {
    if !at.is_set() {
        return;
    }
    match lateen_mesh::duration::parse(at.text()) {
        Err(error) => report.error(at, error.to_string()),
        Ok(duration) if duration < least => report.error(at, "must be at least 1ms"),
        Ok(duration) if duration.subsec_nanos() % 1_000_000 != 0 => {
            report.error(at, "must be a whole number of milliseconds");
        }
        Ok(_) => {}
    }
}

/// A number from 0 to 100, if it is there.
pub(super) fn percent(at: &At<'_>, report: &mut Report) {
    if at.number().is_some_and(|number| !(0.0..=100.0).contains(&number)) {
        report.error(at, "must be between 0 and 100");
    }
}

/// A number of at least 0, if it is there.
pub(super) fn not_negative(at: &At<'_>, report: &mut Report) {
    if at.number().is_some_and(|number| number < 0.0) {
        report.error(at, "must be greater than or equal to 0");
    }
}
