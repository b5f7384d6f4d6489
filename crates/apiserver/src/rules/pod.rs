//! Pods and pod templates.

use std::collections::HashSet;

use serde_json::{Value, json};

use super::{Errors, Rules, container, items, list, metadata, set_default};
use crate::{object, status::FieldError};

/// Pods.
pub struct Pod;

impl Rules for Pod {
    fn default(&self, object: &mut Value) {
        if let Some(spec) = object.get_mut("spec").filter(|s| s.is_object()) {
            default_spec(spec);
            set_default(spec, "enableServiceLinks", true);
            let host_network = spec["hostNetwork"] == true;
            default_requests(spec, host_network);
        }
    }

    fn prepare_create(&self, object: &mut Value) {
        let class = qos_class(&object["spec"]);
        object["status"] = json!({"phase": "Pending", "qosClass": class});
    }

    fn prepare_update(&self, new: &mut Value, old: &Value) {
        if !old["status"]["qosClass"].is_null() {
            set_default(&mut new["status"], "qosClass", old["status"]["qosClass"].clone());
        }
    }

    fn validate(&self, object: &Value, errors: &mut Errors) {
        validate_spec(&object["spec"], "spec", errors);
    }

    fn validate_update(&self, new: &Value, old: &Value, errors: &mut Errors) {
        let mut allowed = new["spec"].clone();
        restore_mutable(&mut allowed, &old["spec"]);
        if allowed != old["spec"] {
            errors.push(FieldError::forbidden(
                "spec",
                "pod updates may not change fields other than `spec.containers[*].image`,\
                 `spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` \
                 (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` \
                 (allow it to be set to 1 if it was previously negative)",
            ));
        }
    }

    fn has_generation(&self) -> bool {
        true
    }
}

/// Puts the old values of the fields that may change into `spec`.
fn restore_mutable(spec: &mut Value, old: &Value) {
    for lists in ["containers", "initContainers"] {
        let images: Vec<Value> = list(&old[lists]).iter().map(|c| c["image"].clone()).collect();
        if let Some(list) = spec.get_mut(lists) {
            for (container, image) in items(list).zip(images) {
                container["image"] = image;
            }
        }
    }
    for field in ["activeDeadlineSeconds", "tolerations", "schedulingGates", "ephemeralContainers"] {
        put_back(spec, old, field);
    }
    // Binding: the node may be chosen once.
    if old["nodeName"].as_str().is_none_or(str::is_empty) {
        put_back(spec, old, "nodeName");
    }
}

fn put_back(spec: &mut Value, old: &Value, field: &str) {
    match old.get(field) {
        Some(value) => spec[field] = value.clone(),
        None => {
            object::as_map(spec).shift_remove(field);
        }
    }
}

/// Defaults that pods and pod templates share.
pub fn default_spec(spec: &mut Value) {
    set_default(spec, "restartPolicy", "Always");
    set_default(spec, "terminationGracePeriodSeconds", 30);
    set_default(spec, "dnsPolicy", "ClusterFirst");
    if let Some(account) = spec["serviceAccountName"].as_str().map(str::to_owned) {
        set_default(spec, "serviceAccount", account);
    } else if let Some(account) = spec["serviceAccount"].as_str().map(str::to_owned) {
        set_default(spec, "serviceAccountName", account);
    }
    object::as_map(spec).retain(|_, v| !v.is_null());
    set_default(spec, "securityContext", json!({}));
    set_default(spec, "schedulerName", "default-scheduler");
    for lists in ["initContainers", "containers"] {
        if let Some(list) = spec.get_mut(lists) {
            items(list).for_each(container::default);
        }
    }
    if let Some(volumes) = spec.get_mut("volumes") {
        items(volumes).for_each(default_volume);
    }
}

fn default_volume(volume: &mut Value) {
    const SOURCES: [&str; 3] = ["configMap", "secret", "downwardAPI"];
    let Some(map) = volume.as_object() else {
        return;
    };
    if map.keys().all(|k| k == "name") {
        volume["emptyDir"] = json!({});
    }
    for source in SOURCES {
        if let Some(source) = volume.get_mut(source).filter(|s| s.is_object()) {
            set_default(source, "defaultMode", 0o644);
            default_field_refs(source);
        }
    }
    if let Some(host) = volume.get_mut("hostPath").filter(|s| s.is_object()) {
        set_default(host, "type", "");
    }
    if let Some(projected) = volume.get_mut("projected").filter(|s| s.is_object()) {
        set_default(projected, "defaultMode", 0o644);
        for source in projected.get_mut("sources").into_iter().flat_map(items) {
            if let Some(token) = source.get_mut("serviceAccountToken") {
                set_default(token, "expirationSeconds", 3600);
            }
            if let Some(downward) = source.get_mut("downwardAPI") {
                default_field_refs(downward);
            }
        }
    }
}

