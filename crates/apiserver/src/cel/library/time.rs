//! Durations and timestamps.

use jiff::{Timestamp, Zoned, tz::TimeZone};

use super::{Outcome, Value, failed};

const UNITS: [(&str, f64); 7] =
    [("ns", 1.0), ("us", 1e3), ("\u{b5}s", 1e3), ("ms", 1e6), ("s", 1e9), ("m", 60e9), ("h", 3600e9)];

/// Reads `1h30m`, `-1.5s`, `0`: nanoseconds.
#[expect(clippy::cast_possible_truncation, reason = "the range is checked")]
pub fn parse_duration(text: &str) -> Option<i64> {
    let (negative, mut rest) = match text.strip_prefix(['-', '+']) {
        Some(rest) => (text.starts_with('-'), rest),
        None => (false, text),
    };
    if rest == "0" {
        return Some(0);
    }
    if rest.is_empty() {
        return None;
    }
    let mut total = 0.0_f64;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..end].parse().ok()?;
        rest = &rest[end..];
        let end = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
        let (_, unit) = UNITS.iter().find(|(name, _)| *name == &rest[..end])?;
        total += number * unit;
        rest = &rest[end..];
    }
    let total = if negative { -total } else { total };
    (total.abs() < 9.2e18).then_some(total as i64)
}

/// A duration in seconds, as CEL writes it.
pub fn shown(nanoseconds: i64) -> String {
    let (whole, part) = (nanoseconds / 1_000_000_000, (nanoseconds % 1_000_000_000).unsigned_abs());
    if part == 0 {
        return format!("{whole}s");
    }
    let sign = if nanoseconds < 0 { "-" } else { "" };
    let digits = format!("{part:09}");
    format!("{sign}{}.{}s", whole.unsigned_abs(), digits.trim_end_matches('0'))
}

/// `duration(x)`, `timestamp(x)`.
pub fn call(name: &str, arguments: &[Value]) -> Option<Outcome> {
    Some(match (name, arguments) {
        ("duration", [Value::Text(text)]) => match parse_duration(text) {
            Some(n) => Ok(Value::Duration(n)),
            None => failed("type conversion error from 'string' to 'google.protobuf.Duration'"),
        },
        ("timestamp", [Value::Text(text)]) => match text.parse() {
            Ok(at) => Ok(Value::Timestamp(at)),
            Err(_) => failed("type conversion error from 'string' to 'google.protobuf.Timestamp'"),
        },
        ("timestamp", [Value::Int(seconds)]) => Timestamp::from_second(*seconds)
            .map_or_else(|_| failed("timestamp overflow"), |at| Ok(Value::Timestamp(at))),
        ("duration", [value @ Value::Duration(_)]) | ("timestamp", [value @ Value::Timestamp(_)]) => Ok(value.clone()),
        _ => return None,
    })
}

/// Parts of durations and timestamps.
pub fn method(target: &Value, name: &str, arguments: &[Value]) -> Option<Outcome> {
    match (target, arguments) {
        (Value::Duration(n), []) => {
            let seconds = n / 1_000_000_000;
            Some(Ok(Value::Int(match name {
                "getHours" => seconds / 3600,
                "getMinutes" => seconds / 60,
                "getSeconds" => seconds,
                "getMilliseconds" => n / 1_000_000 % 1000,
                _ => return None,
            })))
        }
        (Value::Timestamp(at), []) => part(&at.to_zoned(TimeZone::UTC), name).map(|n| Ok(Value::Int(n))),
        (Value::Timestamp(at), [Value::Text(zone)]) => match self::zone(zone) {
            Some(zone) => part(&at.to_zoned(zone), name).map(|n| Ok(Value::Int(n))),
            None => Some(failed(format!("unknown time zone {zone}"))),
        },
        _ => None,
    }
}

/// `+01:00`, `UTC` or a name of the time zone database.
fn zone(text: &str) -> Option<TimeZone> {
    if let Some((hours, minutes)) = text.split_once(':') {
        let negative = hours.starts_with('-');
        let (hours, minutes): (i32, i32) = (hours.trim_start_matches(['-', '+']).parse().ok()?, minutes.parse().ok()?);
        let seconds = hours.checked_mul(3600)?.checked_add(minutes.checked_mul(60)?)?;
        let offset = jiff::tz::Offset::from_seconds(if negative { -seconds } else { seconds }).ok()?;
        return Some(TimeZone::fixed(offset));
    }
    if text == "UTC" { Some(TimeZone::UTC) } else { TimeZone::get(text).ok() }
}

fn part(at: &Zoned, name: &str) -> Option<i64> {
    Some(match name {
        "getFullYear" => at.year().into(),
        "getMonth" => i64::from(at.month()) - 1,
        "getDayOfYear" => i64::from(at.day_of_year()) - 1,
        "getDayOfMonth" => i64::from(at.day()) - 1,
        "getDate" => at.day().into(),
        "getDayOfWeek" => at.weekday().to_sunday_zero_offset().into(),
        "getHours" => at.hour().into(),
        "getMinutes" => at.minute().into(),
        "getSeconds" => at.second().into(),
        "getMilliseconds" => at.millisecond().into(),
        _ => return None,
    })
}
