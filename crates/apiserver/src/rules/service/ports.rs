//! A Service's ports.

use std::collections::HashSet;

use serde_json::{Value, json};

use super::super::{Errors, container::port_error, list, names};
use crate::status::FieldError;

/// The protocols that this cluster carries.
const PROTOCOLS: [&str; 2] = ["TCP", "UDP"];

pub(super) fn validate(spec: &Value, errors: &mut Errors) {
    let ports = list(&spec["ports"]);
    let (mut seen_names, mut seen, mut seen_node_ports) = (HashSet::new(), HashSet::new(), HashSet::new());
    for (index, port) in ports.iter().enumerate() {
        let path = format!("spec.ports[{index}]");
        name(port, &path, ports.len() > 1, &mut seen_names, errors);
        numbers(port, &path, errors);
        if spec["type"] == "ClusterIP" && port["nodePort"].as_u64().unwrap_or(0) != 0 {
            let text = "may not be used when `type` is 'ClusterIP'";
            errors.push(FieldError::forbidden(format!("{path}.nodePort"), text));
        }
        let protocol = port["protocol"].to_string();
        if port["nodePort"].as_u64().unwrap_or(0) != 0
            && !seen_node_ports.insert((port["nodePort"].to_string(), protocol.clone()))
        {
            errors.push(FieldError::duplicate(format!("{path}.nodePort"), &port["nodePort"]));
        }
        if !seen.insert((port["port"].to_string(), protocol)) {
            let value = json!({"port": port["port"], "protocol": port["protocol"]});
            errors.push(FieldError::duplicate(path, &value));
        }
    }
}

fn name<'a>(port: &'a Value, path: &str, required: bool, seen: &mut HashSet<&'a str>, errors: &mut Errors) {
    let name = port["name"].as_str().unwrap_or_default();
    let field = format!("{path}.name");
    if name.is_empty() {
        if required {
            errors.push(FieldError::required(field, ""));
        }
    } else if let Some(text) = names::dns1123_label(name) {
        errors.push(FieldError::invalid(field, &name.into(), text));
    } else if !seen.insert(name) {
        errors.push(FieldError::duplicate(field, &name.into()));
    }
}

fn numbers(port: &Value, path: &str, errors: &mut Errors) {
    if let Some(text) = port_error(&port["port"]) {
        let number = if port["port"].is_null() { json!(0) } else { port["port"].clone() };
        errors.push(FieldError::invalid(format!("{path}.port"), &number, text));
    }
    if !PROTOCOLS.iter().any(|p| port["protocol"] == *p) {
        errors.push(FieldError::not_supported(format!("{path}.protocol"), &port["protocol"], &PROTOCOLS));
    }
    let target = &port["targetPort"];
    let problem = match target.as_str() {
        Some(name) => names::port_name(name),
        None => port_error(target).map(str::to_owned),
    };
    if let Some(text) = problem {
        errors.push(FieldError::invalid(format!("{path}.targetPort"), target, text));
    }
    if let Some(app) = port["appProtocol"].as_str()
        && let Some(text) = names::qualified_name(app)
    {
        errors.push(FieldError::invalid(format!("{path}.appProtocol"), &app.into(), text));
    }
}
