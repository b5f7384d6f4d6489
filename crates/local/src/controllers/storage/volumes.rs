//! PersistentVolumes: free, bound, and what becomes of them when their claim is gone.

use lateen_apiserver::{Object, Status, gvr};
use serde_json::json;

use super::directories::Directories;
use super::{PROVISIONED_BY, PROVISIONER, PV_PROTECTION, claim_key, matching, without_finalizer};
use crate::clock::Clock;
use crate::controllers::api::{Api, Key};
use crate::controllers::object::Meta;
use crate::controllers::queue::{Next, Reconcile};
use crate::events::{Recorder, Type};

const VOLUMES: &lateen_apiserver::Gvr = &gvr::PERSISTENT_VOLUMES;

/// The controller of volumes.
pub struct Volumes {
    api: Api,
    events: Recorder,
    directories: Directories,
    clock: Clock,
}

impl Volumes {
    /// A controller that works through `api`.
    #[must_use]
    pub fn new(api: Api, events: Recorder, directories: Directories, clock: Clock) -> Self {
        Self { api, events, directories, clock }
    }

    async fn sync(&self, volume: &Object) -> Result<(), Status> {
        let phase = self.phase(volume).await?;
        let mut status = volume["status"].clone();
        if volume.text("/status/phase") != phase {
            status = json!({"phase": phase, "lastPhaseTransitionTime": self.clock.stamp()});
        }
        let volume = self.api.set_status(VOLUMES, volume, status).await?;
        if phase == "Released" && volume["spec"]["persistentVolumeReclaimPolicy"] == "Delete" {
            return self.reclaim(&volume).await;
        }
        match without_finalizer(&volume, PV_PROTECTION) {
            Some(free) if volume.is_terminating() && phase != "Bound" => self.api.update(VOLUMES, free).await.map(drop),
            _ => Ok(()),
        }
    }

    async fn phase(&self, volume: &Object) -> Result<&'static str, Status> {
        let Some(key) = claim_key(volume) else { return Ok("Available") };
        let claim = self.api.find(&gvr::PERSISTENT_VOLUME_CLAIMS, &key.namespace, &key.name).await?;
        let own = claim.filter(|claim| matching::is_for(volume, claim));
        Ok(match own {
            Some(claim) if claim["spec"]["volumeName"] == volume.name() => "Bound",
            None if !volume.text("/spec/claimRef/uid").is_empty() => {
                if volume.text("/status/phase") == "Failed" {
                    "Failed"
                } else {
                    "Released"
                }
            }
            _ => "Available",
        })
    }

    /// Its claim is gone, and with it what was stored.
    async fn reclaim(&self, volume: &Object) -> Result<(), Status> {
        let fail = |text: &str| self.events.record(volume, Type::Warning, "VolumeFailedDelete", text);
        if volume.annotation(PROVISIONED_BY) != Some(PROVISIONER) {
            let text = "error getting deleter volume plugin for volume: no deletable volume plugin matched";
            fail(text);
            let status = json!({"phase": "Failed", "message": text, "lastPhaseTransitionTime": self.clock.stamp()});
            return self.api.set_status(VOLUMES, volume, status).await.map(drop);
        }
        if let Err(error) = self.directories.remove(volume.name()).await {
            let text = format!("remove {}: {error}", self.directories.path(volume.name()).display());
            fail(&text);
            return Err(Status::internal(text));
        }
        self.api.delete(VOLUMES, volume).await?;
        match self.api.find(VOLUMES, "", volume.name()).await?.and_then(|v| without_finalizer(&v, PV_PROTECTION)) {
            Some(free) => self.api.update(VOLUMES, free).await.map(drop),
            None => Ok(()),
        }
    }
}

impl Reconcile for Volumes {
    type Key = Key;
    type Error = Status;

    fn name(&self) -> &'static str {
        "persistentvolume"
    }

    async fn reconcile(&self, key: &Key) -> Result<Next, Status> {
        if let Some(volume) = self.api.find(VOLUMES, "", &key.name).await? {
            self.sync(&volume).await?;
        }
        Ok(Next::Done)
    }
}
