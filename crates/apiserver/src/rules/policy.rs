//! ValidatingAdmissionPolicies and their bindings.

use serde_json::{Value, json};

use super::{Errors, Rules, items, list, metadata, names, set_default, webhooks};
use crate::{admission::POLICY_VARIABLES, cel::Program, status::FieldError};

const REASONS: [&str; 4] = ["Forbidden", "Invalid", "RequestEntityTooLarge", "Unauthorized"];
const ACTIONS: [&str; 3] = ["Audit", "Deny", "Warn"];

/// Expressions that judge requests.
pub struct Policy;

impl Rules for Policy {
    fn default(&self, object: &mut Value) {
        let Some(spec) = object.get_mut("spec").filter(|spec| spec.is_object()) else { return };
        set_default(spec, "failurePolicy", "Fail");
        if let Some(constraints) = spec.get_mut("matchConstraints") {
            default_match(constraints);
        }
    }

    fn validate(&self, object: &Value, errors: &mut Errors) {
        let spec = &object["spec"];
        choice(&spec["failurePolicy"], "spec.failurePolicy", &["Fail", "Ignore"], errors);
        let constraints = &spec["matchConstraints"];
        if !constraints.is_object() {
            errors.push(FieldError::required("spec.matchConstraints", ""));
        } else if list(&constraints["resourceRules"]).is_empty() {
            errors.push(FieldError::required("spec.matchConstraints.resourceRules", ""));
        }
        matching(constraints, "spec.matchConstraints", errors);
        let conditions = list(&spec["matchConditions"]);
        webhooks::conditions(conditions, "spec.matchConditions", &POLICY_VARIABLES, errors);
        if spec["paramKind"].is_object() {
            for field in ["apiVersion", "kind"] {
                if spec["paramKind"][field].as_str().is_none_or(str::is_empty) {
                    errors.push(FieldError::required(format!("spec.paramKind.{field}"), ""));
                }
            }
        }
        variables(list(&spec["variables"]), errors);
        let (validations, annotations) = (list(&spec["validations"]), list(&spec["auditAnnotations"]));
        if validations.is_empty() && annotations.is_empty() {
            let text = "validations or auditAnnotations must contain at least one item";
            errors.push(FieldError::required("spec.validations", text));
        }
        for (index, one) in validations.iter().enumerate() {
            validation(one, &format!("spec.validations[{index}]"), errors);
        }
        for (index, one) in annotations.iter().enumerate() {
            let path = format!("spec.auditAnnotations[{index}]");
            if one["key"].as_str().is_none_or(str::is_empty) {
                errors.push(FieldError::required(format!("{path}.key"), ""));
            }
            expression(&one["valueExpression"], &format!("{path}.valueExpression"), true, errors);
        }
    }

    fn warnings(&self, object: &Value) -> Vec<String> {
        let unheard = !list(&object["spec"]["auditAnnotations"]).is_empty();
        let text = "spec.auditAnnotations: this cluster writes no audit log, so they are not evaluated";
        if unheard { vec![text.into()] } else { Vec::new() }
    }

    fn has_generation(&self) -> bool {
        true
    }
}

/// Where a policy counts, with which parameters, and what it does.
pub struct PolicyBinding;

impl Rules for PolicyBinding {
    fn default(&self, object: &mut Value) {
        if let Some(resources) = object.pointer_mut("/spec/matchResources") {
            default_match(resources);
        }
    }

    fn validate(&self, object: &Value, errors: &mut Errors) {
        let spec = &object["spec"];
        if spec["policyName"].as_str().is_none_or(str::is_empty) {
            errors.push(FieldError::required("spec.policyName", ""));
        } else if let Some(text) = names::dns1123_subdomain(spec["policyName"].as_str().unwrap_or_default()) {
            errors.push(FieldError::invalid("spec.policyName", &spec["policyName"], text));
        }
        parameters(&spec["paramRef"], errors);
        matching(&spec["matchResources"], "spec.matchResources", errors);
        actions(&spec["validationActions"], errors);
    }

