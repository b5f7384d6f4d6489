//! Which requests the rules of a webhook are about.

use std::sync::Arc;

use serde_json::Value;

use super::Operation;
use crate::{
    engine::Call,
    registry::{Registry, Resource},
};

/// The resource and version in which a webhook sees a request.
#[derive(Clone)]
pub struct Matched {
    pub resource: Arc<Resource>,
    pub version: String,
}

/// As what rules see a request: as it is, or as an equivalent resource or version where whoever
/// has the rules takes these (`policy`, their `matchPolicy`); none where no rule is about it.
pub fn matched(
    registry: &Registry,
    rules: &Value,
    policy: &Value,
    call: &Call,
    operation: Operation,
) -> Option<Matched> {
    let rules = rules.as_array()?;
    let fits = |resource: &Resource, version: &str| {
        rules
            .iter()
            .any(|rule| names(rule, call) && rule_matches(rule, resource, version, &call.subresource, operation))
    };
    if fits(&call.resource, &call.version) {
        return Some(Matched { resource: Arc::clone(&call.resource), version: call.version.clone() });
    }
    if policy == "Exact" {
        return None;
    }
    let same_objects = registry.iter().filter(|r| r.collection == call.resource.collection && !r.virtual_only);
    let mut all = same_objects.flat_map(|r| r.versions.iter().filter(|v| v.served).map(move |v| (r, &v.name)));
    all.find(|(resource, version)| fits(resource, version))
        .map(|(resource, version)| Matched { resource: Arc::clone(resource), version: version.clone() })
}

/// Rules of policies can be about objects by name.
fn names(rule: &Value, call: &Call) -> bool {
    let wanted = rule["resourceNames"].as_array().map_or(&[][..], Vec::as_slice);
    wanted.is_empty() || wanted.iter().any(|name| name == call.name.as_str())
}

fn has(list: &Value, wanted: &str) -> bool {
    list.as_array().into_iter().flatten().filter_map(Value::as_str).any(|v| v == "*" || v == wanted)
}

fn rule_matches(rule: &Value, resource: &Resource, version: &str, subresource: &str, operation: Operation) -> bool {
    has(&rule["operations"], operation.name())
        && has(&rule["apiGroups"], &resource.group)
        && has(&rule["apiVersions"], version)
        && resource_matches(&rule["resources"], &resource.plural, subresource)
        && match rule["scope"].as_str() {
            // A namespace counts as an object of the cluster.
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
