//! Persistent volumes: what claims them, what they are, which classes there are.

use serde_json::{Value, json};

use super::{Errors, Rules, immutable, list, set_default};
use crate::{object, status::FieldError};

const MODES: [&str; 4] = ["ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"];

/// Keeps an object that is in use from going.
fn protect(object: &mut Value, finalizer: &str) {
    let finalizers = object::map_at(object, "metadata").entry("finalizers").or_insert_with(|| Value::Array(Vec::new()));
    if let Value::Array(list) = finalizers
        && !list.iter().any(|f| f == finalizer)
    {
        list.push(finalizer.into());
    }
}

fn access_modes(spec: &Value, path: &str, errors: &mut Errors) {
    let field = format!("{path}.accessModes");
    let modes = list(&spec["accessModes"]);
    if modes.is_empty() {
        errors.push(FieldError::required(field.clone(), "at least 1 access mode is required"));
    }
    for mode in modes.iter().filter(|m| !MODES.iter().any(|known| *m == known)) {
        errors.push(FieldError::not_supported(field.clone(), mode, &MODES));
    }
    if modes.len() > 1 && modes.iter().any(|m| m == "ReadWriteOncePod") {
        let text = "may not use ReadWriteOncePod with other access modes";
        errors.push(FieldError::forbidden(field, text));
    }
}

fn volume_mode(spec: &Value, path: &str, errors: &mut Errors) {
    let mode = &spec["volumeMode"];
    if mode != "Filesystem" && mode != "Block" {
        errors.push(FieldError::not_supported(format!("{path}.volumeMode"), mode, &["Block", "Filesystem"]));
    }
}

/// Defaults of a claim's specification, in a claim of its own or in a template of claims.
pub fn default_claim_spec(spec: &mut Value) {
    set_default(spec, "volumeMode", "Filesystem");
}

fn validate_claim_spec(spec: &Value, errors: &mut Errors) {
    access_modes(spec, "spec", errors);
    let field = "spec.resources[storage]";
    match spec.pointer("/resources/requests/storage") {
        None | Some(Value::Null) => errors.push(FieldError::required(field, "")),
        Some(size) if !is_positive_quantity(size) => {
            errors.push(FieldError::invalid(field, size, "must be greater than zero"));
        }
        Some(_) => {}
    }
    volume_mode(spec, "spec", errors);
}

fn is_positive_quantity(value: &Value) -> bool {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    text.starts_with(|c: char| c.is_ascii_digit() || c == '.' || c == '+')
        && text.contains(|c| ('1'..='9').contains(&c))
}

/// Claims of storage.
pub struct PersistentVolumeClaim;

impl Rules for PersistentVolumeClaim {
    fn default(&self, object: &mut Value) {
        if let Some(spec) = object.get_mut("spec").filter(|s| s.is_object()) {
            default_claim_spec(spec);
        }
    }

    fn prepare_create(&self, object: &mut Value) {
        protect(object, "kubernetes.io/pvc-protection");
        object["status"] = json!({"phase": "Pending"});
    }

    fn validate(&self, object: &Value, errors: &mut Errors) {
        validate_claim_spec(&object["spec"], errors);
    }

    fn validate_update(&self, new: &Value, old: &Value, errors: &mut Errors) {
        if restored(&new["spec"], &old["spec"]) != old["spec"] {
            let text = "spec is immutable after creation except resources.requests and \
                        volumeAttributesClassName for bound claims";
            errors.push(FieldError::forbidden("spec", text));
        }
    }
}

/// `spec` with the old values of what may still change: the volume and the class, where none was chosen yet, and
/// the size.
fn restored(spec: &Value, old: &Value) -> Value {
    let mut spec = spec.clone();
    let unchosen = |field: &str| old[field].as_str().is_none_or(str::is_empty);
    if unchosen("volumeName") {
        put_back(&mut spec, old, "volumeName");
    }
    if old["storageClassName"].is_null() {
        put_back(&mut spec, old, "storageClassName");
    }
    if let (Some(new), Some(old)) = (spec.pointer_mut("/resources/requests"), old.pointer("/resources/requests")) {
        *new = old.clone();
    }
    spec
}

fn put_back(spec: &mut Value, old: &Value, field: &str) {
    match old.get(field) {
        Some(value) => spec[field] = value.clone(),
        None => {
            object::as_map(spec).shift_remove(field);
        }
    }
}

/// Members of a PersistentVolume's specification that are not a source of storage.
const NOT_A_SOURCE: [&str; 9] = [
    "accessModes",
    "capacity",
    "claimRef",
    "mountOptions",
    "nodeAffinity",
    "persistentVolumeReclaimPolicy",
    "storageClassName",
    "volumeAttributesClassName",
    "volumeMode",
];

fn sources(spec: &Value) -> Vec<&String> {
    let members = spec.as_object().into_iter().flatten();
    members.filter(|(key, v)| !v.is_null() && !NOT_A_SOURCE.contains(&key.as_str())).map(|(key, _)| key).collect()
}

/// Pieces of storage.
pub struct PersistentVolume;