    fn warnings(&self, object: &Value) -> Vec<String> {
        let unheard = list(&object["spec"]["validationActions"]).iter().any(|action| action == "Audit");
        let text = "spec.validationActions: this cluster writes no audit log, so Audit does nothing";
        if unheard { vec![text.into()] } else { Vec::new() }
    }

    fn has_generation(&self) -> bool {
        true
    }
}

fn default_match(resources: &mut Value) {
    if !resources.is_object() {
        return;
    }
    set_default(resources, "matchPolicy", "Equivalent");
    set_default(resources, "namespaceSelector", json!({}));
    set_default(resources, "objectSelector", json!({}));
    for field in ["resourceRules", "excludeResourceRules"] {
        for rule in resources.get_mut(field).into_iter().flat_map(items) {
            set_default(rule, "scope", "*");
        }
    }
}

fn matching(resources: &Value, path: &str, errors: &mut Errors) {
    if !resources.is_object() {
        return;
    }
    choice(&resources["matchPolicy"], &format!("{path}.matchPolicy"), &["Equivalent", "Exact"], errors);
    for field in ["namespaceSelector", "objectSelector"] {
        metadata::selector(&resources[field], &format!("{path}.{field}"), errors);
    }
    for field in ["resourceRules", "excludeResourceRules"] {
        for (index, rule) in list(&resources[field]).iter().enumerate() {
            webhooks::rule(rule, &format!("{path}.{field}[{index}]"), errors);
        }
    }
}

fn choice(value: &Value, field: &str, allowed: &[&str], errors: &mut Errors) {
    if !allowed.iter().any(|one| value == *one) {
        errors.push(FieldError::not_supported(field, value, allowed));
    }
}

fn variables(variables: &[Value], errors: &mut Errors) {
    for (index, one) in variables.iter().enumerate() {
        let path = format!("spec.variables[{index}]");
        let name = one["name"].as_str().unwrap_or_default();
        let identifier = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && name.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'_');
        if name.is_empty() {
            errors.push(FieldError::required(format!("{path}.name"), ""));
        } else if !identifier {
            let text = "name is not a valid CEL identifier";
            errors.push(FieldError::invalid(format!("{path}.name"), &one["name"], text));
        } else if variables[..index].iter().any(|other| other["name"] == one["name"]) {
            errors.push(FieldError::duplicate(format!("{path}.name"), &one["name"]));
        }
        expression(&one["expression"], &format!("{path}.expression"), true, errors);
    }
}

fn validation(validation: &Value, path: &str, errors: &mut Errors) {
    expression(&validation["expression"], &format!("{path}.expression"), true, errors);
    expression(&validation["messageExpression"], &format!("{path}.messageExpression"), false, errors);
    if validation["message"].as_str().is_some_and(|text| text.contains('\n')) {
        let text = "message must not contain line breaks";
        errors.push(FieldError::invalid(format!("{path}.message"), &validation["message"], text));
    }
    if !validation["reason"].is_null() {
        choice(&validation["reason"], &format!("{path}.reason"), &REASONS, errors);
    }
}

fn expression(source: &Value, field: &str, required: bool, errors: &mut Errors) {
    match source.as_str().map(str::trim).unwrap_or_default() {
        "" if required => errors.push(FieldError::required(field, "expression is not specified")),
        "" => {}
        text => {
            if let Err(error) = Program::compile(text, &POLICY_VARIABLES) {
                errors.push(FieldError::invalid(field, source, format!("compilation failed: {error}")));
            }
        }
    }
}

