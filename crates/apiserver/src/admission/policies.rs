//! ValidatingAdmissionPolicies: expressions that judge requests where a binding says so.

use std::{borrow::Cow, collections::BTreeMap, sync::Arc};

use serde_json::{Value, json};

use super::{
    Attempt, concerned,
    hooks::{namespace, selected},
    review::Review,
    review_as,
    rules::{Matched, matched},
};
use crate::{
    cel::{self, Budget, CALL_BUDGET, OBJECT_BUDGET, Program},
    engine::{Call, Engine},
    object::{self, Object},
    selector::LabelSelector,
    status::Status,
    store::Key,
};

const GROUP: &str = "admissionregistration.k8s.io";
const POLICIES: &str = "admissionregistration.k8s.io/validatingadmissionpolicies";
const BINDINGS: &str = "admissionregistration.k8s.io/validatingadmissionpolicybindings";

/// What expressions of policies may use.
pub const VARIABLES: [&str; 6] = ["object", "oldObject", "request", "params", "namespaceObject", "variables"];

/// Something that a policy refuses, and in which words.
struct Finding {
    message: String,
    reason: Cow<'static, str>,
}

impl Finding {
    fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), reason: "Invalid".into() }
    }
}

/// Asks all policies that a binding applies to the request: the first refusal decides; what
/// bindings only warn about becomes a warning.
pub fn judge(engine: &Engine, call: &mut Call, attempt: &Attempt<'_>, object: Option<&Value>) -> Result<(), Status> {
    // Policies can't lock themselves.
    if call.resource.group == GROUP && call.resource.plural.starts_with("validatingadmissionpolic") {
        return Ok(());
    }
    let bindings: Vec<Object> = engine.store.list(BINDINGS, None).objects().collect();
    let mut refusal = None;
    for binding in &bindings {
        let key = Key::new(&POLICIES.into(), "", text(&binding["spec"]["policyName"]));
        let Some(policy) = engine.store.get(&key) else { continue };
        for finding in findings(engine, call, attempt, object, &policy["spec"], &binding["spec"]) {
            let (policy, binding_name) = (object::name(&policy), object::name(binding));
            let has = |wanted: &str| each(&binding["spec"]["validationActions"]).iter().any(|action| action == wanted);
            if has("Warn") {
                call.warn(format!(
                    "Validation failed for ValidatingAdmissionPolicy '{policy}' with binding '{binding_name}': {}",
                    finding.message
                ));
            }
            if has("Deny") && refusal.is_none() {
                let message = format!(
                    "ValidatingAdmissionPolicy '{policy}' with binding '{binding_name}' denied request: {}",
                    finding.message
                );
                refusal = Some(refused(call, message, finding.reason));
            }
        }
    }
    refusal.map_or(Ok(()), Err)
}

fn refused(call: &Call, message: String, reason: Cow<'static, str>) -> Status {
    let code = match &*reason {
        "Forbidden" => 403,
        "Unauthorized" => 401,
        "RequestEntityTooLarge" => 413,
        _ => 422,
    };
    let causes = json!([{"message": message}]);
    call.forbidden(message).with_detail("causes", causes).with_reason(code, reason)
}

/// What a policy finds wrong with a request where a binding applies it.
fn findings(
    engine: &Engine,
    call: &Call,
    attempt: &Attempt<'_>,
    object: Option<&Value>,
    policy: &Value,
    binding: &Value,
) -> Vec<Finding> {
    let Some(matched) = takes(engine, call, attempt, object, &policy["matchConstraints"]) else { return Vec::new() };
    let narrower = &binding["matchResources"];
    if narrower.is_object() && takes(engine, call, attempt, object, narrower).is_none() {
        return Vec::new();
    }
    let ignored = policy["failurePolicy"] == "Ignore";
    let parameters = match parameters(engine, call, policy, binding) {
        Ok(parameters) => parameters,
        Err(_) if ignored => return Vec::new(),
        Err(text) => return vec![Finding::new(format!("failed to configure binding: {text}"))],
    };
    let review = review_as(call, attempt, matched, object);
    let within = namespace(engine, call, &concerned(attempt, object));
    let each = parameters.iter().flat_map(|one| {
        let mut judgement = Judgement::new(&review, one.as_deref(), within.as_deref(), ignored);
        judgement.settle(policy);
        judgement.findings
    });
    each.collect()
}

/// As what the rules of a policy or a binding take a request, if they do.
fn takes(
    engine: &Engine,
    call: &Call,
    attempt: &Attempt<'_>,
    object: Option<&Value>,
    settings: &Value,
) -> Option<Matched> {
    let registry = engine.registry();
    let by = |rules: &Value| matched(&registry, rules, &settings["matchPolicy"], call, attempt.operation);
    let rules = &settings["resourceRules"];
    let found = if each(rules).is_empty() {
        Matched { resource: Arc::clone(&call.resource), version: call.version.clone() }
    } else {
        by(rules)?
    };
    let excluded = by(&settings["excludeResourceRules"]).is_some();
    (!excluded && selected(engine, settings, call, &concerned(attempt, object))).then_some(found)
}

