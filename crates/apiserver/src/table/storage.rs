//! Rows of volumes, claims and their classes, and of quotas.

use serde_json::Value;

use super::{Layout, age, list, or_none, string, text, wide};

const DEFAULT_CLASS: &str = "storageclass.kubernetes.io/is-default-class";

/// Whether claims that name no class get this one.
pub fn is_default(class: &Value) -> bool {
    class["metadata"]["annotations"][DEFAULT_CLASS] == "true"
}

/// `RWO,ROX`
fn access_modes(modes: &Value) -> Value {
    let short = |mode: &Value| match mode.as_str() {
        Some("ReadWriteOnce") => "RWO",
        Some("ReadOnlyMany") => "ROX",
        Some("ReadWriteMany") => "RWX",
        Some("ReadWriteOncePod") => "RWOP",
        _ => "",
    };
    list(modes).iter().map(short).collect::<Vec<_>>().join(",").into()
}

fn phase(object: &Value) -> String {
    if object["metadata"]["deletionTimestamp"].is_string() {
        "Terminating".into()
    } else {
        string(&object["status"]["phase"])
    }
}

fn attributes_class(spec: &Value) -> Value {
    spec["volumeAttributesClassName"].as_str().unwrap_or("<unset>").into()
}

fn or_unset(value: &Value) -> Value {
    value.as_str().filter(|text| !text.is_empty()).unwrap_or("<unset>").into()
}

fn claim(object: &Value) -> Vec<Value> {
    let (spec, status) = (&object["spec"], &object["status"]);
    vec![
        phase(object).into(),
        string(&spec["volumeName"]).into(),
        string(&status["capacity"]["storage"]).into(),
        access_modes(&status["accessModes"]),
        string(&spec["storageClassName"]).into(),
        attributes_class(spec),
        age(object),
        or_unset(&spec["volumeMode"]),
    ]
}

fn volume(object: &Value) -> Vec<Value> {
    let spec = &object["spec"];
    let claim = &spec["claimRef"];
    let claim = if claim.is_object() {
        format!("{}/{}", string(&claim["namespace"]), string(&claim["name"]))
    } else {
        String::new()
    };
    vec![
        string(&spec["capacity"]["storage"]).into(),
        access_modes(&spec["accessModes"]),
        spec["persistentVolumeReclaimPolicy"].clone(),
        phase(object).into(),
        claim.into(),
        string(&spec["storageClassName"]).into(),
        attributes_class(spec),
        string(&object["status"]["reason"]).into(),
        age(object),
        or_unset(&spec["volumeMode"]),
    ]
}

fn class(object: &Value) -> Vec<Value> {
    vec![
        object["provisioner"].clone(),
        object["reclaimPolicy"].clone(),
        object["volumeBindingMode"].clone(),
        (object["allowVolumeExpansion"] == true).to_string().into(),
        age(object),
    ]
}

fn priority_class(object: &Value) -> Vec<Value> {
    vec![
        object["value"].clone(),
        (object["globalDefault"] == true).to_string().into(),
        age(object),
        or_none(string(&object["preemptionPolicy"])).into(),
    ]
}

/// The layout of a kind, if it is one of these.
pub fn layout(group: &str, plural: &str) -> Option<Layout> {
    Some(match (group, plural) {
        ("", "persistentvolumeclaims") => Layout {
            columns: const {
                &[
                    text("Status"),
                    text("Volume"),
                    text("Capacity"),
                    text("Access Modes"),
                    text("StorageClass"),
                    text("VolumeAttributesClass"),
                    text("Age"),
                    wide("VolumeMode"),
                ]
            },
            cells: claim,
        },
        ("", "persistentvolumes") => Layout {
            columns: const {
                &[
                    text("Capacity"),
                    text("Access Modes"),
                    text("Reclaim Policy"),
                    text("Status"),
                    text("Claim"),
                    text("StorageClass"),
                    text("VolumeAttributesClass"),
                    text("Reason"),
                    text("Age"),
                    wide("VolumeMode"),
                ]
            },
            cells: volume,
        },
        ("storage.k8s.io", "storageclasses") => Layout {
            columns: const {
                &[
                    text("Provisioner"),
                    text("ReclaimPolicy"),
                    text("VolumeBindingMode"),
                    text("AllowVolumeExpansion"),
                    text("Age"),
                ]
            },
            cells: class,
        },
        ("scheduling.k8s.io", "priorityclasses") => Layout {
            columns: const {
                &[
                    super::number("Value"),
                    super::Column { name: "Global-Default", kind: "boolean", wide: false },
                    text("Age"),
                    text("PreemptionPolicy"),
                ]
            },
            cells: priority_class,
        },
        _ => return None,
    })
}
