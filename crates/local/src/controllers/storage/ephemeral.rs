//! Claims that live as long as their pod.

use lateen_apiserver::{Object, Status, gvr};
use serde_json::{Value, json};

use crate::controllers::api::{Api, Key};
use crate::controllers::object::{Meta, controller_ref, map_mut};
use crate::controllers::queue::{Next, Reconcile};
use crate::events::{Recorder, Type};

const CLAIMS: &lateen_apiserver::Gvr = &gvr::PERSISTENT_VOLUME_CLAIMS;

/// The controller that makes the claims of ephemeral volumes.
pub struct Ephemeral {
    api: Api,
    events: Recorder,
}

/// Whether a pod has such volumes.
#[must_use]
pub fn has_ephemeral(pod: &Value) -> bool {
    pod.items("/spec/volumes").iter().any(|v| v["ephemeral"].is_object())
}

impl Ephemeral {
    /// A controller that works through `api`.
    #[must_use]
    pub fn new(api: Api, events: Recorder) -> Self {
        Self { api, events }
    }

    async fn ensure(&self, pod: &Object, volume: &Value) -> Result<(), Status> {
        let claim = claim(pod, volume);
        let Some(found) = self.api.find(CLAIMS, pod.namespace(), claim.name()).await? else {
            return self.api.create(CLAIMS, claim).await.map(drop);
        };
        if found.controller().is_none_or(|owner| owner["uid"] != pod.uid()) {
            let text = format!("PVC {}/{} was not created for pod {}", pod.namespace(), found.name(), pod.name());
            self.events.record(pod, Type::Warning, "FailedMount", &text);
        }
        Ok(())
    }
}

fn claim(pod: &Value, volume: &Value) -> Value {
    let template = &volume["ephemeral"]["volumeClaimTemplate"];
    let mut claim = json!({
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": template["metadata"],
        "spec": template["spec"],
    });
    let metadata = map_mut(&mut claim, "/metadata");
    metadata.insert("name".into(), format!("{}-{}", pod.name(), volume.text("/name")).into());
    metadata.insert("namespace".into(), pod.namespace().into());
    metadata.insert("ownerReferences".into(), json!([controller_ref(pod, "v1", "Pod")]));
    claim
}

impl Reconcile for Ephemeral {
    type Key = Key;
    type Error = Status;

    fn name(&self) -> &'static str {
        "ephemeral volume"
    }

    async fn reconcile(&self, key: &Key) -> Result<Next, Status> {
        let pod = self.api.find(&gvr::PODS, &key.namespace, &key.name).await?;
        if let Some(pod) = pod.filter(|pod| !pod.is_terminating()) {
            for volume in pod.items("/spec/volumes").iter().filter(|v| v["ephemeral"].is_object()) {
                self.ensure(&pod, volume).await?;
            }
        }
        Ok(Next::Done)
    }
}