/// The objects that a policy is to be asked with, one after the other.
fn parameters(engine: &Engine, call: &Call, policy: &Value, binding: &Value) -> Result<Vec<Option<Object>>, String> {
    let (kind, reference) = (&policy["paramKind"], &binding["paramRef"]);
    if !kind.is_object() || !reference.is_object() {
        return Ok(vec![None]);
    }
    let (api_version, name) = (text(&kind["apiVersion"]), text(&kind["kind"]));
    let registry = engine.registry();
    let resource = registry.iter().find(|resource| {
        resource.kind == name
            && resource.versions.iter().any(|v| v.served && resource.api_version(&v.name) == api_version)
    });
    let Some(resource) = resource else {
        return Err(format!("failed to find resource referenced by paramKind: '{api_version}, Kind={name}'"));
    };
    let wanted = text(&reference["namespace"]);
    let place = match (resource.namespaced, wanted, call.namespace.as_str()) {
        (false, "", _) => "",
        (false, ..) => {
            return Err("paramRef.namespace must not be provided for a cluster-scoped `paramKind`".into());
        }
        (true, "", "") => {
            return Err("cannot use namespaced paramRef in policy binding that matches cluster-scoped resources".into());
        }
        (true, "", own) => own,
        (true, wanted, _) => wanted,
    };
    let mut found = Vec::new();
    let name = text(&reference["name"]);
    if name.is_empty() {
        let selector = LabelSelector::from_json(&reference["selector"])?;
        let all = engine.store.list(&resource.collection, resource.namespaced.then_some(place));
        found.extend(all.objects().filter(|object| selector.matches(object::labels(object))));
    } else {
        found.extend(engine.store.get(&Key::new(&resource.collection, place, name)));
    }
    if found.is_empty() && reference["parameterNotFoundAction"] == "Deny" {
        return Err("no params found for policy binding with `Deny` parameterNotFoundAction".into());
    }
    Ok(found.into_iter().map(Some).collect())
}

/// One evaluation of a policy.
struct Judgement {
    variables: Vec<(&'static str, cel::Value)>,
    composed: BTreeMap<String, cel::Value>,
    /// Variables of the policy that have no value, and why.
    failed: Vec<(String, String)>,
    budget: Budget,
    ignored: bool,
    findings: Vec<Finding>,
}

impl Judgement {
    fn new(review: &Review, parameters: Option<&Value>, namespace: Option<&Value>, ignored: bool) -> Self {
        let value = |json: Option<&Value>| json.map_or(cel::Value::Null, cel::untyped);
        let [new, old, request] = review.variables();
        let rest = [value(parameters), value(namespace), cel::untyped(&json!({}))];
        let values = [new, old, request].into_iter().chain(rest);
        Self {
            variables: VARIABLES.into_iter().zip(values).collect(),
            composed: BTreeMap::new(),
            failed: Vec::new(),
            budget: Budget::new(OBJECT_BUDGET),
            ignored,
            findings: Vec::new(),
        }
    }

    fn settle(&mut self, policy: &Value) {
        for condition in each(&policy["matchConditions"]) {
            match self.test(text(&condition["expression"])) {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => return self.fault(error),
            }
        }
        for variable in each(&policy["variables"]) {
            self.compose(text(&variable["name"]), text(&variable["expression"]));
        }
        for validation in each(&policy["validations"]) {
            match self.test(text(&validation["expression"])) {
                Ok(true) => {}
                Ok(false) => {
                    let finding = self.finding(validation);
                    self.findings.push(finding);
                }
                Err(error) => self.fault(error),
            }
        }
    }

    /// An expression that has no value counts as the policy's `failurePolicy` says.
    fn fault(&mut self, text: String) {
        if !self.ignored {
            self.findings.push(Finding::new(text));
        }
    }

    fn compose(&mut self, name: &str, source: &str) {
        match self.evaluate(source) {
            Ok(value) => {
                self.composed.insert(name.to_owned(), value);
                let all = self.composed.iter().map(|(name, value)| (cel::Key::text(name), value.clone()));
                let all = cel::Value::Map(Arc::new(all.collect()));
                self.variables.retain(|(name, _)| *name != "variables");
                self.variables.push(("variables", all));
            }
            Err(error) => self.failed.push((name.to_owned(), error)),
        }
    }

    fn evaluate(&self, source: &str) -> Result<cel::Value, String> {
        let one = Budget::new(CALL_BUDGET.min(self.budget.left()));
        let before = one.left();
        let outcome = Program::compile(source, &VARIABLES)
            .and_then(|program| program.evaluate(&self.variables, &one).map_err(|fault| fault.to_string()));
        let spent = usize::try_from(before - one.left()).unwrap_or(usize::MAX);
        self.budget.spend(spent).map_err(|fault| fault.to_string())?;
        outcome.map_err(|error| self.because(error))
    }

    /// A variable without a value is missing where it is used; the reason is what made it so.
    fn because(&self, error: String) -> String {
        let missing = |name: &str| error == format!("no such key: {name}");
        match self.failed.iter().find(|(name, _)| missing(name)) {
            Some((name, why)) => format!("composited variable {name:?} fails to evaluate: {why}"),
            None => error,
        }
    }

    fn test(&self, source: &str) -> Result<bool, String> {
        let error = |error: String| format!("expression '{}' resulted in error: {error}", source.trim());
        match self.evaluate(source).map_err(error)? {
            cel::Value::Bool(verdict) => Ok(verdict),
            _ => Err(error("cel expression must evaluate to a bool".into())),
        }
    }

    fn finding(&self, validation: &Value) -> Finding {
        let said = match text(&validation["messageExpression"]) {
            "" => None,
            source => match self.evaluate(source) {
                Ok(cel::Value::Text(said)) => {
                    Some(said.trim().to_owned()).filter(|s| !s.is_empty() && !s.contains('\n'))
                }
                _ => None,
            },
        };
        let message = said.unwrap_or_else(|| match text(&validation["message"]).trim() {
            "" => format!("failed expression: {}", text(&validation["expression"]).trim()),
            message => message.to_owned(),
        });
        let mut finding = Finding::new(message);
        if let Some(reason) = validation["reason"].as_str().filter(|reason| !reason.is_empty()) {
            finding.reason = reason.to_owned().into();
        }
        finding
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn each(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}
