//! Times as Kubernetes writes them.

use jiff::{SignedDuration, Timestamp};

/// Now, to the second: `2026-01-02T15:04:05Z`.
pub fn now() -> String {
    stamp(Timestamp::now())
}

/// A time, to the second.
pub fn stamp(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// `seconds` from now.
pub fn in_seconds(seconds: i64) -> Timestamp {
    Timestamp::now().saturating_add(SignedDuration::from_secs(seconds)).unwrap_or(Timestamp::MAX)
}

/// Age of something as `kubectl get` shows it: `5s`, `3m20s`, `4h`, `2d3h`.
pub fn age(seconds: i64) -> String {
    let (minute, hour, day) = (60, 3600, 86400);
    let two = |n: i64, unit: char, rest: i64, small: char| {
        if rest == 0 { format!("{n}{unit}") } else { format!("{n}{unit}{rest}{small}") }
    };
    match seconds {
        s if s < -1 => "<invalid>".into(),
        s if s < 0 => "0s".into(),
        s if s < 2 * minute => format!("{s}s"),
        s if s < 10 * minute => two(s / minute, 'm', s % minute, 's'),
        s if s < 3 * hour => format!("{}m", s / minute),
        s if s < 8 * hour => two(s / hour, 'h', s % hour / minute, 'm'),
        s if s < 2 * day => format!("{}h", s / hour),
        s if s < 8 * day => two(s / day, 'd', s % day / hour, 'h'),
        s if s < 2 * 365 * day => format!("{}d", s / day),
        s if s < 8 * 365 * day => two(s / (365 * day), 'y', s / day % 365, 'd'),
        s => format!("{}y", s / (365 * day)),
    }
}

#[cfg(test)]
mod tests {
    use super::age;

    #[test]
    fn ages_have_at_most_two_units() {
        let cases = [
            (0, "0s"),
            (119, "119s"),
            (125, "2m5s"),
            (180, "3m"),
            (3600, "60m"),
            (4 * 3600, "4h"),
            (4 * 3600 + 61, "4h1m"),
            (30 * 3600, "30h"),
            (50 * 3600, "2d2h"),
            (30 * 86400, "30d"),
            (-5, "<invalid>"),
        ];
        for (seconds, expected) in cases {
            assert_eq!(age(seconds), expected, "{seconds}");
        }
    }
}
