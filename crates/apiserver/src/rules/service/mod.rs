//! Services. Addresses, node ports and address families are given out by the engine.

mod addresses;
mod ports;
mod traffic;

use serde_json::{Value, json};

use super::{Errors, Rules, items, list, metadata, names, set_default};
use crate::status::FieldError;
pub use addresses::special_address;

/// Services.
pub struct Service;

/// How long a client stays with its endpoint unless the Service says otherwise.
const AFFINITY_SECONDS: u64 = 10_800;
const TYPES: [&str; 4] = ["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"];

impl Rules for Service {
    fn default(&self, object: &mut Value) {
        set_default(object, "spec", json!({}));
        let spec = &mut object["spec"];
        set_default(spec, "type", "ClusterIP");
        set_default(spec, "sessionAffinity", "None");
        let kind = spec["type"].as_str().unwrap_or_default().to_owned();
        if kind != "ExternalName" {
            set_default(spec, "internalTrafficPolicy", "Cluster");
        }
        if spec["sessionAffinity"] == "ClientIP"
            && spec["sessionAffinityConfig"]["clientIP"]["timeoutSeconds"].is_null()
        {
            spec["sessionAffinityConfig"] = json!({"clientIP": {"timeoutSeconds": AFFINITY_SECONDS}});
        }
        if traffic::is_external(spec) {
            set_default(spec, "externalTrafficPolicy", "Cluster");
        }
        if kind == "LoadBalancer" {
            set_default(spec, "allocateLoadBalancerNodePorts", true);
        }
        for port in spec.get_mut("ports").into_iter().flat_map(items) {
            set_default(port, "protocol", "TCP");
            let number = port["port"].clone();
            if port.get("targetPort").is_none_or(|t| *t == 0 || *t == "") {
                port["targetPort"] = number;
            }
        }
    }

    fn prepare_create(&self, object: &mut Value) {
        object["status"] = json!({"loadBalancer": {}});
    }

    fn prepare_update(&self, new: &mut Value, old: &Value) {
        let (new_spec, old_spec) = (&mut new["spec"], &old["spec"]);
        drop_type_dependent(new_spec, old_spec);
        if new_spec["type"] == "ExternalName" {
            return;
        }
        // An update that leaves the allocated addresses out keeps them.
        for field in ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
            if let Some(value) = old_spec.get(field).filter(|v| !v.is_null()) {
                set_default(new_spec, field, value.clone());
            }
        }
        keep_node_ports(new_spec, old_spec);
    }

    fn validate(&self, object: &Value, errors: &mut Errors) {
        let spec = &object["spec"];
        if !TYPES.iter().any(|t| spec["type"] == *t) {
            errors.push(FieldError::not_supported("spec.type", &spec["type"], &TYPES));
        }
        metadata::labels(&spec["selector"], "spec.selector", errors);
        let headless = spec["clusterIP"] == "None";
        if spec["type"] == "ExternalName" {
            external_name(spec, errors);
        } else if list(&spec["ports"]).is_empty() && !headless {
            errors.push(FieldError::required("spec.ports", ""));
        }
        ports::validate(spec, errors);
        traffic::validate(spec, errors);
        addresses::validate(spec, errors);
    }

    fn validate_update(&self, new: &Value, old: &Value, errors: &mut Errors) {
        addresses::validate_update(&new["spec"], &old["spec"], errors);
        let class = |o: &Value| o["spec"]["loadBalancerClass"].clone();
        let balanced = |o: &Value| o["spec"]["type"] == "LoadBalancer";
        if balanced(new) && balanced(old) && class(new) != class(old) {
            errors.push(FieldError::invalid("spec.loadBalancerClass", &class(new), "may not change once set"));
        }
    }

    fn name_error(&self, name: &str) -> Option<String> {
        names::dns1035_label(name)
    }
}

fn external_name(spec: &Value, errors: &mut Errors) {
    for field in ["clusterIPs", "ipFamilies"] {
        if !list(&spec[field]).is_empty() {
            errors.push(FieldError::forbidden(format!("spec.{field}"), "may not be set for ExternalName services"));
        }
    }
    if !spec["ipFamilyPolicy"].is_null() {
        errors.push(FieldError::forbidden("spec.ipFamilyPolicy", "may not be set for ExternalName services"));
    }
    let name = spec["externalName"].as_str().unwrap_or_default();
    // A dot at the end says that the name is complete.
    let name = name.strip_suffix('.').unwrap_or(name);
    if name.is_empty() {
        errors.push(FieldError::required("spec.externalName", ""));
    } else if let Some(text) = names::dns1123_subdomain(name) {
        errors.push(FieldError::invalid("spec.externalName", &name.into(), text));
    }
}

/// Takes away what the former type needed and the user left as it was.
fn drop_type_dependent(new: &mut Value, old: &Value) {
    let same = |new: &Value, field: &str| new[field] == old[field];
    let needs = |spec: &Value, field: &str| match field {
        "clusterIP" | "clusterIPs" | "ipFamilies" | "ipFamilyPolicy" => spec["type"] != "ExternalName",
        "externalTrafficPolicy" => traffic::is_external(spec),
        _ => spec["type"] == "LoadBalancer",
    };
    let fields = [
        "clusterIPs",
        "clusterIP",
        "ipFamilies",
        "ipFamilyPolicy",
        "externalTrafficPolicy",
        "allocateLoadBalancerNodePorts",
        "loadBalancerClass",
    ];
    for field in fields {
        if needs(old, field) && !needs(new, field) && same(new, field) {
            crate::object::as_map(new).shift_remove(field);
        }
    }
    let uses = |spec: &Value| matches!(spec["type"].as_str(), Some("NodePort" | "LoadBalancer"));
    if uses(old) && !uses(new) {
        let old_ports = list(&old["ports"]).to_vec();
        for port in new.get_mut("ports").into_iter().flat_map(items) {
            if old_ports.iter().any(|o| o["nodePort"] == port["nodePort"]) {
                crate::object::as_map(port).shift_remove("nodePort");
            }
        }
    }
}

/// An update that leaves node ports out keeps them.
fn keep_node_ports(new: &mut Value, old: &Value) {
    if !matches!(new["type"].as_str(), Some("NodePort" | "LoadBalancer")) {
        return;
    }
    let old_ports = list(&old["ports"]).to_vec();
    for port in new.get_mut("ports").into_iter().flat_map(items) {
        let same = |o: &&Value| o["port"] == port["port"] && o["protocol"] == port["protocol"];
        if let Some(number) = old_ports.iter().find(same).and_then(|o| o.get("nodePort")) {
            set_default(port, "nodePort", number.clone());
        }
    }
}

#[cfg(test)]
mod tests;
