//! Numbers of pods that are given as such or in percent.

use serde_json::Value;

/// A number, or a percentage of `of`, rounded up or down.
#[must_use]
pub fn int_or_percent(value: Option<&Value>, of: i64, up: bool) -> Option<i64> {
    match value? {
        Value::Number(n) => n.as_i64(),
        Value::String(s) => {
            let number = s.strip_suffix('%')?.parse().ok()?;
            Some(percent(number, of, up))
        }
        _ => None,
    }
}

/// So many percent of `of`.
#[must_use]
pub fn percent(number: i64, of: i64, up: bool) -> i64 {
    let hundredths = number.saturating_mul(of);
    (if up { hundredths.saturating_add(99) } else { hundredths }) / 100
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn percentages_are_rounded_as_asked() {
        let of = |value: Value, up| int_or_percent(Some(&value), 3, up);
        assert_eq!(of(json!(2), true), Some(2));
        assert_eq!((of(json!("50%"), true), of(json!("50%"), false)), (Some(2), Some(1)));
        assert_eq!((of(json!("half"), true), int_or_percent(None, 3, true)), (None, None));
    }
}
