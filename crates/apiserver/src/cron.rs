//! Schedules of CronJobs: five fields, as cron and Kubernetes read them.

use jiff::{Timestamp, ToSpan, Zoned, tz::TimeZone};

/// How far ahead a time is looked for; a schedule such as `0 0 30 2 *` has none.
const YEARS_AHEAD: i16 = 5;

/// The times at which something is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Schedule {
    /// At every minute whose parts are all listed.
    Fields(Box<Fields>),
    /// Again and again after this many seconds.
    Every(i64),
}

/// The five fields of a schedule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fields {
    minute: Set,
    hour: Set,
    day: Set,
    month: Set,
    weekday: Set,
}

/// Numbers, one bit for each; and whether they were written as `*`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Set {
    bits: u64,
    star: bool,
}

impl Set {
    fn has(self, number: i8) -> bool {
        u32::try_from(number).is_ok_and(|n| n < 64 && self.bits & (1 << n) != 0)
    }
}

struct Bounds {
    least: u32,
    most: u32,
    names: &'static [&'static str],
}

const MINUTE: Bounds = Bounds { least: 0, most: 59, names: &[] };
const HOUR: Bounds = Bounds { least: 0, most: 23, names: &[] };
const DAY: Bounds = Bounds { least: 1, most: 31, names: &[] };
const MONTH: Bounds = Bounds {
    least: 1,
    most: 12,
    names: &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"],
};
const WEEKDAY: Bounds = Bounds { least: 0, most: 6, names: &["sun", "mon", "tue", "wed", "thu", "fri", "sat"] };

/// The time zone of this name; that of the cluster (UTC) where none is given.
pub fn time_zone(name: Option<&str>) -> Result<TimeZone, String> {
    match name.filter(|n| !n.is_empty()) {
        None | Some("UTC" | "Etc/UTC") => Ok(TimeZone::UTC),
        Some(name) => TimeZone::get(name).map_err(|_| format!("unknown time zone {name}")),
    }
}

impl Schedule {
    /// Reads a schedule such as `*/5 * * * *`, `@hourly` or `@every 90s`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if let Some(name) = text.strip_prefix('@') {
            return descriptor(name, text);
        }
        let fields: Vec<&str> = text.split_whitespace().collect();
        let [minute, hour, day, month, weekday] = fields.as_slice() else {
            return Err(format!("expected exactly 5 fields, found {}: [{}]", fields.len(), fields.join(" ")));
        };
        Ok(Self::Fields(Box::new(Fields {
            minute: MINUTE.read(minute)?,
            hour: HOUR.read(hour)?,
            day: DAY.read(day)?,
            month: MONTH.read(month)?,
            weekday: WEEKDAY.read(weekday)?,
        })))
    }

    /// The first time after `after`, by the clocks of a time zone; none where there is none for years.
    pub fn next(&self, after: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        match self {
            Self::Fields(fields) => fields.next(after, zone),
            Self::Every(seconds) => Timestamp::from_second(after.as_second() + seconds).ok(),
        }
    }
}

fn descriptor(name: &str, text: &str) -> Result<Schedule, String> {
    let fields = match name {
        "yearly" | "annually" => "0 0 1 1 *",
        "monthly" => "0 0 1 * *",
        "weekly" => "0 0 * * 0",
        "daily" | "midnight" => "0 0 * * *",
        "hourly" => "0 * * * *",
        other => {
            let length = other.strip_prefix("every ").ok_or_else(|| format!("unrecognized descriptor: {text}"))?;
            let seconds = duration(length).ok_or_else(|| format!("failed to parse duration {text}"))?;
            return Ok(Schedule::Every(seconds.max(1)));
        }
    };
    Schedule::parse(fields)
}

/// Seconds of a duration as `1h30m10s`.
fn duration(text: &str) -> Option<i64> {
    let mut rest = text.trim();
    let mut total = 0i64;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit()).filter(|end| *end > 0)?;
        let number: i64 = rest[..end].parse().ok()?;
        let unit = match rest[end..].chars().next()? {
            'h' => 3600,
            'm' => 60,
            's' => 1,
            _ => return None,
        };
        total = total.checked_add(number.checked_mul(unit)?)?;
        rest = &rest[end + 1..];
    }
    (!text.trim().is_empty()).then_some(total)
}

impl Bounds {
    fn read(&self, field: &str) -> Result<Set, String> {
        let mut set = Set { bits: 0, star: false };
        for part in field.split(',').filter(|p| !p.is_empty()) {
            let one = self.range(part)?;
            set = Set { bits: set.bits | one.bits, star: set.star || one.star };
        }
        Ok(set)
    }

    /// `*`, `5`, `1-5`, each with a step as `/2`.
    fn range(&self, text: &str) -> Result<Set, String> {
        let (span, step) = match text.split('/').collect::<Vec<_>>().as_slice() {
            [span] => (*span, None),
            [span, step] => (*span, Some(number(step)?)),
            _ => return Err(format!("too many slashes: {text}")),
        };
        let any = span == "*" || span == "?";
        let (first, last) = match span.split('-').collect::<Vec<_>>().as_slice() {
            _ if any => (self.least, self.most),
            // `N/step` goes on to the end.
            [one] => (self.number(one)?, if step.is_some() { self.most } else { self.number(one)? }),
            [first, last] => (self.number(first)?, self.number(last)?),
            _ => return Err(format!("too many hyphens: {text}")),
        };
        let step = step.unwrap_or(1);
        if first < self.least {
            return Err(format!("beginning of range ({first}) below minimum ({}): {text}", self.least));
        }
        if last > self.most {
            return Err(format!("end of range ({last}) above maximum ({}): {text}", self.most));
        }
        if first > last {
            return Err(format!("beginning of range ({first}) beyond end of range ({last}): {text}"));
        }
        if step == 0 {
            return Err(format!("step of range should be a positive number: {text}"));
        }
        let bits = (first..=last).step_by(usize::try_from(step).unwrap_or(usize::MAX)).fold(0, |bits, n| bits | 1 << n);
        Ok(Set { bits, star: any && step == 1 })
    }

