//! Mutating and validating webhook configurations.

use serde_json::{Value, json};

use super::{Errors, Rules, items, list, metadata, names, set_default};
use crate::{admission::CONDITION_VARIABLES, cel::Program, status::FieldError};

/// Mutating and validating webhook configurations.
pub struct Webhooks;

const OPERATIONS: [&str; 5] = ["*", "CONNECT", "CREATE", "DELETE", "UPDATE"];
/// Kubernetes' limit for one webhook.
const MAX_CONDITIONS: usize = 64;
const SCOPES: [&str; 3] = ["*", "Cluster", "Namespaced"];

impl Rules for Webhooks {
    fn default(&self, object: &mut Value) {
        let mutating = object["kind"] == "MutatingWebhookConfiguration";
        for hook in object.get_mut("webhooks").into_iter().flat_map(items) {
            set_default(hook, "failurePolicy", "Fail");
            set_default(hook, "matchPolicy", "Equivalent");
            set_default(hook, "namespaceSelector", json!({}));
            set_default(hook, "objectSelector", json!({}));
            set_default(hook, "timeoutSeconds", 10);
            if mutating {
                set_default(hook, "reinvocationPolicy", "Never");
            }
            if let Some(service) = hook.pointer_mut("/clientConfig/service") {
                set_default(service, "port", 443);
            }
            for rule in hook.get_mut("rules").into_iter().flat_map(items) {
                set_default(rule, "scope", "*");
            }
        }
    }

    fn validate(&self, object: &Value, errors: &mut Errors) {
        let hooks = list(&object["webhooks"]);
        for (index, hook) in hooks.iter().enumerate() {
            let path = format!("webhooks[{index}]");
            if hooks[..index].iter().any(|other| other["name"] == hook["name"]) {
                errors.push(FieldError::duplicate(format!("{path}.name"), &hook["name"]));
            }
            name(&hook["name"], &path, errors);
            client(&hook["clientConfig"], &format!("{path}.clientConfig"), errors);
            choices(hook, &path, errors);
            for (number, one) in list(&hook["rules"]).iter().enumerate() {
                rule(one, &format!("{path}.rules[{number}]"), errors);
            }
            let path_of = format!("{path}.matchConditions");
            conditions(list(&hook["matchConditions"]), &path_of, &CONDITION_VARIABLES, errors);
            for field in ["namespaceSelector", "objectSelector"] {
                metadata::selector(&hook[field], &format!("{path}.{field}"), errors);
            }
        }
    }

    fn has_generation(&self) -> bool {
        true
    }
}

fn name(name: &Value, path: &str, errors: &mut Errors) {
    let field = format!("{path}.name");
    let text = name.as_str().unwrap_or_default();
    if text.is_empty() {
        errors.push(FieldError::required(field, ""));
    } else if let Some(problem) = names::dns1123_subdomain(text) {
        errors.push(FieldError::invalid(field, name, problem));
    } else if text.split('.').count() < 3 {
        let problem = "should be a domain with at least three segments separated by dots";
        errors.push(FieldError::invalid(field, name, problem));
    }
}

fn client(client: &Value, path: &str, errors: &mut Errors) {
    let service = &client["service"];
    match (client["url"].as_str(), service.is_object()) {
        (Some(_), true) | (None, false) => {
            errors.push(FieldError::required(path, "exactly one of url or service is required"));
        }
        (Some(url), false) => web_address(url, &format!("{path}.url"), errors),
        (None, true) => {
            for (field, text) in [("name", "service name is required"), ("namespace", "service namespace is required")]
            {
                if service[field].as_str().is_none_or(str::is_empty) {
                    errors.push(FieldError::required(format!("{path}.service.{field}"), text));
                }
            }
        }
    }
}

fn web_address(url: &str, field: &str, errors: &mut Errors) {
    let form = "; desired format: https://host[/path]";
    let mut invalid = |text: String| errors.push(FieldError::invalid(field, &url.into(), text + form));
    match url.parse::<http::Uri>() {
        Err(error) => invalid(format!("url must be a valid URL: {error}")),
        Ok(uri) if uri.scheme_str() != Some("https") => {
            let scheme = uri.scheme_str().unwrap_or_default();
            invalid(format!("'https' is the only allowed URL scheme, not {scheme:?}"));
        }
        Ok(uri) if uri.host().is_none_or(str::is_empty) => invalid("host must be specified".to_owned()),
        Ok(_) => {}
    }
}

