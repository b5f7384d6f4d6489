//! Services.

use std::collections::HashSet;

use serde_json::{Value, json};

use super::{Errors, Rules, container::port_error, items, list, metadata, names, set_default};
use crate::status::FieldError;

/// Services.
pub struct Service;

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
            set_default(spec, "ipFamilies", json!(["IPv4"]));
            set_default(spec, "ipFamilyPolicy", "SingleStack");
        }
        if matches!(kind.as_str(), "NodePort" | "LoadBalancer") {
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
        if new_spec["type"] == "ExternalName" {
            return;
        }
        // An update that leaves the allocated addresses out keeps them.
        for field in ["clusterIP", "clusterIPs"] {
            if let Some(value) = old_spec.get(field).filter(|v| !v.is_null()) {
                set_default(new_spec, field, value.clone());
            }
        }
        if old_spec["type"] == new_spec["type"] {
            keep_node_ports(new_spec, old_spec);
        }
    }

    fn validate(&self, object: &Value, errors: &mut Errors) {
        let spec = &object["spec"];
        if !TYPES.iter().any(|t| spec["type"] == *t) {
            errors.push(FieldError::not_supported("spec.type", &spec["type"], &TYPES));
        }
        metadata::labels(&spec["selector"], "spec.selector", errors);
        let allowed = ["ClientIP", "None"];
        if !allowed.iter().any(|a| spec["sessionAffinity"] == *a) {
            let value = &spec["sessionAffinity"];
            errors.push(FieldError::not_supported("spec.sessionAffinity", value, &allowed));
        }
        let headless = spec["clusterIP"] == "None";
        if spec["type"] == "ExternalName" {
            if spec["externalName"].as_str().is_none_or(str::is_empty) {
                errors.push(FieldError::required("spec.externalName", ""));
            }
        } else if list(&spec["ports"]).is_empty() && !headless {
            errors.push(FieldError::required("spec.ports", ""));
        }
        ports(&spec["ports"], errors);
    }

    fn validate_update(&self, new: &Value, old: &Value, errors: &mut Errors) {
        let (new_ip, old_ip) = (&new["spec"]["clusterIP"], &old["spec"]["clusterIP"]);
        let external = |o: &Value| o["spec"]["type"] == "ExternalName";
        if new_ip != old_ip && !external(new) && !external(old) && !old_ip.is_null() {
            let ips = json!([new_ip]);
            let text = "may not change once set";
            errors.push(FieldError::invalid("spec.clusterIPs[0]", &ips[0], text));
        }
    }

    fn name_error(&self, name: &str) -> Option<String> {
        names::dns1035_label(name)
    }
}

fn keep_node_ports(new: &mut Value, old: &Value) {
    let old_ports = list(&old["ports"]).to_vec();
    for port in new.get_mut("ports").into_iter().flat_map(items) {
        let same = |o: &&Value| o["port"] == port["port"] && o["protocol"] == port["protocol"];
        if let Some(number) = old_ports.iter().find(same).and_then(|o| o.get("nodePort")) {
            set_default(port, "nodePort", number.clone());
        }
    }
}

fn ports(value: &Value, errors: &mut Errors) {
    let ports = list(value);
    let (mut seen_names, mut seen_numbers) = (HashSet::new(), HashSet::new());
    for (index, port) in ports.iter().enumerate() {
        let path = format!("spec.ports[{index}]");
        let name = port["name"].as_str().unwrap_or_default();
        if name.is_empty() {
            if ports.len() > 1 {
                errors.push(FieldError::required(format!("{path}.name"), ""));
            }
        } else if let Some(text) = names::dns1123_label(name) {
            errors.push(FieldError::invalid(format!("{path}.name"), &name.into(), text));
        } else if !seen_names.insert(name) {
            errors.push(FieldError::duplicate(format!("{path}.name"), &name.into()));
        }
        if let Some(text) = port_error(&port["port"]) {
            let number = if port["port"].is_null() { json!(0) } else { port["port"].clone() };
            errors.push(FieldError::invalid(format!("{path}.port"), &number, text));
        }
        let allowed = ["SCTP", "TCP", "UDP"];
        if !allowed.iter().any(|a| port["protocol"] == *a) {
            let field = format!("{path}.protocol");
            errors.push(FieldError::not_supported(field, &port["protocol"], &allowed));
        }
        let target = &port["targetPort"];
        let problem = match target.as_str() {
            Some(name) => names::port_name(name),
            None => port_error(target).map(str::to_owned),
        };
        if let Some(text) = problem {
            errors.push(FieldError::invalid(format!("{path}.targetPort"), target, text));
        }
        if !seen_numbers.insert((port["port"].to_string(), port["protocol"].to_string())) {
            let value = json!({"port": port["port"], "protocol": port["protocol"]});
            errors.push(FieldError::duplicate(path, &value));
        }
    }
}