    fn number(&self, text: &str) -> Result<u32, String> {
        let lower = text.to_lowercase();
        match self.names.iter().position(|name| *name == lower) {
            Some(at) => Ok(self.least + u32::try_from(at).unwrap_or(0)),
            None => number(text),
        }
    }
}

fn number(text: &str) -> Result<u32, String> {
    text.parse().map_err(|_| format!("failed to parse int from {text}: strconv.Atoi: parsing {text:?}: invalid syntax"))
}

impl Fields {
    fn next(&self, after: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let minute = Timestamp::from_second(after.as_second() - after.as_second().rem_euclid(60) + 60).ok()?;
        let mut at = minute.to_zoned(zone.clone());
        let last = at.year().saturating_add(YEARS_AHEAD);
        while at.year() <= last {
            if !self.has_day(&at) {
                at = next_day(&at)?;
            } else if !self.hour.has(at.hour()) {
                at = next_hour(&at)?;
            } else if !self.minute.has(at.minute()) {
                at = at.checked_add(1.minute()).ok()?;
            } else {
                return Some(at.timestamp());
            }
        }
        None
    }

    /// Where both the day of the month and the weekday are given, either is enough.
    fn has_day(&self, at: &Zoned) -> bool {
        let day = self.day.has(at.day());
        let weekday = self.weekday.has(at.weekday().to_sunday_zero_offset());
        let fits = if self.day.star || self.weekday.star { day && weekday } else { day || weekday };
        self.month.has(at.month()) && fits
    }
}

fn next_day(at: &Zoned) -> Option<Zoned> {
    at.tomorrow().ok()?.start_of_day().ok()
}

/// The start of the next hour in absolute time, so that an hour that a change of clocks repeats is seen twice and one
/// that it skips is not seen at all.
fn next_hour(at: &Zoned) -> Option<Zoned> {
    let minutes = i64::from(at.minute());
    at.checked_add((60 - minutes).minutes()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(schedule: &str, zone: &str, from: &str, count: usize) -> Vec<String> {
        let schedule = Schedule::parse(schedule).unwrap();
        let zone = time_zone(Some(zone)).unwrap();
        let mut at: Timestamp = from.parse().unwrap();
        let mut found = Vec::new();
        for _ in 0..count {
            at = schedule.next(at, &zone).unwrap();
            found.push(at.to_string());
        }
        found
    }

    #[test]
    fn schedules_name_their_times() {
        let cases = [
            ("*/15 * * * *", ["2026-01-01T00:15:00Z", "2026-01-01T00:30:00Z"]),
            ("5 4 * * *", ["2026-01-01T04:05:00Z", "2026-01-02T04:05:00Z"]),
            ("0 0 1 * *", ["2026-02-01T00:00:00Z", "2026-03-01T00:00:00Z"]),
            ("0 9-17/4 * * mon-fri", ["2026-01-01T09:00:00Z", "2026-01-01T13:00:00Z"]),
            // The 3rd and Sundays.
            ("0 0 3 * sun", ["2026-01-03T00:00:00Z", "2026-01-04T00:00:00Z"]),
            ("0 0 29 feb ?", ["2028-02-29T00:00:00Z", "2032-02-29T00:00:00Z"]),
            ("@hourly", ["2026-01-01T01:00:00Z", "2026-01-01T02:00:00Z"]),
            ("@every 1h30m", ["2026-01-01T01:30:20Z", "2026-01-01T03:00:20Z"]),
        ];
        for (schedule, expect) in cases {
            assert_eq!(times(schedule, "UTC", "2026-01-01T00:00:20Z", 2), expect, "{schedule}");
        }
        let never = Schedule::parse("0 0 30 2 *").unwrap();
        assert_eq!(never.next(Timestamp::UNIX_EPOCH, &TimeZone::UTC), None);
    }

    #[test]
    fn changes_of_clocks_skip_and_repeat_hours() {
        let day = "America/New_York";
        // On 8 March 2026 there is no 02:30 there.
        assert_eq!(
            times("30 2 * * *", day, "2026-03-07T12:00:00Z", 2),
            ["2026-03-09T06:30:00Z", "2026-03-10T06:30:00Z"]
        );
        // On 1 November 2026 the hour after 01:00 comes twice.
        assert_eq!(
            times("0 * * * *", day, "2026-11-01T04:30:00Z", 3),
            ["2026-11-01T05:00:00Z", "2026-11-01T06:00:00Z", "2026-11-01T07:00:00Z"]
        );
    }

    #[test]
    fn what_cannot_be_read_says_why() {
        let cases = [
            ("* * *", "expected exactly 5 fields, found 3: [* * *]"),
            ("60 * * * *", "end of range (60) above maximum (59): 60"),
            ("* * 0 * *", "beginning of range (0) below minimum (1): 0"),
            ("* 5-3 * * *", "beginning of range (5) beyond end of range (3): 5-3"),
            ("*/0 * * * *", "step of range should be a positive number: */0"),
            ("1-2-3 * * * *", "too many hyphens: 1-2-3"),
            ("a * * * *", "failed to parse int from a: strconv.Atoi: parsing \"a\": invalid syntax"),
            ("@never", "unrecognized descriptor: @never"),
        ];
        for (text, expect) in cases {
            assert_eq!(Schedule::parse(text).unwrap_err(), expect);
        }
    }
}
