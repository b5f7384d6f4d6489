//! PersistentVolumeClaims: each gets a volume that suits it, or one made for it.

use lateen_apiserver::{Object, Status, gvr};
use serde_json::{Value, json};

use super::directories::Directories;
use super::{
    PROVISIONED_BY, PROVISIONER, PVC_PROTECTION, SELECTED_NODE, claims_of, matching, waits_for_consumer,
    without_finalizer,
};
use crate::NODE_NAME;
use crate::controllers::api::{Api, Key};
use crate::controllers::object::{Meta, map_mut};
use crate::controllers::pods;
use crate::controllers::queue::{Next, Reconcile};
use crate::events::{Recorder, Type};

const CLAIMS: &lateen_apiserver::Gvr = &gvr::PERSISTENT_VOLUME_CLAIMS;
const VOLUMES: &lateen_apiserver::Gvr = &gvr::PERSISTENT_VOLUMES;
const BIND_COMPLETED: &str = "pv.kubernetes.io/bind-completed";
const BOUND_BY_CONTROLLER: &str = "pv.kubernetes.io/bound-by-controller";

/// The controller of claims.
pub struct Claims {
    api: Api,
    events: Recorder,
    directories: Directories,
}

impl Claims {
    /// A controller that works through `api`.
    #[must_use]
    pub fn new(api: Api, events: Recorder, directories: Directories) -> Self {
        Self { api, events, directories }
    }

    async fn sync(&self, claim: &Object) -> Result<(), Status> {
        if claim.is_terminating() {
            return self.let_go(claim).await;
        }
        if !claim.text("/spec/volumeName").is_empty() {
            return self.keep_bound(claim).await;
        }
        let classes = self.api.client.list(&gvr::STORAGE_CLASSES, None).await?.items;
        if claim["spec"]["storageClassName"].is_null()
            && let Some(class) = matching::default_class(&classes)
        {
            let mut claim = Value::clone(claim);
            map_mut(&mut claim, "/spec").insert("storageClassName".into(), class.name().into());
            // The change brings the claim back here.
            return self.api.update(CLAIMS, claim).await.map(drop);
        }
        let class = classes.iter().find(|c| c.name() == claim.text("/spec/storageClassName"));
        let volumes = self.api.client.list(VOLUMES, None).await?.items;
        let found = matching::best(claim, &volumes);
        let aside = found.is_some_and(|v| matching::is_for(v, claim));
        if !aside && class.is_some_and(|c| waits_for_consumer(c)) && claim.annotation(SELECTED_NODE).is_none() {
            let text = "waiting for first consumer to be created before binding";
            self.say(claim, Type::Normal, "WaitForFirstConsumer", text);
            return Ok(());
        }
        match (found, class) {
            (Some(volume), _) => self.bind(claim, volume).await,
            (None, Some(class)) => self.provision(claim, class).await,
            (None, None) => {
                self.no_class(claim);
                Ok(())
            }
        }
    }

    /// A claim that is being deleted goes once no pod uses it.
    async fn let_go(&self, claim: &Object) -> Result<(), Status> {
        let Some(free) = without_finalizer(claim, PVC_PROTECTION) else { return Ok(()) };
        let key = Key::of(claim);
        let pods = self.api.list_in(&gvr::PODS, claim.namespace()).await?;
        if pods.iter().any(|pod| !pods::is_finished(pod) && claims_of(pod).any(|c| c == key)) {
            return Ok(());
        }
        self.api.update(CLAIMS, free).await.map(drop)
    }

    fn no_class(&self, claim: &Object) {
        let name = claim.text("/spec/storageClassName");
        if name.is_empty() {
            let text = "no persistent volumes available for this claim and no storage class is set";
            self.say(claim, Type::Normal, "FailedBinding", text);
        } else {
            let text = format!("storageclass.storage.k8s.io {name:?} not found");
            self.say(claim, Type::Warning, "ProvisioningFailed", &text);
        }
    }

    async fn provision(&self, claim: &Object, class: &Object) -> Result<(), Status> {
        let provisioner = class.text("/provisioner");
        if provisioner != PROVISIONER {
            let text = format!(
                "Waiting for a volume to be created either by the external provisioner '{provisioner}' or manually by \
                 the system administrator. If volume creation is delayed, please verify that the provisioner is \
                 running and correctly registered."
            );
            self.say(claim, Type::Normal, "ExternalProvisioning", &text);
            return Ok(());
        }
        if claim["spec"]["volumeMode"] == "Block" {
            let text = format!("{PROVISIONER} does not support block volume provisioning");
            self.say(claim, Type::Warning, "ProvisioningFailed", &text);
            return Ok(());
        }
        let name = format!("pvc-{}", claim.uid());
        if let Err(error) = self.directories.make(&name).await {
            let text = format!("make {}: {error}", self.directories.path(&name).display());
            self.say(claim, Type::Warning, "ProvisioningFailed", &text);
            return Err(Status::internal(text));
        }
        let path = self.directories.path(&name).display().to_string();
        let volume = self.api.create(VOLUMES, volume(claim, class, &name, &path)).await?;
        let text = format!("Successfully provisioned volume {name}");
        self.say(claim, Type::Normal, "ProvisioningSucceeded", &text);
        self.bind(claim, &volume).await
    }

