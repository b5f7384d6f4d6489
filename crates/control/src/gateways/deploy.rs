use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use kube::api::{Patch, PatchParams, PostParams};
use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use kube::{Api, Client};
use lateen_control_core::gateway_api::{CLASS, Deployment, gateway_class};
use lateen_control_core::resource::{Key, Kind};
use serde_json::Value;
use tokio::sync::watch;

use crate::state::Published;
use crate::webhook::Injection;

/// Who applies the objects.
const MANAGER: &str = "istio.io/gateway-controller";
/// How often what is missing is looked for.
const LOOK: Duration = Duration::from_secs(5);
/// How often objects are applied again, whoever may have changed them.
const AGAIN: Duration = Duration::from_secs(60);

/// Keeps the objects of gateways as they should be, and the class there that they name, while this istiod `leads`; ends
/// with what is published.
pub async fn deploy(
    client: Client,
    mut published: watch::Receiver<Arc<Published>>,
    injection: Arc<Injection>,
    mut leads: watch::Receiver<bool>,
) {
    let mut keeper = Keeper { client, injection, applied: BTreeMap::new() };
    loop {
        if leads.wait_for(|leads| *leads).await.is_err() {
            return;
        }
        let now = published.borrow_and_update().clone();
        if now.version > 0 {
            let made = &now.snapshot.gateway_api;
            if !made.statuses.contains_key(&Key::new(Kind::GatewayClass, "", CLASS)) {
                keeper.create_class().await;
            }
            keeper.keep(&made.deployments).await;
        }
        tokio::select! {
            changed = published.changed() => if changed.is_err() { return },
            _ = leads.changed() => {}
            () = tokio::time::sleep(LOOK) => {}
        }
    }
}

/// Namespace and name of a Gateway.
type Id = (String, String);

struct Keeper {
    client: Client,
    injection: Arc<Injection>,
    /// What was applied for each Gateway, and when.
    applied: BTreeMap<Id, (Vec<Value>, Instant)>,
}

impl Keeper {
    async fn keep(&mut self, wanted: &[Deployment]) {
        let there: BTreeSet<Id> = wanted.iter().map(id).collect();
        // Objects of a Gateway that is gone go with it, as its dependents.
        self.applied.retain(|id, _| there.contains(id));
        let Some(options) = self.injection.options() else { return };
        for deployment in wanted {
            let objects = match deployment.objects(&options) {
                Ok(objects) => objects,
                Err(error) => {
                    let Deployment { namespace, gateway, .. } = deployment;
                    tracing::warn!(namespace, gateway, %error, "the gateway cannot be deployed");
                    continue;
                }
            };
            let last = self.applied.get(&id(deployment));
            if last.is_some_and(|(applied, at)| *applied == objects && at.elapsed() < AGAIN) {
                continue;
            }
            if self.apply(deployment, &objects).await {
                self.applied.insert(id(deployment), (objects, Instant::now()));
            }
        }
    }

    /// Applies all objects of a Gateway; what fails is tried again at the next look.
    async fn apply(&self, deployment: &Deployment, objects: &[Value]) -> bool {
        let params = PatchParams::apply(MANAGER).force();
        for object in objects {
            let text = |at: &str| object.pointer(at).and_then(Value::as_str).unwrap_or_default();
            let (kind, name) = (text("/kind"), text("/metadata/name"));
            let api: Api<DynamicObject> =
                Api::namespaced_with(self.client.clone(), &deployment.namespace, &resource(text("/apiVersion"), kind));
            if let Err(error) = api.patch(name, &params, &Patch::Apply(object)).await {
                let Deployment { namespace, gateway, .. } = deployment;
                tracing::warn!(namespace, gateway, kind, name, %error, "object of a gateway not applied; trying again");
                return false;
            }
        }
        true
    }

    /// Creates our class. Where the Gateway API isn't installed, there is nothing to create.
    async fn create_class(&self) {
        let class = gateway_class();
        let kind = resource(class["apiVersion"].as_str().unwrap_or_default(), "GatewayClass");
        let api: Api<DynamicObject> = Api::all_with(self.client.clone(), &kind);
        let Ok(class) = serde_json::from_value(class) else { return };
        match api.create(&PostParams::default(), &class).await {
            Ok(_) => tracing::info!(class = CLASS, "created the GatewayClass"),
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => {}
            Err(error) => tracing::warn!(class = CLASS, %error, "GatewayClass not created; trying again"),
        }
    }
}

fn id(deployment: &Deployment) -> Id {
    (deployment.namespace.clone(), deployment.gateway.clone())
}

fn resource(api_version: &str, kind: &str) -> ApiResource {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind))
}
