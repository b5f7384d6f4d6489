//! `/inject`: a pod in, the patch that adds its sidecar out.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use lateen_control_core::inject::{Decision, InjectOptions, Request, decide, inject, patch};
use parking_lot::RwLock;
use serde_json::{Map, Value};

use super::review::{Review, Verdict};
use crate::metrics::{self, Metrics};

/// The texts of the ConfigMaps that configure injection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InjectorMaps {
    /// Key `values` of `istio-sidecar-injector`.
    pub values: String,
    /// Key `config` of `istio-sidecar-injector`.
    pub config: String,
    /// Key `mesh` of `istio`.
    pub mesh: String,
}

/// What injection depends on besides the pod.
#[derive(Default)]
pub struct Injection {
    options: RwLock<Option<Arc<InjectOptions>>>,
    /// Annotations of the namespaces that have any.
    namespaces: RwLock<BTreeMap<String, Map<String, Value>>>,
}

impl Injection {
    /// Takes new settings; bad ones are reported, and the last good ones stay.
    pub fn configure(&self, maps: &InjectorMaps) {
        match InjectOptions::from_config_maps(&maps.values, &maps.config, &maps.mesh) {
            Ok(options) => *self.options.write() = Some(Arc::new(options)),
            Err(error) => {
                tracing::error!(%error, "the injector's settings are not usable; the previous ones stay");
            }
        }
    }

    /// Notes the annotations of a namespace.
    pub fn namespace(&self, name: &str, annotations: Option<&Map<String, Value>>) {
        let mut namespaces = self.namespaces.write();
        match annotations.filter(|annotations| !annotations.is_empty()) {
            Some(annotations) => {
                namespaces.insert(name.to_owned(), annotations.clone());
            }
            None => {
                namespaces.remove(name);
            }
        }
    }

    /// The settings, once they were read.
    pub fn options(&self) -> Option<Arc<InjectOptions>> {
        self.options.read().clone()
    }

    fn review(&self, review: &Review) -> Verdict {
        let Some(options) = self.options() else {
            return Verdict::Deny {
                code: 503,
                reason: "ServiceUnavailable",
                message: "istiod has not read ConfigMap istio-sidecar-injector yet; try again".into(),
            };
        };
        let (pod, namespace) = (review.object(), review.namespace());
        if let Decision::Skip(reason) = decide(pod, namespace, &options) {
            tracing::debug!(namespace, ?reason, "pod is not injected");
            return Verdict::Allow;
        }
        let annotations = self.namespaces.read().get(namespace).cloned();
        let request = Request { pod, namespace, namespace_annotations: annotations.as_ref(), workload: None };
        match inject(&request, &options) {
            Ok(injected) => Verdict::Patch(Value::Array(patch(pod, &injected))),
            Err(error) => {
                Verdict::Deny { code: 400, reason: "BadRequest", message: format!("sidecar injection: {error}") }
            }
        }
    }
}

pub(super) async fn handle(
    State((injection, metrics)): State<(Arc<Injection>, Arc<Metrics>)>,
    Json(body): Json<Value>,
) -> Result<Json<Value>, (StatusCode, &'static str)> {
    metrics.add(&metrics::SIDECAR_INJECTION_REQUESTS, &[]);
    let review = Review::parse(body)
        .ok_or((StatusCode::BAD_REQUEST, "send an AdmissionReview of admission.k8s.io/v1 with a request\n"))?;
    let verdict = injection.review(&review);
    match &verdict {
        Verdict::Allow => metrics.add(&metrics::SIDECAR_INJECTION_SKIP, &[]),
        Verdict::Patch(_) => metrics.add(&metrics::SIDECAR_INJECTION_SUCCESS, &[]),
        Verdict::Deny { message, .. } => {
            tracing::warn!(namespace = review.namespace(), message, "pod refused");
            metrics.add(&metrics::SIDECAR_INJECTION_FAILURE, &[]);
        }
    }
    Ok(Json(review.answer(verdict, Vec::new())))
}
