//! AdmissionReview: the question and its answer.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use super::{Attempt, rules::Matched};
use crate::{
    auth, cel,
    engine::{Call, new_uid},
    object::Object,
    status::Status,
};

const VERSION: &str = "admission.k8s.io/v1";

/// A question to a webhook.
pub struct Review {
    /// `request.uid`, which the answer repeats.
    pub uid: String,
    /// Whether the request writes nothing.
    pub dry_run: bool,
    /// As what the webhook sees the request.
    pub matched: Matched,
    /// The object as the webhook sees it.
    pub object: Option<Object>,
    /// Whether that is a stored object, not one of a subresource's own kind.
    pub is_stored: bool,
    request: Value,
}

impl Review {
    /// The question about a request. The objects are as the webhook is to see them.
    pub fn new(
        call: &Call,
        attempt: &Attempt<'_>,
        matched: Matched,
        object: Option<Object>,
        old: Option<Object>,
    ) -> Self {
        let uid = new_uid();
        let kind = |resource: &crate::registry::Resource, version: &str| match attempt.foreign {
            Some(f) => json!({"group": f.0, "version": f.1, "kind": f.2}),
            None => json!({"group": resource.group, "version": version, "kind": resource.kind}),
        };
        let plural = |resource: &crate::registry::Resource, version: &str| json!({"group": resource.group, "version": version, "resource": resource.plural});
        let value = |object: &Option<Object>| object.as_ref().map_or(Value::Null, |o| Value::clone(o));
        let mut request = json!({
            "uid": uid,
            "kind": kind(&matched.resource, &matched.version),
            "resource": plural(&matched.resource, &matched.version),
            "requestKind": kind(&call.resource, &call.version),
            "requestResource": plural(&call.resource, &call.version),
            "name": call.name,
            "operation": attempt.operation.name(),
            "userInfo": call.user.to_value(),
            "object": value(&object),
            "oldObject": value(&old),
            "dryRun": call.options.dry_run,
            "options": attempt.options,
        });
        let namespace = auth::place(&call.resource.group, &call.resource.plural, &call.namespace, &call.name);
        if !namespace.is_empty() {
            request["namespace"] = namespace.into();
        }
        if !call.subresource.is_empty() {
            request["subResource"] = call.subresource.as_str().into();
            request["requestSubResource"] = call.subresource.as_str().into();
        }
        Self { uid, dry_run: call.options.dry_run, matched, object, is_stored: attempt.foreign.is_none(), request }
    }

    /// The values of the variables that conditions may use, in their order.
    pub fn variables(&self) -> [cel::Value; 3] {
        let request = &self.request;
        [cel::untyped(&request["object"]), cel::untyped(&request["oldObject"]), cel::untyped(request)]
    }

    /// The request body.
    pub fn to_bytes(&self) -> Vec<u8> {
        let body = json!({"kind": "AdmissionReview", "apiVersion": VERSION, "request": self.request});
        body.to_string().into_bytes()
    }
}

/// What a webhook said.
#[derive(Debug)]
pub struct Answer {
    allowed: bool,
    status: Value,
    /// Operations to apply to the object.
    pub patch: Option<Value>,
    /// Texts for the client.
    pub warnings: Vec<String>,
}

impl Answer {
    /// Reads an answer to the review with this uid, from a webhook that may patch or may not.
    pub fn parse(body: &[u8], uid: &str, mutates: bool) -> Result<Self, String> {
        let review: Value = serde_json::from_slice(body).map_err(|e| e.to_string())?;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        if review["apiVersion"] != VERSION || review["kind"] != "AdmissionReview" {
            let (version, kind) = (text(&review["apiVersion"]), text(&review["kind"]));
            return Err(format!(
                "expected webhook response of {VERSION}, Kind=AdmissionReview, got {version}, Kind={kind}"
            ));
        }
        let response = &review["response"];
        if !response.is_object() {
            return Err("webhook response was absent".into());
        }
        if response["uid"] != uid {
            return Err(format!("expected response.uid={uid:?}, got {:?}", text(&response["uid"])));
        }
        let warnings = response["warnings"].as_array().into_iter().flatten();
        Ok(Self {
            allowed: response["allowed"] == true,
            status: response["status"].clone(),
            patch: patch(response, mutates)?,
            warnings: warnings.filter_map(|w| w.as_str().map(str::to_owned)).collect(),
        })
    }

