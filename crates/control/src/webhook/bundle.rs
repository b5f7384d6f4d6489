//! Writes istiod's CA into the webhook configurations, and keeps it there.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures::StreamExt as _;
use k8s_openapi::api::admissionregistration::v1::{MutatingWebhookConfiguration, ValidatingWebhookConfiguration};
use kube::api::{Patch, PatchParams};
use kube::core::DynamicObject;
use kube::runtime::watcher;
use kube::{Api, Client, Resource};
use lateen_control_core::install::{INJECTOR_WEBHOOK, VALIDATOR_WEBHOOK};
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::ca::Active;
use crate::metrics::{self, Metrics};

/// Pause after a failed watch or patch.
const RETRY: Duration = Duration::from_millis(500);

/// Keeps both registrations pointing at a server that callers can verify, for ever. What is there is replaced only by the
/// istiod that leads.
pub async fn keep_registered(
    client: Client,
    mut ca: watch::Receiver<Active>,
    mut leads: watch::Receiver<bool>,
    metrics: Arc<Metrics>,
) {
    loop {
        let bundle = STANDARD.encode(&*ca.borrow_and_update().roots);
        let replaces = *leads.borrow_and_update();
        let registrar = Registrar { client: client.clone(), bundle, replaces, metrics: metrics.clone() };
        let injector = registrar.keep::<MutatingWebhookConfiguration>(INJECTOR_WEBHOOK, None);
        // Refusing while nobody answers would block all configuration; now that istiod answers,
        // letting broken configuration pass would be worse.
        let validator = registrar.keep::<ValidatingWebhookConfiguration>(VALIDATOR_WEBHOOK, Some("Fail"));
        tokio::select! {
            _ = futures::future::join(injector, validator) => return,
            // The registrations are read and written anew.
            changed = ca.changed() => if changed.is_err() { return },
            changed = leads.changed() => if changed.is_err() { return },
        }
    }
}

struct Registrar {
    client: Client,
    bundle: String,
    replaces: bool,
    metrics: Arc<Metrics>,
}

impl Registrar {
    async fn keep<K: Resource<DynamicType = ()>>(&self, name: &str, policy: Option<&str>) {
        let kind = kube::core::ApiResource::erase::<K>(&());
        let api: Api<DynamicObject> = Api::all_with(self.client.clone(), &kind);
        let mut events = std::pin::pin!(watcher(api.clone(), watcher::Config::default()));
        while let Some(event) = events.next().await {
            let object = match event {
                Ok(watcher::Event::Apply(object) | watcher::Event::InitApply(object)) => object,
                Ok(_) => continue,
                Err(error) => {
                    tracing::debug!(%error, kind = kind.kind, "watch of webhook configurations");
                    tokio::time::sleep(RETRY).await;
                    continue;
                }
            };
            if object.metadata.name.as_deref() != Some(name) {
                continue;
            }
            let webhooks = &object.data["webhooks"];
            if !self.replaces && has_bundle(webhooks) {
                continue;
            }
            let Some(patch) = registration(webhooks, &self.bundle, policy) else {
                continue;
            };
            self.patch(&api, name, &patch).await;
        }
    }

    async fn patch(&self, api: &Api<DynamicObject>, name: &str, patch: &Value) {
        self.metrics.add(&metrics::WEBHOOK_PATCH_ATTEMPTS, &[("name", name)]);
        let params = PatchParams::default();
        // Tried again at the next event; a conflict always causes one.
        match api.patch(name, &params, &Patch::Merge(patch)).await {
            Ok(_) => tracing::info!(name, "wrote the CA into the webhook configuration"),
            Err(error) => {
                self.metrics.add(&metrics::WEBHOOK_PATCH_FAILURES, &[("name", name)]);
                tracing::warn!(name, %error, "could not write the CA into the webhook configuration");
            }
        }
    }
}

/// Whether callers of all webhooks know whom to trust.
fn has_bundle(webhooks: &Value) -> bool {
    let mut all = webhooks.as_array().into_iter().flatten();
    all.all(|webhook| webhook["clientConfig"]["caBundle"].as_str().is_some_and(|bundle| !bundle.is_empty()))
}

/// The merge patch that makes all webhooks as they have to be; `None` if they are.
fn registration(webhooks: &Value, bundle: &str, policy: Option<&str>) -> Option<Value> {
    let mut wanted = webhooks.clone();
    for webhook in wanted.as_array_mut()? {
        webhook["clientConfig"]["caBundle"] = json!(bundle);
        if let Some(policy) = policy {
            webhook["failurePolicy"] = json!(policy);
        }
    }
    (wanted != *webhooks).then(|| json!({ "webhooks": wanted }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_wrong_registration_is_patched() {
        let stale = json!([{ "name": "a", "clientConfig": { "service": {} }, "failurePolicy": "Ignore" }]);
        let patch = registration(&stale, "CA", Some("Fail")).expect("a patch");
        let webhook = &patch["webhooks"][0];
        assert_eq!(webhook["clientConfig"], json!({ "service": {}, "caBundle": "CA" }));
        assert_eq!((&webhook["name"], &webhook["failurePolicy"]), (&json!("a"), &json!("Fail")));
        assert_eq!(registration(&patch["webhooks"], "CA", Some("Fail")), None);
        assert!(has_bundle(&patch["webhooks"]) && !has_bundle(&stale));
    }
}
