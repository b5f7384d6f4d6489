//! `/validate`: refuses Istio resources that make no sense, naming the field.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use lateen_control_core::resource::{self, ParseError};
use serde_json::Value;

use super::review::{Review, Verdict};
use crate::metrics::{self, Metrics};

pub(super) async fn handle(
    State(metrics): State<Arc<Metrics>>,
    Json(body): Json<Value>,
) -> Result<Json<Value>, (StatusCode, &'static str)> {
    let review = Review::parse(body)
        .ok_or((StatusCode::BAD_REQUEST, "send an AdmissionReview of admission.k8s.io/v1 with a request\n"))?;
    let object = review.object();
    if object.is_null() {
        return Ok(Json(review.answer(Verdict::Allow, Vec::new())));
    }
    let labels = [("group", group(object)), ("resource", object["kind"].as_str().unwrap_or_default())];
    let verdict = match refusal(object) {
        None => {
            metrics.add(&metrics::GALLEY_VALIDATION_PASSED, &labels);
            Verdict::Allow
        }
        Some(reason) => {
            metrics.add(&metrics::GALLEY_VALIDATION_FAILED, &labels);
            let message = format!("configuration is invalid: {reason}");
            Verdict::Deny { code: 400, reason: "BadRequest", message }
        }
    };
    Ok(Json(review.answer(verdict, Vec::new())))
}

/// Why istiod could not use the object. Kinds that it doesn't read are none of its business.
fn refusal(object: &Value) -> Option<String> {
    match resource::parse(object.clone()) {
        Ok(_) | Err(ParseError::UnknownKind { .. }) => None,
        Err(error) => Some(error.to_string()),
    }
}

fn group(object: &Value) -> &str {
    let version = object["apiVersion"].as_str().unwrap_or_default();
    version.split_once('/').map_or("", |(group, _)| group)
}