fn default_field_refs(source: &mut Value) {
    for item in source.get_mut("items").into_iter().flat_map(items) {
        if let Some(reference) = item.get_mut("fieldRef").filter(|r| r.is_object()) {
            set_default(reference, "apiVersion", "v1");
        }
    }
}

fn default_requests(spec: &mut Value, host_network: bool) {
    for lists in ["initContainers", "containers"] {
        for container in spec.get_mut(lists).into_iter().flat_map(items) {
            if let Some(limits) = container["resources"]["limits"].as_object().cloned() {
                let requests = &mut container["resources"]["requests"];
                for (name, limit) in limits {
                    set_default(requests, &name, limit);
                }
            }
            object::map_at(container, "resources").retain(|_, v| !v.is_null());
            if host_network {
                for port in container.get_mut("ports").into_iter().flat_map(items) {
                    let number = port["containerPort"].clone();
                    set_default(port, "hostPort", number);
                }
            }
        }
    }
}

fn qos_class(spec: &Value) -> &'static str {
    let containers: Vec<&Value> = list(&spec["initContainers"]).iter().chain(list(&spec["containers"])).collect();
    let empty = |v: &Value| v.as_object().is_none_or(serde_json::Map::is_empty);
    if containers.iter().all(|c| empty(&c["resources"]["limits"]) && empty(&c["resources"]["requests"])) {
        return "BestEffort";
    }
    let guaranteed = containers.iter().all(|c| {
        ["cpu", "memory"].iter().all(|name| {
            let limit = &c["resources"]["limits"][name];
            !limit.is_null() && *limit == c["resources"]["requests"][name]
        })
    });
    if guaranteed { "Guaranteed" } else { "Burstable" }
}

/// What is wrong with a pod's specification at `path`.
pub fn validate_spec(spec: &Value, path: &str, errors: &mut Errors) {
    validate_spec_with(spec, path, &[], errors);
}

/// The same, where containers may also mount volumes that come from elsewhere (`claims`, by name).
pub fn validate_spec_with(spec: &Value, path: &str, claims: &[&str], errors: &mut Errors) {
    let own = list(&spec["volumes"]).iter().filter_map(|v| v["name"].as_str());
    let names: HashSet<&str> = own.chain(claims.iter().copied()).collect();
    volumes(&spec["volumes"], &format!("{path}.volumes"), errors);
    if list(&spec["containers"]).is_empty() {
        errors.push(FieldError::required(format!("{path}.containers"), ""));
    }
    let mut seen = HashSet::new();
    for lists in ["initContainers", "containers"] {
        container::validate_all(&spec[lists], &format!("{path}.{lists}"), &names, &mut seen, errors);
    }
    for (index, container) in list(&spec["initContainers"]).iter().enumerate() {
        let policy = &container["restartPolicy"];
        if !policy.is_null() && policy != "Always" {
            let field = format!("{path}.initContainers[{index}].restartPolicy");
            errors.push(FieldError::not_supported(field, policy, &["Always"]));
        }
    }
    one_of(spec, path, "restartPolicy", &["Always", "OnFailure", "Never"], errors);
    let policies = ["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"];
    one_of(spec, path, "dnsPolicy", &policies, errors);
    metadata::labels(&spec["nodeSelector"], &format!("{path}.nodeSelector"), errors);
    if spec["terminationGracePeriodSeconds"].as_i64().is_some_and(|s| s < 0) {
        errors.push(FieldError::invalid(
            format!("{path}.terminationGracePeriodSeconds"),
            &spec["terminationGracePeriodSeconds"],
            "must be greater than or equal to 0",
        ));
    }
}

fn one_of(spec: &Value, path: &str, field: &str, allowed: &[&str], errors: &mut Errors) {
    if !allowed.iter().any(|a| spec[field] == *a) {
        errors.push(FieldError::not_supported(format!("{path}.{field}"), &spec[field], allowed));
    }
}

fn volumes(value: &Value, path: &str, errors: &mut Errors) {
    let mut seen = HashSet::new();
    for (index, volume) in list(value).iter().enumerate() {
        let field = format!("{path}[{index}].name");
        let name = volume["name"].as_str().unwrap_or_default();
        if name.is_empty() {
            errors.push(FieldError::required(field, ""));
        } else if let Some(text) = super::names::dns1123_label(name) {
            errors.push(FieldError::invalid(field, &name.into(), text));
        } else if !seen.insert(name) {
            errors.push(FieldError::duplicate(field, &name.into()));
        }
        let sources = volume.as_object().map_or(0, |m| m.keys().filter(|k| *k != "name").count());
        if sources > 1 {
            errors.push(FieldError::forbidden(format!("{path}[{index}]"), "may not specify more than 1 volume type"));
        }
    }
}
