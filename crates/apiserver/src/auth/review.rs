//! Kinds that are questions: who am I, may I, may somebody, is this token good.

use serde_json::{Value, json};

use super::{Action, User, rule::Rule};
use crate::{
    engine::{Call, Engine},
    object::{self, Object},
    status::{FieldError, Status},
};

const ATTRIBUTES: [&str; 2] = ["resourceAttributes", "nonResourceAttributes"];

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

impl Engine {
    /// Answers a question.
    pub(crate) fn review(&self, call: &Call, mut review: Value) -> Result<Object, Status> {
        let spec = &review["spec"];
        let status = match call.resource.kind.as_str() {
            "TokenReview" => self.review_token(call, spec)?,
            "SelfSubjectReview" => json!({"userInfo": call.user.to_value()}),
            "SelfSubjectRulesReview" => self.review_rules(call, spec)?,
            "SelfSubjectAccessReview" => {
                check_attributes(call, spec, Vec::new())?;
                self.review_access(&call.user, spec)
            }
            kind => {
                let mut errors = Vec::new();
                if kind == "LocalSubjectAccessReview" {
                    check_local(call, spec, &mut errors);
                }
                check_user(spec, &mut errors);
                check_attributes(call, spec, errors)?;
                self.review_access(&subject(spec), spec)
            }
        };
        object::map_at(&mut review, "metadata").insert("creationTimestamp".into(), Value::Null);
        review["status"] = status;
        Ok(review.into())
    }

    fn review_token(&self, call: &Call, spec: &Value) -> Result<Value, Status> {
        let token = text(&spec["token"]);
        if token.is_empty() {
            return Err(Status::bad_request("token is required for TokenReview in authentication"));
        }
        let audiences = spec["audiences"].as_array().into_iter().flatten();
        let audiences: Vec<String> = audiences.filter_map(|a| a.as_str().map(str::to_owned)).collect();
        Ok(match self.authenticate(token, &audiences) {
            Ok((user, audiences)) => json!({"authenticated": true, "user": user.to_value(), "audiences": audiences}),
            Err(error) => {
                tracing::debug!(asker = call.user.name, %error, "token reviewed and refused");
                json!({"user": {}, "error": error.to_string()})
            }
        })
    }

    fn review_rules(&self, call: &Call, spec: &Value) -> Result<Value, Status> {
        let namespace = text(&spec["namespace"]);
        if namespace.is_empty() {
            return Err(Status::bad_request("no namespace on request"));
        }
        let (rules, errors) = self.rbac.rules_for(&call.user, namespace);
        let (paths, resources): (Vec<&Rule>, Vec<&Rule>) = rules.iter().partition(|rule| !rule.paths.is_empty());
        let values = |rules: Vec<&Rule>| rules.into_iter().map(Rule::to_value).collect::<Vec<_>>();
        let mut status = json!({
            "resourceRules": values(resources), "nonResourceRules": values(paths), "incomplete": !errors.is_empty(),
        });
        if !errors.is_empty() {
            status["evaluationError"] = errors.join(", ").into();
        }
        Ok(status)
    }

    fn review_access(&self, user: &User, spec: &Value) -> Value {
        let decision = self.rbac.decide(user, &action(spec));
        let mut status = json!({"allowed": decision.allowed});
        if !decision.reason.is_empty() {
            status["reason"] = decision.reason.into();
        }
        status
    }
}

fn action(spec: &Value) -> Action<'_> {
    let [resource, other] = ATTRIBUTES.map(|field| &spec[field]);
    if !resource.is_object() {
        return Action { verb: text(&other["verb"]), path: text(&other["path"]), ..Action::default() };
    }
    Action {
        verb: text(&resource["verb"]),
        group: text(&resource["group"]),
        resource: text(&resource["resource"]),
        subresource: text(&resource["subresource"]),
        namespace: text(&resource["namespace"]),
        name: text(&resource["name"]),
        path: "",
    }
}

fn subject(spec: &Value) -> User {
    let groups = spec["groups"].as_array().into_iter().flatten();
    User {
        name: text(&spec["user"]).to_owned(),
        uid: text(&spec["uid"]).to_owned(),
        groups: groups.filter_map(|g| g.as_str().map(str::to_owned)).collect(),
        extra: spec["extra"].as_object().cloned().unwrap_or_default(),
    }
}

fn check_user(spec: &Value, errors: &mut Vec<FieldError>) {
    let groups = spec["groups"].as_array().is_some_and(|groups| !groups.is_empty());
    if text(&spec["user"]).is_empty() && !groups {
        errors.push(FieldError::invalid("spec.user", &spec["user"], "at least one of user or group must be specified"));
    }
}

fn check_local(call: &Call, spec: &Value, errors: &mut Vec<FieldError>) {
    let [resource, other] = ATTRIBUTES.map(|field| &spec[field]);
    if resource.is_object() && text(&resource["namespace"]) != call.namespace {
        let field = "spec.resourceAttributes.namespace";
        errors.push(FieldError::invalid(field, &resource["namespace"], "must match metadata.namespace"));
    }
    if other.is_object() {
        let text = "disallowed on this kind of request";
        errors.push(FieldError::invalid("spec.nonResourceAttributes", other, text));
    }
}

fn check_attributes(call: &Call, spec: &Value, mut errors: Vec<FieldError>) -> Result<(), Status> {
    let [resource, other] = ATTRIBUTES.map(|field| &spec[field]);
    let (field, value, text) = match (resource.is_object(), other.is_object()) {
        (true, true) => (ATTRIBUTES[1], other, "cannot be specified in combination with resourceAttributes"),
        (false, false) => {
            (ATTRIBUTES[0], resource, "exactly one of nonResourceAttributes or resourceAttributes must be specified")
        }
        _ => return call.check(&errors),
    };
    errors.push(FieldError::invalid(format!("spec.{field}"), value, text));
    call.check(&errors)
}