impl Rules for PersistentVolume {
    fn default(&self, object: &mut Value) {
        let Some(spec) = object.get_mut("spec").filter(|s| s.is_object()) else { return };
        set_default(spec, "persistentVolumeReclaimPolicy", "Retain");
        set_default(spec, "volumeMode", "Filesystem");
        if let Some(host) = spec.get_mut("hostPath").filter(|h| h.is_object()) {
            set_default(host, "type", "");
        }
    }

    fn prepare_create(&self, object: &mut Value) {
        protect(object, "kubernetes.io/pv-protection");
        object["status"] = json!({"phase": "Pending"});
    }

    fn validate(&self, object: &Value, errors: &mut Errors) {
        let spec = &object["spec"];
        access_modes(spec, "spec", errors);
        if spec["capacity"]["storage"].is_null() {
            errors.push(FieldError::required("spec.capacity", ""));
        }
        let policy = &spec["persistentVolumeReclaimPolicy"];
        let policies = ["Delete", "Recycle", "Retain"];
        if !policies.iter().any(|p| policy == p) {
            errors.push(FieldError::not_supported("spec.persistentVolumeReclaimPolicy", policy, &policies));
        }
        match sources(spec).as_slice() {
            [] => errors.push(FieldError::required("spec", "must specify a volume type")),
            [_] => {}
            [_, second, ..] => {
                let text = "may not specify more than 1 volume type";
                errors.push(FieldError::forbidden(format!("spec.{second}"), text));
            }
        }
        if spec["local"].is_object() && spec["nodeAffinity"].is_null() {
            errors.push(FieldError::required("spec.nodeAffinity", "Local volume requires node affinity"));
        }
        volume_mode(spec, "spec", errors);
    }

    fn validate_update(&self, new: &Value, old: &Value, errors: &mut Errors) {
        let of = |object: &Value| -> Vec<Value> {
            sources(&object["spec"]).into_iter().map(|s| json!({s.as_str(): object["spec"][s]})).collect()
        };
        if of(new) != of(old) {
            let text = "spec.persistentvolumesource is immutable after creation";
            errors.push(FieldError::forbidden("spec.persistentvolumesource", text));
        }
        immutable("spec.volumeMode", &new["spec"]["volumeMode"], &old["spec"]["volumeMode"], errors);
    }
}

/// Classes of storage.
pub struct StorageClass;

impl Rules for StorageClass {
    fn default(&self, object: &mut Value) {
        set_default(object, "reclaimPolicy", "Delete");
        set_default(object, "volumeBindingMode", "Immediate");
    }

    fn validate(&self, object: &Value, errors: &mut Errors) {
        if object["provisioner"].as_str().is_none_or(str::is_empty) {
            errors.push(FieldError::required("provisioner", ""));
        }
        for (field, allowed) in
            [("reclaimPolicy", ["Delete", "Retain"]), ("volumeBindingMode", ["Immediate", "WaitForFirstConsumer"])]
        {
            if !allowed.iter().any(|a| object[field] == *a) {
                errors.push(FieldError::not_supported(field, &object[field], &allowed));
            }
        }
    }

    fn validate_update(&self, new: &Value, old: &Value, errors: &mut Errors) {
        for field in ["parameters", "provisioner", "reclaimPolicy"] {
            if new[field] != old[field] {
                errors.push(FieldError::forbidden(field, &format!("updates to {field} are forbidden.")));
            }
        }
        immutable("volumeBindingMode", &new["volumeBindingMode"], &old["volumeBindingMode"], errors);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim() -> Value {
        json!({"metadata": {"name": "c"}, "spec": {
            "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}})
    }

    fn errors(rules: &dyn Rules, object: &Value) -> Vec<String> {
        let mut object = object.clone();
        rules.default(&mut object);
        let mut errors = Vec::new();
        rules.validate(&object, &mut errors);
        errors.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_claim_says_how_much_and_how() {
        assert_eq!(errors(&PersistentVolumeClaim, &claim()), [""; 0]);
        let empty = json!({"spec": {}});
        assert_eq!(
            errors(&PersistentVolumeClaim, &empty),
            [
                "spec.accessModes: Required value: at least 1 access mode is required",
                "spec.resources[storage]: Required value",
            ]
        );
    }

    #[test]
    fn a_bound_claim_only_changes_its_size() {
        let update = |change: &dyn Fn(&mut Value)| {
            let mut new = claim();
            change(&mut new);
            let mut errors = Vec::new();
            PersistentVolumeClaim.validate_update(&new, &claim(), &mut errors);
            errors.len()
        };
        assert_eq!(update(&|c| c["spec"]["resources"]["requests"]["storage"] = json!("2Gi")), 0);
        assert_eq!(update(&|c| c["spec"]["volumeName"] = json!("pv")), 0);
        assert_eq!(update(&|c| c["spec"]["storageClassName"] = json!("standard")), 0);
        assert_eq!(update(&|c| c["spec"]["accessModes"] = json!(["ReadOnlyMany"])), 1);
    }

    #[test]
    fn a_volume_has_one_source() {
        let mut volume = json!({"spec": {"accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1Gi"}}});
        assert_eq!(errors(&PersistentVolume, &volume), ["spec: Required value: must specify a volume type"]);
        volume["spec"]["hostPath"] = json!({"path": "/data"});
        assert_eq!(errors(&PersistentVolume, &volume), [""; 0]);
    }
}
