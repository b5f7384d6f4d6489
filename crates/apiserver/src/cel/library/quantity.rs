//! Quantities such as `1.5Gi`, and versions.

use std::sync::Arc;

use super::{Outcome, Value, failed};

const NANO: i128 = 1_000_000_000;

/// An amount, in billionths.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Quantity(i128);

const SUFFIXES: [(&str, i128); 16] = [
    ("Ki", 1 << 10),
    ("Mi", 1 << 20),
    ("Gi", 1 << 30),
    ("Ti", 1 << 40),
    ("Pi", 1 << 50),
    ("Ei", 1 << 60),
    ("k", 1_000),
    ("M", 1_000_000),
    ("G", 1_000_000_000),
    ("T", 1_000_000_000_000),
    ("P", 1_000_000_000_000_000),
    ("E", 1_000_000_000_000_000_000),
    ("m", -1_000),
    ("u", -1_000_000),
    ("n", -1_000_000_000),
    ("", 1),
];

impl Quantity {
    /// Reads a quantity as Kubernetes writes it; what is finer than a billionth is rounded up.
    pub fn parse(text: &str) -> Option<Self> {
        let (negative, rest) = match text.strip_prefix(['-', '+']) {
            Some(rest) => (text.starts_with('-'), rest),
            None => (false, text),
        };
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (whole, part) = rest[..end].split_once('.').unwrap_or((&rest[..end], ""));
        if (whole.is_empty() && part.is_empty()) || part.contains('.') {
            return None;
        }
        let (over, under) = factors(&rest[end..])?;
        let whole: i128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
        let digits = part.len().min(18);
        let part: i128 = if digits == 0 { 0 } else { part[..digits].parse().ok()? };
        let scale = 10_i128.pow(u32::try_from(digits).ok()?);
        let units = whole.checked_mul(NANO)?.checked_mul(over)?;
        let fraction = part.checked_mul(NANO)?.checked_mul(over)?;
        let divided = |n: i128, by: i128| n / by + i128::from(n % by != 0);
        let amount = divided(units.checked_add(divided(fraction, scale))?, under);
        Some(Self(if negative { -amount } else { amount }))
    }

    /// Whether it is less than nothing.
    pub fn is_negative(&self) -> bool {
        self.0 < 0
    }

    fn is_integer(&self) -> bool {
        self.0 % NANO == 0 && i64::try_from(self.0 / NANO).is_ok()
    }

    #[expect(clippy::cast_precision_loss, reason = "approximate by name")]
    fn approximate(&self) -> f64 {
        self.0 as f64 / NANO as f64
    }
}

/// What Kubernetes says of text that is no quantity.
pub const NO_QUANTITY: &str =
    "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";

/// A quantity as Kubernetes writes it back: no fractions, the largest unit of its family that fits.
pub fn canonical(text: &str) -> Option<String> {
    const BINARY: [&str; 7] = ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
    const DECIMAL: [&str; 10] = ["n", "u", "m", "", "k", "M", "G", "T", "P", "E"];
    let Quantity(amount) = Quantity::parse(text)?;
    let scaled = |mut amount: i128, by: i128, most: usize| {
        let mut steps = 0;
        while steps < most && amount != 0 && amount % by == 0 {
            amount /= by;
            steps += 1;
        }
        (amount, steps)
    };
    if text.ends_with('i') && amount % NANO == 0 && amount.abs() >= 1024 * NANO {
        let (amount, steps) = scaled(amount / NANO, 1024, BINARY.len() - 1);
        return Some(format!("{amount}{}", BINARY[steps]));
    }
    if amount == 0 {
        return Some("0".into());
    }
    let (amount, steps) = scaled(amount, 1000, DECIMAL.len() - 1);
    let exponent = text.trim_start_matches(['+', '-']).trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
    if exponent.len() > 1 && exponent.starts_with(['e', 'E']) {
        let power = 3 * i32::try_from(steps).ok()? - 9;
        return Some(if power == 0 { amount.to_string() } else { format!("{amount}e{power}") });
    }
    Some(format!("{amount}{}", DECIMAL[steps]))
}

/// What a suffix multiplies by and divides by.
fn factors(suffix: &str) -> Option<(i128, i128)> {
    if let Some((_, factor)) = SUFFIXES.iter().find(|(name, _)| *name == suffix) {
        return Some(if *factor < 0 { (1, -factor) } else { (*factor, 1) });
    }
    let exponent: i32 = suffix.strip_prefix(['e', 'E'])?.parse().ok()?;
    let power = 10_i128.checked_pow(exponent.unsigned_abs()).filter(|_| exponent.abs() <= 18)?;
    Some(if exponent < 0 { (1, power) } else { (power, 1) })
}

