//! Persistent storage: claims get directories below the cluster's state, shown as PersistentVolumes.

mod claims;
mod consumers;
mod directories;
mod ephemeral;
mod matching;
mod volumes;

use lateen_apiserver::{Object, Status, gvr};
use serde_json::{Value, json};

use super::api::{Api, Key};
use super::object::Meta;

pub use claims::Claims;
pub use consumers::{claims_of, unbound};
pub use directories::Directories;
pub use ephemeral::{Ephemeral, has_ephemeral};
pub use volumes::Volumes;

/// Who makes volumes of the class [`DEFAULT_CLASS`].
pub const PROVISIONER: &str = "lateen.io/directory";
/// The class of claims that name none.
const DEFAULT_CLASS: &str = "standard";
const IS_DEFAULT: &str = "storageclass.kubernetes.io/is-default-class";
/// Says which provisioner made a volume.
pub const PROVISIONED_BY: &str = "pv.kubernetes.io/provisioned-by";
const SELECTED_NODE: &str = "volume.kubernetes.io/selected-node";
const PVC_PROTECTION: &str = "kubernetes.io/pvc-protection";
const PV_PROTECTION: &str = "kubernetes.io/pv-protection";

/// Make the default class where the cluster has none of its name.
pub async fn ensure_class(api: Api) -> Result<(), Status> {
    if api.find(&gvr::STORAGE_CLASSES, "", DEFAULT_CLASS).await?.is_some() {
        return Ok(());
    }
    let class = json!({
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": DEFAULT_CLASS, "annotations": {IS_DEFAULT: "true"}},
        "provisioner": PROVISIONER,
        "reclaimPolicy": "Delete",
        "volumeBindingMode": "Immediate",
        "allowVolumeExpansion": true,
    });
    api.create(&gvr::STORAGE_CLASSES, class).await.map(drop)
}

/// The key of the claim that a volume is bound to, or set aside for.
#[must_use]
pub fn claim_key(volume: &Value) -> Option<Key> {
    let name = volume.text("/spec/claimRef/name");
    (!name.is_empty()).then(|| Key::new(volume.text("/spec/claimRef/namespace"), name))
}

/// Whether a class lets claims wait until a pod uses them.
fn waits_for_consumer(class: &Value) -> bool {
    class["volumeBindingMode"] == "WaitForFirstConsumer"
}

fn without_finalizer(object: &Object, finalizer: &str) -> Option<Value> {
    let kept: Vec<Value> = object.items("/metadata/finalizers").iter().filter(|f| *f != finalizer).cloned().collect();
    (kept.len() < object.items("/metadata/finalizers").len()).then(|| {
        let mut object = Value::clone(object);
        object["metadata"]["finalizers"] = kept.into();
        object
    })
}