    /// Volume and claim name each other.
    async fn bind(&self, claim: &Object, volume: &Object) -> Result<(), Status> {
        let mut bound = Value::clone(volume);
        let reference = reference(claim);
        if volume["spec"]["claimRef"]["uid"] != reference["uid"] {
            map_mut(&mut bound, "/spec").insert("claimRef".into(), reference);
            map_mut(&mut bound, "/metadata/annotations").insert(BOUND_BY_CONTROLLER.into(), "yes".into());
            self.api.update(VOLUMES, bound).await?;
        }
        let mut claim = Value::clone(claim);
        map_mut(&mut claim, "/spec").insert("volumeName".into(), volume.name().into());
        let annotations = map_mut(&mut claim, "/metadata/annotations");
        annotations.insert(BIND_COMPLETED.into(), "yes".into());
        annotations.insert(BOUND_BY_CONTROLLER.into(), "yes".into());
        let claim = self.api.update(CLAIMS, claim).await?;
        self.show_bound(&claim, volume).await
    }

    /// A claim that has a volume, or names one itself.
    async fn keep_bound(&self, claim: &Object) -> Result<(), Status> {
        let name = claim.text("/spec/volumeName");
        let Some(volume) = self.api.find(VOLUMES, "", name).await? else {
            if claim.text("/status/phase") == "Bound" {
                let text = "Bound claim has lost its PersistentVolume. Data on the volume is lost!";
                self.say(claim, Type::Warning, "ClaimLost", text);
                self.api.set_status(CLAIMS, claim, json!({"phase": "Lost"})).await?;
            }
            return Ok(());
        };
        if volume["spec"]["claimRef"].is_null() || matching::is_for(&volume, claim) {
            if claim.annotation(BIND_COMPLETED).is_none() || volume["spec"]["claimRef"]["uid"] != claim.uid() {
                return self.bind(claim, &volume).await;
            }
            return self.show_bound(claim, &volume).await;
        }
        let text = format!("volume {name:?} already bound to a different claim.");
        self.say(claim, Type::Warning, "FailedBinding", &text);
        Ok(())
    }

    async fn show_bound(&self, claim: &Object, volume: &Object) -> Result<(), Status> {
        let mut capacity = volume["spec"]["capacity"].clone();
        if matching::wants_more(claim) && volume.annotation(PROVISIONED_BY) == Some(PROVISIONER) {
            capacity["storage"] = claim["spec"]["resources"]["requests"]["storage"].clone();
            let mut volume = Value::clone(volume);
            volume["spec"]["capacity"] = capacity.clone();
            self.api.update(VOLUMES, volume).await?;
        }
        let status = json!({"phase": "Bound", "accessModes": volume["spec"]["accessModes"], "capacity": capacity});
        self.api.set_status(CLAIMS, claim, status).await.map(drop)
    }

    fn say(&self, claim: &Object, kind: Type, reason: &str, text: &str) {
        self.events.record(claim, kind, reason, text);
    }
}

fn reference(claim: &Value) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "namespace": claim.namespace(),
        "name": claim.name(),
        "uid": claim.uid(),
        "resourceVersion": claim.text("/metadata/resourceVersion"),
    })
}

/// The volume that a directory made for a claim is shown as.
fn volume(claim: &Value, class: &Value, name: &str, path: &str) -> Value {
    let here = json!({"key": "kubernetes.io/hostname", "operator": "In", "values": [NODE_NAME]});
    json!({
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": name, "annotations": {PROVISIONED_BY: PROVISIONER}},
        "spec": {
            "accessModes": claim["spec"]["accessModes"],
            "capacity": {"storage": claim["spec"]["resources"]["requests"]["storage"]},
            "claimRef": reference(claim),
            "local": {"path": path},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [here]}]}},
            "persistentVolumeReclaimPolicy": class["reclaimPolicy"],
            "storageClassName": class.name(),
            "volumeMode": "Filesystem",
        },
    })
}

impl Reconcile for Claims {
    type Key = Key;
    type Error = Status;

    fn name(&self) -> &'static str {
        "persistentvolumeclaim"
    }

    async fn reconcile(&self, key: &Key) -> Result<Next, Status> {
        if let Some(claim) = self.api.find(CLAIMS, &key.namespace, &key.name).await? {
            self.sync(&claim).await?;
        }
        Ok(Next::Done)
    }
}