fn parameters(reference: &Value, errors: &mut Errors) {
    if !reference.is_object() {
        return;
    }
    let named = reference["name"].as_str().is_some_and(|name| !name.is_empty());
    match (named, reference["selector"].is_object()) {
        (false, false) => {
            errors.push(FieldError::required("spec.paramRef", "one of name or selector must be specified"));
        }
        (true, true) => {
            let text = "name and selector are mutually exclusive";
            errors.push(FieldError::forbidden("spec.paramRef.name", text));
        }
        _ => {}
    }
    metadata::selector(&reference["selector"], "spec.paramRef.selector", errors);
    let (action, field) = (&reference["parameterNotFoundAction"], "spec.paramRef.parameterNotFoundAction");
    if action.is_null() {
        errors.push(FieldError::required(field, ""));
    } else {
        choice(action, field, &["Allow", "Deny"], errors);
    }
}

fn actions(actions: &Value, errors: &mut Errors) {
    let all = list(actions);
    if all.is_empty() {
        errors.push(FieldError::required("spec.validationActions", ""));
    }
    for (index, action) in all.iter().enumerate() {
        let field = format!("spec.validationActions[{index}]");
        if all[..index].contains(action) {
            errors.push(FieldError::duplicate(field, action));
        } else {
            choice(action, &field, &ACTIONS, errors);
        }
    }
    let has = |wanted: &str| all.iter().any(|action| action == wanted);
    if has("Deny") && has("Warn") {
        let text = "must not contain both Deny and Warn (repeating the same validation failure information in the API \
                    response and headers serves no purpose)";
        errors.push(FieldError::invalid("spec.validationActions", actions, text));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(rules: &dyn Rules, spec: Value) -> Vec<String> {
        let mut object = json!({"metadata": {"name": "p"}, "spec": spec});
        rules.default(&mut object);
        let mut errors = Vec::new();
        rules.validate(&object, &mut errors);
        errors.iter().map(|error| error.field.clone()).collect()
    }

    fn rules() -> Value {
        json!({"resourceRules": [
            {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["configmaps"]},
        ]})
    }

    #[test]
    fn policies_say_what_they_are_about_and_what_must_be_true() {
        let policy = |validation: Value| json!({"matchConstraints": rules(), "validations": [validation]});
        assert_eq!(wrong(&Policy, policy(json!({"expression": "object.x == params.y"}))), [""; 0]);
        let expression = ["spec.validations[0].expression"];
        assert_eq!(wrong(&Policy, policy(json!({"expression": "objekt.x"}))), expression);
        assert_eq!(wrong(&Policy, policy(json!({}))), expression);
        let reason = policy(json!({"expression": "true", "reason": "Because"}));
        assert_eq!(wrong(&Policy, reason), ["spec.validations[0].reason"]);
        assert_eq!(wrong(&Policy, json!({})), ["spec.matchConstraints", "spec.validations"]);
        let twice = json!([{"name": "a", "expression": "1"}, {"name": "a", "expression": "variables.a"}]);
        let mut spec = policy(json!({"expression": "variables.a == 1"}));
        spec["variables"] = twice;
        assert_eq!(wrong(&Policy, spec), ["spec.variables[1].name"]);
    }

    #[test]
    fn bindings_name_a_policy_and_what_happens() {
        let binding = |actions: Value| json!({"policyName": "p", "validationActions": actions});
        assert_eq!(wrong(&PolicyBinding, binding(json!(["Warn", "Audit"]))), [""; 0]);
        assert_eq!(wrong(&PolicyBinding, binding(json!(["Deny", "Warn"]))), ["spec.validationActions"]);
        assert_eq!(wrong(&PolicyBinding, binding(json!(["Shout"]))), ["spec.validationActions[0]"]);
        assert_eq!(wrong(&PolicyBinding, json!({})), ["spec.policyName", "spec.validationActions"]);
        let mut both = binding(json!(["Deny"]));
        both["paramRef"] = json!({"name": "a", "selector": {}});
        let fields = ["spec.paramRef.name", "spec.paramRef.parameterNotFoundAction"];
        assert_eq!(wrong(&PolicyBinding, both), fields);
    }
}