/// `1.2.3`, `1.2.3-rc.1+build`.
fn semver(text: &str) -> Option<Value> {
    let (core, _) = text.split_once('+').unwrap_or((text, ""));
    let (numbers, pre) = core.split_once('-').unwrap_or((core, ""));
    let number = |text: &str| {
        let canonical = text == "0" || !text.starts_with('0');
        text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten().filter(|_| canonical)
    };
    let mut parts = numbers.split('.').map(number);
    let (Some(major), Some(minor), Some(patch), None) = (parts.next()?, parts.next()?, parts.next()?, parts.next())
    else {
        return None;
    };
    let fine = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    if core.contains('-') && !pre.split('.').all(fine) {
        return None;
    }
    Some(Value::Semver(Arc::new((major, minor, patch, pre.to_owned()))))
}

/// `quantity`, `isQuantity`, `semver`, `isSemver`.
pub fn call(name: &str, arguments: &[Value]) -> Option<Outcome> {
    let [Value::Text(text)] = arguments else { return None };
    let quantity = || Quantity::parse(text).map(|q| Value::Quantity(Arc::new(q)));
    Some(match name {
        "quantity" => quantity().map_or_else(|| failed(NO_QUANTITY), Ok),
        "isQuantity" => Ok(quantity().is_some().into()),
        "semver" => semver(text).map_or_else(|| failed(format!("Semver parse error: {text:?}")), Ok),
        "isSemver" => Ok(semver(text).is_some().into()),
        _ => return None,
    })
}

/// Methods of quantities and versions.
pub fn method(target: &Value, name: &str, arguments: &[Value]) -> Option<Outcome> {
    if let [other] = arguments
        && let Some(order) = target.order(other)
    {
        match name {
            "isLessThan" => return Some(Ok(order.is_lt().into())),
            "isGreaterThan" => return Some(Ok(order.is_gt().into())),
            "compareTo" => return Some(Ok(Value::Int(order as i64))),
            _ => {}
        }
    }
    match target {
        Value::Semver(version) if arguments.is_empty() => {
            let number = match name {
                "major" => version.0,
                "minor" => version.1,
                "patch" => version.2,
                _ => return None,
            };
            Some(Ok(Value::Int(i64::try_from(number).unwrap_or(i64::MAX))))
        }
        Value::Quantity(quantity) => of_quantity(quantity, name, arguments),
        _ => None,
    }
}

fn of_quantity(quantity: &Quantity, name: &str, arguments: &[Value]) -> Option<Outcome> {
    let sum = |other: i128| {
        let sum = quantity.0.checked_add(other);
        sum.map_or_else(|| failed("quantity overflow"), |n| Ok(Value::Quantity(Arc::new(Quantity(n)))))
    };
    let amount = |value: &Value| match value {
        Value::Quantity(other) => Some(other.0),
        Value::Int(n) => Some(i128::from(*n) * NANO),
        _ => None,
    };
    Some(match (name, arguments) {
        ("sign", []) => Ok(Value::Int(if quantity.0 == 0 { 0 } else { i64::from(quantity.0 > 0) * 2 - 1 })),
        ("isInteger", []) => Ok(quantity.is_integer().into()),
        ("asInteger", []) if quantity.is_integer() => {
            Ok(Value::Int(i64::try_from(quantity.0 / NANO).unwrap_or(i64::MAX)))
        }
        ("asInteger", []) => failed("cannot convert value to integer"),
        ("asApproximateFloat", []) => Ok(Value::Double(quantity.approximate())),
        ("add", [other]) => sum(amount(other)?),
        ("sub", [other]) => sum(amount(other)?.checked_neg()?),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::canonical;

    #[test]
    fn quantities_are_written_back_in_their_shortest_form() {
        for (text, expected) in [
            ("1", Some("1")),
            ("0", Some("0")),
            ("0.5", Some("500m")),
            ("1000m", Some("1")),
            ("1024Ki", Some("1Mi")),
            ("1.5Gi", Some("1536Mi")),
            ("0.5Ki", Some("512")),
            ("1000", Some("1k")),
            ("1500k", Some("1500k")),
            ("128974848", Some("128974848")),
            ("1e3", Some("1e3")),
            ("12e6", Some("12e6")),
            ("-5", Some("-5")),
            ("5E", Some("5E")),
            ("abc", None),
            ("", None),
            ("1 Gi", None),
        ] {
            assert_eq!(canonical(text).as_deref(), expected, "{text}");
        }
    }
}
