//! Durations as written in resources.

use std::time::Duration;

use thiserror::Error;

/// Why a text is not a duration.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("'{0}' is not a duration; write for example 500ms, 10s or 1h30m")]
pub struct NotADuration(String);

/// Longest duration that is accepted, in seconds (the limit of protobuf durations, about 10,000 years).
const MAX_SECONDS: f64 = 315_576_000_000.0;

/// Reads one or more numbers with units: `1h30m`, `1.5s`, `100ms`. `0` needs no unit.
pub fn parse(text: &str) -> Result<Duration, NotADuration> {
    let refuse = || NotADuration(text.to_owned());
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let (mut rest, mut seconds) = (text, 0.0);
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(refuse)?;
        let number: f64 = rest[..digits].parse().map_err(|_| refuse())?;
        rest = &rest[digits..];
        let end = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
        seconds += number * unit(&rest[..end]).ok_or_else(refuse)?;
        rest = &rest[end..];
    }
    if text.is_empty() || !(0.0..=MAX_SECONDS).contains(&seconds) {
        return Err(refuse());
    }
    Ok(Duration::from_nanos_u128((seconds * 1e9).round() as u128))
}

fn unit(name: &str) -> Option<f64> {
    Some(match name {
        "ns" => 1e-9,
        "us" | "µs" | "μs" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_with_units_are_read() {
        for (text, millis) in [
            ("10s", 10_000),
            ("0s", 0),
            ("0", 0),
            ("1.5s", 1500),
            ("100ms", 100),
            ("1h30m", 5_400_000),
            ("1m1s", 61_000),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn other_texts_are_refused() {
        for text in ["", "10", "s", "-1s", "1d", "1..5s", "1s2", "9999999999999999h"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
