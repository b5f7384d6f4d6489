//! AdmissionReview: the question and its answer.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use super::Operation;
use crate::{
    engine::{Call, new_uid, present},
    object::Object,
    status::Status,
};

/// A question to webhooks.
pub struct Review {
    /// `request.uid`, which the answer repeats.
    pub uid: String,
    /// Whether the request writes nothing.
    pub dry_run: bool,
    body: Value,
}

impl Review {
    /// The question about a request. `object` is in the request's version already.
    pub fn new(call: &Call, operation: Operation, object: Option<&Object>, old: Option<&Object>) -> Self {
        let uid = new_uid();
        let resource = &call.resource;
        let kind = json!({"group": resource.group, "version": call.version, "kind": resource.kind});
        let plural = json!({"group": resource.group, "version": call.version, "resource": resource.plural});
        let options = match operation {
            Operation::Create => "CreateOptions",
            Operation::Update => "UpdateOptions",
            Operation::Delete => "DeleteOptions",
        };
        let mut request = json!({
            "uid": uid,
            "kind": kind,
            "resource": plural,
            "requestKind": kind,
            "requestResource": plural,
            "name": call.name,
            "operation": operation.name(),
            "userInfo": call.user.to_value(),
            "object": object.map_or(Value::Null, |o| Value::clone(o)),
            "oldObject": old.map_or(Value::Null, |o| {
                Value::clone(&present(resource, &call.version, o))
            }),
            "dryRun": call.options.dry_run,
            "options": {"kind": options, "apiVersion": "meta.k8s.io/v1"},
        });
        if !call.namespace.is_empty() {
            request["namespace"] = call.namespace.as_str().into();
        }
        if !call.subresource.is_empty() {
            request["subResource"] = call.subresource.as_str().into();
            request["requestSubResource"] = call.subresource.as_str().into();
        }
        let body = json!({
            "kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "request": request,
        });
        Self { uid, dry_run: call.options.dry_run, body }
    }

    /// The request body.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.body.to_string().into_bytes()
    }
}

/// What a webhook said.
pub struct Answer {
    allowed: bool,
    status: Value,
    /// Operations to apply to the object.
    pub patch: Option<Value>,
    /// Texts for the client.
    pub warnings: Vec<String>,
}

impl Answer {
    /// Reads an answer to the review with this uid.
    pub fn parse(body: &[u8], uid: &str) -> Result<Self, String> {
        let review: Value = serde_json::from_slice(body).map_err(|e| e.to_string())?;
        let response = &review["response"];
        if !response.is_object() {
            return Err("webhook response did not include a response".into());
        }
        if response["uid"] != uid {
            return Err(format!("expected response.uid={uid:?}, got {}", response["uid"]));
        }
        let patch = match response["patch"].as_str() {
            None => None,
            Some(_) if response["patchType"] != "JSONPatch" => {
                return Err(format!("unsupported patch type {}", response["patchType"]));
            }
            Some(text) => {
                let bytes = STANDARD.decode(text).map_err(|e| format!("patch: {e}"))?;
                Some(serde_json::from_slice(&bytes).map_err(|e| format!("patch: {e}"))?)
            }
        };
        let warnings = response["warnings"].as_array().into_iter().flatten();
        Ok(Self {
            allowed: response["allowed"] == true,
            status: response["status"].clone(),
            patch,
            warnings: warnings.filter_map(|w| w.as_str().map(str::to_owned)).collect(),
        })
    }

    /// The refusal, if it is one, in Kubernetes' words.
    pub fn verdict(&self, hook: &Value) -> Result<(), Status> {
        if self.allowed {
            return Ok(());
        }
        let name = hook["name"].as_str().unwrap_or_default();
        let text = |field: &str| self.status[field].as_str().filter(|t| !t.is_empty());
        let denied = format!("admission webhook {name:?} denied the request");
        let message = match text("message").or_else(|| text("reason")) {
            Some(why) => format!("{denied}: {why}"),
            None => format!("{denied} without explanation"),
        };
        let code = self.status["code"].as_u64().and_then(|c| u16::try_from(c).ok()).unwrap_or(0);
        let code = code.max(400);
        let reason = match text("reason") {
            Some("Forbidden") => "Forbidden",
            Some("Invalid") => "Invalid",
            Some("Conflict") => "Conflict",
            _ => "",
        };
        Err(Status::new(code, reason, message))
    }
}
