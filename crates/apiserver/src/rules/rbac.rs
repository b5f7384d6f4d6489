//! Roles and their bindings.

use serde_json::Value;

use super::{Errors, Rules, items, list, metadata, names, set_default};
use crate::{auth, object, status::FieldError};

/// Roles and role bindings.
pub struct Rbac;

impl Rules for Rbac {
    fn default(&self, object: &mut Value) {
        if let Some(role) = object.get_mut("roleRef").filter(|r| r.is_object()) {
            set_default(role, "apiGroup", auth::GROUP);
        }
        for subject in object.get_mut("subjects").into_iter().flat_map(items) {
            if subject["kind"] != "ServiceAccount" {
                set_default(subject, "apiGroup", auth::GROUP);
            }
        }
    }

    fn validate(&self, object: &Value, errors: &mut Errors) {
        let in_namespace = !object::namespace(object).is_empty();
        if object["roleRef"].is_object() || object["kind"].as_str().is_some_and(|kind| kind.ends_with("Binding")) {
            role_reference(&object["roleRef"], in_namespace, errors);
            for (index, one) in list(&object["subjects"]).iter().enumerate() {
                subject(one, &format!("subjects[{index}]"), errors);
            }
            return;
        }
        for (index, one) in list(&object["rules"]).iter().enumerate() {
            rule(one, &format!("rules[{index}]"), in_namespace, errors);
        }
        aggregation(&object["aggregationRule"], errors);
    }

    fn validate_update(&self, new: &Value, old: &Value, errors: &mut Errors) {
        if new["roleRef"] != old["roleRef"] {
            errors.push(FieldError::invalid("roleRef", &new["roleRef"], "cannot change roleRef"));
        }
    }

    /// Names such as `system:node` are allowed here.
    fn name_error(&self, name: &str) -> Option<String> {
        names::path_segment(name)
    }
}

fn is_empty(value: &Value) -> bool {
    list(value).is_empty()
}

fn rule(rule: &Value, path: &str, in_namespace: bool, errors: &mut Errors) {
    let mut required = |field: &str, text: &str| {
        if is_empty(&rule[field]) {
            errors.push(FieldError::required(format!("{path}.{field}"), text));
        }
    };
    required("verbs", "verbs must contain at least one value");
    if is_empty(&rule["nonResourceURLs"]) {
        required("apiGroups", "resource rules must supply at least one api group");
        required("resources", "resource rules must supply at least one resource");
        return;
    }
    let mut invalid = |text: &str| {
        errors.push(FieldError::invalid(format!("{path}.nonResourceURLs"), &rule["nonResourceURLs"], text));
    };
    if in_namespace {
        invalid("namespaced rules cannot apply to non-resource URLs");
    }
    if ["apiGroups", "resources", "resourceNames"].iter().any(|field| !is_empty(&rule[*field])) {
        invalid("rules cannot apply to both regular resources and non-resource URLs");
    }
}

fn aggregation(rule: &Value, errors: &mut Errors) {
    let field = "aggregationRule.clusterRoleSelectors";
    if rule.is_object() && is_empty(&rule["clusterRoleSelectors"]) {
        let text = "at least one clusterRoleSelector required if aggregationRule is non-nil";
        errors.push(FieldError::required(field, text));
    }
    for (index, selector) in list(&rule["clusterRoleSelectors"]).iter().enumerate() {
        metadata::selector(selector, &format!("{field}[{index}]"), errors);
    }
}

fn role_reference(role: &Value, in_namespace: bool, errors: &mut Errors) {
    if role["apiGroup"] != auth::GROUP {
        errors.push(FieldError::not_supported("roleRef.apiGroup", &role["apiGroup"], &[auth::GROUP]));
    }
    let kinds: &[&str] = if in_namespace { &["Role", "ClusterRole"] } else { &["ClusterRole"] };
    if !kinds.iter().any(|kind| role["kind"] == *kind) {
        errors.push(FieldError::not_supported("roleRef.kind", &role["kind"], kinds));
    }
    match role["name"].as_str().unwrap_or_default() {
        "" => errors.push(FieldError::required("roleRef.name", "")),
        name => {
            if let Some(text) = names::path_segment(name) {
                errors.push(FieldError::invalid("roleRef.name", &name.into(), text));
            }
        }
    }
}

