//! The registrations of istiod's two webhooks. istiod fills in `caBundle` when it starts.

use serde_json::{Value, json};

use super::InstallOptions;

/// The MutatingWebhookConfiguration through which pods get their sidecar.
pub const INJECTOR_WEBHOOK: &str = "istio-sidecar-injector";
/// The ValidatingWebhookConfiguration that refuses broken Istio resources.
pub const VALIDATOR_WEBHOOK: &str = "istio-validator-istio-system";

const REVISION: &str = "istio.io/rev";
const NAMESPACE_LABEL: &str = "istio-injection";
const POD_LABEL: &str = "sidecar.istio.io/inject";

pub(super) fn injector(options: &InstallOptions) -> Value {
    json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingWebhookConfiguration",
        "metadata": { "name": INJECTOR_WEBHOOK, "labels": super::labels(options) },
        "webhooks": [
            injector_webhook(
                options,
                "rev.namespace",
                &[is_in(REVISION, "default"), absent(NAMESPACE_LABEL)],
                &[is_not(POD_LABEL, "false")],
            ),
            injector_webhook(
                options,
                "rev.object",
                &[absent(REVISION), absent(NAMESPACE_LABEL)],
                &[is_not(POD_LABEL, "false"), is_in(REVISION, "default")],
            ),
            injector_webhook(
                options,
                "namespace",
                &[is_in(NAMESPACE_LABEL, "enabled")],
                &[is_not(POD_LABEL, "false")],
            ),
            injector_webhook(
                options,
                "object",
                &[absent(NAMESPACE_LABEL), absent(REVISION)],
                &[is_in(POD_LABEL, "true"), absent(REVISION)],
            ),
        ],
    })
}

fn injector_webhook(options: &InstallOptions, scope: &str, namespaces: &[Value], objects: &[Value]) -> Value {
    json!({
        "name": format!("{scope}.sidecar-injector.istio.io"),
        "clientConfig": client_config(options, "/inject"),
        "sideEffects": "None",
        "rules": [{
            "operations": ["CREATE"],
            "apiGroups": [""],
            "apiVersions": ["v1"],
            "resources": ["pods"],
            "scope": "*",
        }],
        "matchPolicy": "Equivalent",
        "failurePolicy": "Fail",
        "reinvocationPolicy": "Never",
        "timeoutSeconds": 10,
        "admissionReviewVersions": ["v1"],
        "namespaceSelector": { "matchExpressions": namespaces },
        "objectSelector": { "matchExpressions": objects },
    })
}

pub(super) fn validator(options: &InstallOptions) -> Value {
    json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingWebhookConfiguration",
        "metadata": { "name": VALIDATOR_WEBHOOK, "labels": super::labels(options) },
        "webhooks": [
            validator_webhook(options, "rev.validation.istio.io", &[is_in(REVISION, "default")]),
            validator_webhook(options, "validation.istio.io", &[absent(REVISION)]),
        ],
    })
}

/// `failurePolicy` starts as `Ignore`: configuration can be applied before istiod runs. istiod sets it to `Fail`
/// once it answers.
fn validator_webhook(options: &InstallOptions, name: &str, objects: &[Value]) -> Value {
    json!({
        "name": name,
        "clientConfig": client_config(options, "/validate"),
        "sideEffects": "None",
        "rules": [{
            "operations": ["CREATE", "UPDATE"],
            "apiGroups": [
                "security.istio.io", "networking.istio.io", "telemetry.istio.io", "extensions.istio.io",
            ],
            "apiVersions": ["*"],
            "resources": ["*"],
            "scope": "*",
        }],
        "matchPolicy": "Equivalent",
        "failurePolicy": "Ignore",
        "timeoutSeconds": 10,
        "admissionReviewVersions": ["v1"],
        "namespaceSelector": {},
        "objectSelector": { "matchExpressions": objects },
    })
}

fn client_config(options: &InstallOptions, path: &str) -> Value {
    json!({
        "service": { "name": "istiod", "namespace": options.namespace, "path": path, "port": 443 },
    })
}

fn is_in(key: &str, value: &str) -> Value {
    json!({ "key": key, "operator": "In", "values": [value] })
}

fn is_not(key: &str, value: &str) -> Value {
    json!({ "key": key, "operator": "NotIn", "values": [value] })
}

fn absent(key: &str) -> Value {
    json!({ "key": key, "operator": "DoesNotExist" })
}
