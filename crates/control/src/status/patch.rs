//! The difference of two JSON values as a merge patch (RFC 7396).

use serde_json::{Map, Value};

/// The merge patch that makes `to` of `from`.
pub(super) fn difference(from: &Value, to: &Value) -> Value {
    let (Value::Object(from), Value::Object(to)) = (from, to) else { return to.clone() };
    let gone = from.keys().filter(|key| !to.contains_key(*key)).map(|key| (key.clone(), Value::Null));
    let changed = to.iter().filter(|(key, value)| from.get(*key) != Some(value)).map(|(key, value)| {
        let before = from.get(key).unwrap_or(&Value::Null);
        (key.clone(), difference(before, value))
    });
    Value::Object(gone.chain(changed).collect::<Map<_, _>>())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_what_differs_is_in_the_patch() {
        let check = |from: Value, to: Value, expected: Value| assert_eq!(difference(&from, &to), expected);
        check(json!({"a": 1, "b": 2}), json!({"a": 1, "b": 3}), json!({"b": 3}));
        check(json!({"a": 1}), json!({}), json!({"a": null}));
        check(json!({"a": {"b": 1, "c": 2}}), json!({"a": {"b": 1}}), json!({"a": {"c": null}}));
        check(json!({"list": [1, 2]}), json!({"list": [1]}), json!({"list": [1]}));
        check(Value::Null, json!({"a": 1}), json!({"a": 1}));
    }
}