fn subject(subject: &Value, path: &str, errors: &mut Errors) {
    let name = subject["name"].as_str().unwrap_or_default();
    if name.is_empty() {
        errors.push(FieldError::required(format!("{path}.name"), ""));
    }
    let group = subject["apiGroup"].as_str().unwrap_or_default();
    let expected = match subject["kind"].as_str() {
        Some("ServiceAccount") => {
            if let Some(text) = names::dns1123_subdomain(name).filter(|_| !name.is_empty()) {
                errors.push(FieldError::invalid(format!("{path}.name"), &name.into(), text));
            }
            if subject["namespace"].as_str().is_none_or(str::is_empty) {
                errors.push(FieldError::required(format!("{path}.namespace"), ""));
            }
            ""
        }
        Some("User" | "Group") => auth::GROUP,
        _ => {
            let kinds = ["ServiceAccount", "User", "Group"];
            errors.push(FieldError::not_supported(format!("{path}.kind"), &subject["kind"], &kinds));
            return;
        }
    };
    if group != expected {
        errors.push(FieldError::not_supported(format!("{path}.apiGroup"), &group.into(), &[expected]));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn problems(object: Value) -> Vec<String> {
        let mut object = object;
        Rbac.default(&mut object);
        let mut errors = Vec::new();
        Rbac.validate(&object, &mut errors);
        errors.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn rules_must_say_what_they_are_about() {
        let role = |rule: Value| problems(json!({"kind": "Role", "metadata": {"namespace": "a"}, "rules": [rule]}));
        assert_eq!(role(json!({"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]})), [""; 0]);
        assert_eq!(
            role(json!({"verbs": []})),
            [
                "rules[0].verbs: Required value: verbs must contain at least one value",
                "rules[0].apiGroups: Required value: resource rules must supply at least one api group",
                "rules[0].resources: Required value: resource rules must supply at least one resource",
            ]
        );
        assert_eq!(
            role(json!({"verbs": ["get"], "nonResourceURLs": ["/x"], "apiGroups": [""]})),
            [
                "rules[0].nonResourceURLs: Invalid value: [\"/x\"]: namespaced rules cannot apply to non-resource URLs",
                "rules[0].nonResourceURLs: Invalid value: [\"/x\"]: rules cannot apply to both regular resources and \
                 non-resource URLs",
            ]
        );
        assert_eq!(
            problems(json!({"kind": "ClusterRole", "aggregationRule": {}})),
            ["aggregationRule.clusterRoleSelectors: Required value: at least one clusterRoleSelector required if \
              aggregationRule is non-nil"]
        );
    }

    #[test]
    fn bindings_must_name_a_role_and_subjects() {
        let good = json!({"kind": "ClusterRoleBinding", "roleRef": {"kind": "ClusterRole", "name": "system:x"},
            "subjects": [{"kind": "User", "name": "jane"}, {"kind": "ServiceAccount", "name": "a", "namespace": "b"}]});
        assert_eq!(problems(good), [""; 0]);
        let bad = json!({"kind": "ClusterRoleBinding", "roleRef": {"kind": "Role", "name": "a/b"},
            "subjects": [{"kind": "ServiceAccount", "name": "a"}, {"kind": "Robot", "name": "r"}, {"kind": "Group"}]});
        assert_eq!(
            problems(bad),
            [
                "roleRef.kind: Unsupported value: \"Role\": supported values: \"ClusterRole\"",
                "roleRef.name: Invalid value: \"a/b\": may not contain '/'",
                "subjects[0].namespace: Required value",
                "subjects[1].kind: Unsupported value: \"Robot\": supported values: \"ServiceAccount\", \"User\", \
                 \"Group\"",
                "subjects[2].name: Required value",
            ]
        );
    }
}