/// Fields with few allowed values.
fn choices(hook: &Value, path: &str, errors: &mut Errors) {
    let mut among = |field: &str, allowed: &[&str], optional: bool| {
        let value = &hook[field];
        let fine = (optional && value.is_null()) || allowed.iter().any(|a| value == *a);
        if !fine {
            errors.push(FieldError::not_supported(format!("{path}.{field}"), value, allowed));
        }
    };
    among("failurePolicy", &["Fail", "Ignore"], false);
    among("matchPolicy", &["Equivalent", "Exact"], false);
    among("reinvocationPolicy", &["IfNeeded", "Never"], true);
    among("sideEffects", &["None", "NoneOnDryRun"], false);
    let seconds = &hook["timeoutSeconds"];
    if !seconds.as_i64().is_some_and(|s| (1..=30).contains(&s)) {
        let text = "the timeout value must be between 1 and 30 seconds";
        errors.push(FieldError::invalid(format!("{path}.timeoutSeconds"), seconds, text));
    }
    let versions = list(&hook["admissionReviewVersions"]);
    let field = format!("{path}.admissionReviewVersions");
    if versions.is_empty() {
        errors.push(FieldError::required(field, "must specify one of v1, v1beta1"));
    } else if !versions.iter().any(|v| v == "v1") {
        let text = "must include at least one of v1";
        errors.push(FieldError::invalid(field, &hook["admissionReviewVersions"], text));
    }
}

/// What is wrong with the expressions that decide whether a webhook or a policy is asked.
pub fn conditions(conditions: &[Value], path: &str, variables: &[&str], errors: &mut Errors) {
    if conditions.len() > MAX_CONDITIONS {
        let message = format!("Too many: {}: must have at most {MAX_CONDITIONS} items", conditions.len());
        errors.push(FieldError { reason: "FieldValueTooMany", field: path.to_owned(), message });
    }
    for (index, one) in conditions.iter().enumerate() {
        let path = format!("{path}[{index}]");
        if conditions[..index].iter().any(|other| other["name"] == one["name"]) {
            errors.push(FieldError::duplicate(format!("{path}.name"), &one["name"]));
        }
        condition(one, &path, variables, errors);
    }
}

fn condition(condition: &Value, path: &str, variables: &[&str], errors: &mut Errors) {
    let (name, expression) = (&condition["name"], &condition["expression"]);
    let mut judge = |field: &str, value: &Value, problem: &dyn Fn(&str) -> Option<String>| {
        let field = format!("{path}.{field}");
        match value.as_str().map(str::trim).unwrap_or_default() {
            "" => errors.push(FieldError::required(field, "")),
            text => errors.extend(problem(text).map(|problem| FieldError::invalid(field, value, problem))),
        }
    };
    judge("name", name, &names::qualified_name);
    judge("expression", expression, &|source| {
        let error = Program::compile(source, variables).err()?;
        Some(format!("compilation failed: {error}"))
    });
}

/// What is wrong with a rule that says which requests a webhook or a policy is about.
pub fn rule(rule: &Value, path: &str, errors: &mut Errors) {
    for field in ["operations", "apiGroups", "apiVersions", "resources"] {
        let values = list(&rule[field]);
        if values.is_empty() {
            errors.push(FieldError::required(format!("{path}.{field}"), ""));
        }
        if field != "resources" && values.len() > 1 && values.iter().any(|v| v == "*") {
            let text = "if '*' is present, must not specify other values";
            errors.push(FieldError::invalid(format!("{path}.{field}"), &rule[field], text));
        }
    }
    for (index, operation) in list(&rule["operations"]).iter().enumerate() {
        if !OPERATIONS.iter().any(|o| operation == *o) {
            errors.push(FieldError::not_supported(format!("{path}.operations[{index}]"), operation, &OPERATIONS));
        }
    }
    if !SCOPES.iter().any(|s| rule["scope"] == *s) {
        errors.push(FieldError::not_supported(format!("{path}.scope"), &rule["scope"], &SCOPES));
    }
}
