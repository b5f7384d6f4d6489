//! The envelope of admission: `AdmissionReview` of `admission.k8s.io/v1`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

/// The request in a review.
pub(super) struct Review {
    request: Value,
}

/// What to answer.
pub(super) enum Verdict {
    /// The object is fine as it is.
    Allow,
    /// The object is fine after this JSON patch.
    Patch(Value),
    /// The object is refused; the user reads the message.
    Deny { code: u16, reason: &'static str, message: String },
}

impl Review {
    /// Takes a review apart; `None` if it is none.
    pub(super) fn parse(mut body: Value) -> Option<Self> {
        let request = body.get_mut("request")?.take();
        request["uid"].is_string().then_some(Review { request })
    }

    /// The object under review.
    pub(super) fn object(&self) -> &Value {
        &self.request["object"]
    }

    /// The namespace that the object goes to; the object itself may not say.
    pub(super) fn namespace(&self) -> &str {
        self.request["namespace"].as_str().unwrap_or_default()
    }

    /// The answer to send.
    pub(super) fn answer(&self, verdict: Verdict, warnings: Vec<String>) -> Value {
        let mut response = json!({ "uid": self.request["uid"], "allowed": true });
        match verdict {
            Verdict::Allow => {}
            Verdict::Patch(patch) => {
                response["patchType"] = json!("JSONPatch");
                response["patch"] = json!(STANDARD.encode(patch.to_string()));
            }
            Verdict::Deny { code, reason, message } => {
                response["allowed"] = json!(false);
                response["status"] = json!({
                    "status": "Failure", "code": code, "reason": reason, "message": message,
                });
            }
        }
        if !warnings.is_empty() {
            response["warnings"] = json!(warnings);
        }
        json!({ "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response })
    }
}