    /// The refusal, if it is one, in Kubernetes' words and with the webhook's own code, reason and
    /// details.
    pub fn verdict(&self, name: &str) -> Result<(), Status> {
        if self.allowed {
            return Ok(());
        }
        let text = |field: &str| self.status[field].as_str().filter(|t| !t.is_empty());
        let denied = format!("admission webhook {name:?} denied the request");
        let message = match text("message").or_else(|| text("reason")) {
            Some(why) => format!("{denied}: {why}"),
            None => format!("{denied} without explanation"),
        };
        let code = self.status["code"].as_u64().and_then(|c| u16::try_from(c).ok()).unwrap_or(0);
        let code = if (400..600).contains(&code) { code } else { 400 };
        let mut status = Status::new(code, text("reason").unwrap_or_default().to_owned(), message);
        for (key, value) in self.status["details"].as_object().into_iter().flatten() {
            status = status.with_detail(key, value.clone());
        }
        Err(status)
    }
}

fn patch(response: &Value, mutates: bool) -> Result<Option<Value>, String> {
    let text = response["patch"].as_str().filter(|text| !text.is_empty());
    let kind = response["patchType"].as_str();
    if !mutates {
        return match (text, kind) {
            (Some(_), _) => Err("validating webhook may not return response.patch".into()),
            (_, Some(_)) => Err("validating webhook may not return response.patchType".into()),
            _ => Ok(None),
        };
    }
    match (text, kind) {
        (None, None) => Ok(None),
        (None, Some(_)) => Err("webhook returned response.patchType but not response.patch".into()),
        (Some(_), None) => Err("webhook returned response.patch but not response.patchType".into()),
        (Some(text), Some("JSONPatch")) => {
            let bytes = STANDARD.decode(text).map_err(|e| format!("response.patch: {e}"))?;
            serde_json::from_slice(&bytes).map(Some).map_err(|e| format!("response.patch: {e}"))
        }
        (Some(_), Some(other)) => Err(format!("webhook returned invalid response.patchType of {other:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(response: Value, mutates: bool) -> Result<Answer, String> {
        let body = json!({"apiVersion": VERSION, "kind": "AdmissionReview", "response": response});
        Answer::parse(body.to_string().as_bytes(), "u", mutates)
    }

    #[test]
    fn answers_must_fit_their_question() {
        let patch = STANDARD.encode("[]");
        let cases = [
            (json!({"uid": "x"}), true, "expected response.uid=\"u\", got \"x\""),
            (json!({"uid": "u", "patch": patch}), true, "webhook returned response.patch but not response.patchType"),
            (
                json!({"uid": "u", "patch": patch, "patchType": "Merge"}),
                true,
                "webhook returned invalid response.patchType of \"Merge\"",
            ),
            (
                json!({"uid": "u", "patch": patch, "patchType": "JSONPatch"}),
                false,
                "validating webhook may not return response.patch",
            ),
            (Value::Null, true, "webhook response was absent"),
        ];
        for (response, mutates, expected) in cases {
            assert_eq!(parse(response, mutates).unwrap_err(), expected);
        }
        assert_eq!(parse(json!({"uid": "u", "allowed": true}), true).unwrap().patch, None);
    }

    #[test]
    fn refusals_keep_the_webhooks_code_reason_and_details() {
        let denied =
            |status: Value| parse(json!({"uid": "u", "status": status}), true).unwrap().verdict("h").unwrap_err();
        let plain = denied(Value::Null);
        assert_eq!(
            (plain.code, plain.message.as_str()),
            (400, "admission webhook \"h\" denied the request without explanation")
        );
        let own = denied(json!({"code": 422, "reason": "Invalid", "message": "no", "details": {"name": "x"}}));
        assert_eq!(
            (own.code, &*own.reason, own.message.as_str()),
            (422, "Invalid", "admission webhook \"h\" denied the request: no")
        );
        assert_eq!(own.details["name"], "x");
        assert_eq!(
            denied(json!({"code": 200, "reason": "Gone"})).message,
            "admission webhook \"h\" denied the request: Gone"
        );
    }
}
