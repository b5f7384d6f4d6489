//! Durations as Go's programs take them.

use std::time::Duration;

/// A number with `ms`, `s`, `m`, or the like, as Go writes durations.
pub(crate) fn parse(text: &str) -> Option<Duration> {
    let unit = text.find(|letter: char| letter.is_ascii_alphabetic())?;
    let (number, unit) = text.split_at(unit);
    let seconds = match unit {
        "ns" => 1e-9,
        "us" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return None,
    };
    Duration::try_from_secs_f64(number.parse::<f64>().ok()? * seconds).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_needs_a_unit() {
        for (text, expected) in
            [("100ms", Some(100)), ("1.5s", Some(1500)), ("2m", Some(120_000)), ("5", None), ("-1s", None)]
        {
            assert_eq!(parse(text), expected.map(Duration::from_millis), "{text}");
        }
    }
}
