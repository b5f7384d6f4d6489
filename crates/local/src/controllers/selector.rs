//! Label selectors.

use serde_json::Value;

/// Whether `labels` satisfy a `metav1.LabelSelector`. An empty selector matches everything.
#[must_use]
pub fn matches(selector: &Value, labels: &Value) -> bool {
    matches_map(&selector["matchLabels"], labels)
        && selector["matchExpressions"].as_array().is_none_or(|all| all.iter().all(|e| matches_expression(e, labels)))
}

/// Whether `labels` have every pair of the map `wanted` (as a Service's selector asks).
#[must_use]
pub fn matches_map(wanted: &Value, labels: &Value) -> bool {
    wanted.as_object().is_none_or(|wanted| wanted.iter().all(|(k, v)| labels.get(k) == Some(v)))
}

/// Whether a `metav1.LabelSelector` has no requirement at all.
#[must_use]
pub fn is_empty(selector: &Value) -> bool {
    let none = |v: &Value| match v {
        Value::Object(map) => map.is_empty(),
        Value::Array(list) => list.is_empty(),
        _ => true,
    };
    none(&selector["matchLabels"]) && none(&selector["matchExpressions"])
}

fn matches_expression(expression: &Value, labels: &Value) -> bool {
    let have = expression["key"].as_str().and_then(|key| labels.get(key));
    let listed = |v: &Value| expression["values"].as_array().is_some_and(|all| all.contains(v));
    match expression["operator"].as_str() {
        Some("In") => have.is_some_and(listed),
        Some("NotIn") => !have.is_some_and(listed),
        Some("Exists") => have.is_some(),
        Some("DoesNotExist") => have.is_none(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn selectors_match_as_kubernetes_says() {
        let labels = json!({"app": "a", "version": "v1"});
        let cases = [
            (json!({}), true),
            (json!({"matchLabels": {"app": "a"}}), true),
            (json!({"matchLabels": {"app": "b"}}), false),
            (json!({"matchLabels": {"app": "a", "x": "y"}}), false),
            (json!({"matchExpressions": [{"key": "version", "operator": "In", "values": ["v1", "v2"]}]}), true),
            (json!({"matchExpressions": [{"key": "version", "operator": "NotIn", "values": ["v1"]}]}), false),
            (json!({"matchExpressions": [{"key": "zone", "operator": "NotIn", "values": ["v1"]}]}), true),
            (json!({"matchExpressions": [{"key": "app", "operator": "Exists"}]}), true),
            (json!({"matchExpressions": [{"key": "app", "operator": "DoesNotExist"}]}), false),
            (json!({"matchExpressions": [{"key": "app", "operator": "Near"}]}), false),
        ];
        for (selector, expect) in cases {
            assert_eq!(matches(&selector, &labels), expect, "{selector}");
        }
    }

    #[test]
    fn emptiness_looks_at_both_parts() {
        assert!(is_empty(&json!({})));
        assert!(is_empty(&json!({"matchLabels": {}, "matchExpressions": []})));
        assert!(!is_empty(&json!({"matchExpressions": [{"key": "a", "operator": "Exists"}]})));
    }
}
