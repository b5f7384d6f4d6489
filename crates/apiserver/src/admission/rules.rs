//! Which requests a webhook wants to see.

use serde_json::Value;

use super::Operation;
use crate::{engine::Call, object, selector::LabelSelector};

/// Whether a webhook is to be asked about a request. `objects` are the new and the old object,
/// as far as there are.
pub fn matches(
    hook: &Value,
    call: &Call,
    operation: Operation,
    namespace: Option<&crate::Object>,
    objects: &[&Value],
) -> bool {
    let rules = hook["rules"].as_array();
    rules.into_iter().flatten().any(|rule| rule_matches(rule, hook, call, operation))
        && namespace.is_none_or(|ns| selects(&hook["namespaceSelector"], ns))
        && objects.iter().any(|object| selects(&hook["objectSelector"], object))
}

fn selects(selector: &Value, object: &Value) -> bool {
    LabelSelector::from_json(selector).is_ok_and(|s| s.matches(object::labels(object)))
}

fn has(list: &Value, wanted: impl Fn(&str) -> bool) -> bool {
    list.as_array().into_iter().flatten().filter_map(Value::as_str).any(|v| v == "*" || wanted(v))
}

fn rule_matches(rule: &Value, hook: &Value, call: &Call, operation: Operation) -> bool {
    let resource = &call.resource;
    let any_version = hook["matchPolicy"] != "Exact";
    has(&rule["operations"], |o| o == operation.name())
        && has(&rule["apiGroups"], |g| g == resource.group)
        && has(&rule["apiVersions"], |v| v == call.version || (any_version && resource.version(v).is_some()))
        && resource_matches(&rule["resources"], &resource.plural, &call.subresource)
        && match rule["scope"].as_str() {
            Some("Namespaced") => resource.namespaced,
            Some("Cluster") => !resource.namespaced,
            _ => true,
        }
}

fn resource_matches(list: &Value, plural: &str, subresource: &str) -> bool {
    list.as_array().into_iter().flatten().filter_map(Value::as_str).any(|wanted| {
        let (resource, sub) = wanted.split_once('/').unwrap_or((wanted, ""));
        (resource == "*" || resource == plural) && (sub == subresource || (sub == "*" && wanted.contains('/')))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn rules_name_resources_and_subresources() {
        let cases = [
            (json!(["pods"]), "pods", "", true),
            (json!(["pods"]), "pods", "status", false),
            (json!(["pods/status"]), "pods", "status", true),
            (json!(["pods/*"]), "pods", "status", true),
            (json!(["*"]), "pods", "", true),
            (json!(["*"]), "pods", "status", false),
            (json!(["*/*"]), "pods", "status", true),
            (json!(["services"]), "pods", "", false),
        ];
        for (list, plural, sub, expected) in cases {
            assert_eq!(resource_matches(&list, plural, sub), expected, "{list} {plural}/{sub}");
        }
    }
}
