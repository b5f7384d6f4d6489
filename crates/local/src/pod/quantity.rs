//! Amounts as Kubernetes writes them: `500m`, `128Mi`, `1e3`.

/// An amount, in thousandths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Quantity(i128);

const SUFFIXES: [(&str, i128); 13] = [
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
    ("", 1),
];

impl Quantity {
    pub(crate) fn whole(value: u64) -> Quantity {
        Quantity(i128::from(value) * 1000)
    }

    pub(crate) fn parse(text: &str) -> Result<Quantity, String> {
        parse(text).map(Quantity).ok_or_else(|| format!("{text:?} is not a quantity"))
    }

    pub(crate) fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// How often `other` fits, rounded up.
    pub(crate) fn divided_up(self, other: Quantity) -> i128 {
        let (value, by) = (self.0, other.0.max(1));
        value.div_euclid(by) + i128::from(value.rem_euclid(by) != 0)
    }
}

fn parse(text: &str) -> Option<i128> {
    let end = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    if number.is_empty() {
        return None;
    }
    let thousandths = |scale: i128| decimal(number, scale.checked_mul(1000)?);
    if suffix == "m" {
        return decimal(number, 1);
    }
    if let Some(exponent) = suffix.strip_prefix(['e', 'E']).and_then(|e| e.parse::<u32>().ok()) {
        return thousandths(10i128.checked_pow(exponent)?);
    }
    let (_, scale) = SUFFIXES.iter().find(|(known, _)| *known == suffix)?;
    thousandths(*scale)
}

/// A decimal number times `scale`, rounded up.
fn decimal(number: &str, scale: i128) -> Option<i128> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let whole: i128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let mut result = whole.checked_mul(scale)?;
    if !fraction.is_empty() {
        let divisor = 10i128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
        let part = fraction.parse::<i128>().ok()?.checked_mul(scale)?;
        result = result.checked_add(part.div_euclid(divisor) + i128::from(part % divisor != 0))?;
    }
    Some(result)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_read_in_all_their_forms() {
        for (text, expect) in [
            ("1", Some(1000)),
            ("100m", Some(100)),
            ("1.5", Some(1500)),
            ("0.5Ki", Some(512_000)),
            ("128Mi", Some(134_217_728_000)),
            ("2e3", Some(2_000_000)),
            ("1E", Some(1_000_000_000_000_000_000_000)),
            ("", None),
            ("m", None),
            ("5x", None),
            ("1.2.3", None),
        ] {
            assert_eq!(parse(text), expect, "{text:?}");
        }
    }
}
