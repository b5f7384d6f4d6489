//! `/validate`: refuses Istio resources that make no sense, naming the field.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use lateen_control_core::resource::{self, ParseError};
use lateen_control_core::validate::{Severity, validate};
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
    let (errors, warnings) = examine(object);
    let verdict = if errors.is_empty() {
        metrics.add(&metrics::GALLEY_VALIDATION_PASSED, &labels);
        Verdict::Allow
    } else {
        metrics.add(&metrics::GALLEY_VALIDATION_FAILED, &labels);
        let message = format!("configuration is invalid: {}", errors.join("; "));
        Verdict::Deny { code: 400, reason: "BadRequest", message }
    };
    Ok(Json(review.answer(verdict, warnings)))
}

/// What is wrong with an object, and what is doubtful. Whatever the checks let pass, istiod has to
/// be able to read it; kinds that it doesn't read are none of its business.
fn examine(object: &Value) -> (Vec<String>, Vec<String>) {
    let (mut errors, mut warnings) = (Vec::new(), Vec::new());
    for finding in validate(object) {
        match finding.severity {
            Severity::Error => errors.push(finding.to_string()),
            Severity::Warning => warnings.push(finding.to_string()),
        }
    }
    if errors.is_empty() {
        match resource::parse(object.clone()) {
            Ok(_) | Err(ParseError::UnknownKind { .. }) => {}
            Err(error) => errors.push(error.to_string()),
        }
    }
    (errors, warnings)
}

fn group(object: &Value) -> &str {
    let version = object["apiVersion"].as_str().unwrap_or_default();
    version.split_once('/').map_or("", |(group, _)| group)
}
