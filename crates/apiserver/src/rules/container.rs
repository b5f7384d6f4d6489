//! Containers of pods: defaults and validation.

use std::collections::HashSet;

use serde_json::{Value, json};

use super::{Errors, items, list, names, quota, set_default};
use crate::status::FieldError;

/// Defaults of one container.
pub fn default(container: &mut Value) {
    let image = container["image"].as_str().unwrap_or_default().to_owned();
    set_default(container, "resources", json!({}));
    set_default(container, "terminationMessagePath", "/dev/termination-log");
    set_default(container, "terminationMessagePolicy", "File");
    set_default(container, "imagePullPolicy", pull_policy(&image));
    for port in items(&mut container["ports"]) {
        set_default(port, "protocol", "TCP");
    }
    for variable in items(&mut container["env"]) {
        let reference = &mut variable["valueFrom"]["fieldRef"];
        if reference.is_object() {
            set_default(reference, "apiVersion", "v1");
        }
        clear_probed(variable, "valueFrom");
    }
    for name in ["livenessProbe", "readinessProbe", "startupProbe"] {
        match container.get_mut(name) {
            Some(probe) if probe.is_object() => default_probe(probe),
            _ => {}
        }
    }
    for hook in ["postStart", "preStop"] {
        if let Some(action) = container.pointer_mut(&format!("/lifecycle/{hook}/httpGet")) {
            default_http(action);
        }
    }
    for list in ["ports", "env"] {
        clear_probed(container, list);
    }
}

/// Indexing a missing member for writing leaves a null; take such traces away again.
fn clear_probed(value: &mut Value, key: &str) {
    let Some(map) = value.as_object_mut() else {
        return;
    };
    match map.get_mut(key) {
        Some(Value::Null) => {
            map.shift_remove(key);
        }
        Some(Value::Object(inner)) => {
            inner.retain(|_, v| !v.is_null());
            if inner.is_empty() {
                map.shift_remove(key);
            }
        }
        _ => {}
    }
}

fn pull_policy(image: &str) -> &'static str {
    let name = image.rsplit('/').next().unwrap_or(image);
    let tag = name.split_once('@').map_or_else(|| name.split_once(':').map(|(_, t)| t), |(_, d)| Some(d));
    match tag {
        None | Some("latest") => "Always",
        Some(_) => "IfNotPresent",
    }
}

fn default_http(action: &mut Value) {
    set_default(action, "path", "/");
    set_default(action, "scheme", "HTTP");
}

fn default_probe(probe: &mut Value) {
    if let Some(action) = probe.get_mut("httpGet").filter(|a| a.is_object()) {
        default_http(action);
    }
    if let Some(action) = probe.get_mut("grpc").filter(|a| a.is_object()) {
        set_default(action, "service", "");
    }
    for (field, value) in
        [("timeoutSeconds", 1), ("periodSeconds", 10), ("successThreshold", 1), ("failureThreshold", 3)]
    {
        if probe[field].as_i64().unwrap_or(0) == 0 {
            probe[field] = value.into();
        }
    }
}

/// What is wrong with the containers at `path`.
pub fn validate_all(
    containers: &Value,
    path: &str,
    volumes: &HashSet<&str>,
    seen: &mut HashSet<String>,
    errors: &mut Errors,
) {
    for (index, container) in list(containers).iter().enumerate() {
        let path = format!("{path}[{index}]");
        let name = container["name"].as_str().unwrap_or_default();
        if name.is_empty() {
            errors.push(FieldError::required(format!("{path}.name"), ""));
        } else if let Some(text) = names::dns1123_label(name) {
            errors.push(FieldError::invalid(format!("{path}.name"), &name.into(), text));
        } else if !seen.insert(name.to_owned()) {
            errors.push(FieldError::duplicate(format!("{path}.name"), &name.into()));
        }
        validate(container, &path, volumes, errors);
    }
}

fn validate(container: &Value, path: &str, volumes: &HashSet<&str>, errors: &mut Errors) {
    let image = container["image"].as_str().unwrap_or_default();
    if image.is_empty() {
        errors.push(FieldError::required(format!("{path}.image"), ""));
    } else if image != image.trim() {
        errors.push(FieldError::invalid(
            format!("{path}.image"),
            &container["image"],
            "must not have leading or trailing whitespace",
        ));
    }
    let policy = &container["imagePullPolicy"];
    if !["Always", "IfNotPresent", "Never"].iter().any(|p| policy == p) {
        let allowed = ["Always", "IfNotPresent", "Never"];
        errors.push(FieldError::not_supported(format!("{path}.imagePullPolicy"), policy, &allowed));
    }
    ports(&container["ports"], &format!("{path}.ports"), errors);
    for (index, variable) in list(&container["env"]).iter().enumerate() {
        let path = format!("{path}.env[{index}]");
        if variable["name"].as_str().is_none_or(str::is_empty) {
            errors.push(FieldError::required(format!("{path}.name"), ""));
        }
        if variable["valueFrom"].is_object() && variable["value"].as_str().is_some_and(|v| !v.is_empty()) {
            errors.push(FieldError::invalid(
                format!("{path}.valueFrom"),
                &"".into(),
                "may not be specified when `value` is not empty",
            ));
        }
    }
    mounts(&container["volumeMounts"], &format!("{path}.volumeMounts"), volumes, errors);
    quota::requirements(&container["resources"], &format!("{path}.resources"), errors);
    for name in ["livenessProbe", "readinessProbe", "startupProbe"] {
        probe(&container[name], &format!("{path}.{name}"), errors);
    }
}

/// What is wrong with a port number.
pub fn port_error(value: &Value) -> Option<&'static str> {
    match value.as_i64() {
        Some(1..=65535) => None,
        _ => Some("must be between 1 and 65535, inclusive"),
    }
}

fn ports(value: &Value, path: &str, errors: &mut Errors) {
    let mut seen = HashSet::new();
    for (index, port) in list(value).iter().enumerate() {
        let path = format!("{path}[{index}]");
        if let Some(name) = port["name"].as_str().filter(|n| !n.is_empty()) {
            if let Some(text) = names::port_name(name) {
                errors.push(FieldError::invalid(format!("{path}.name"), &name.into(), text));
            } else if !seen.insert(name) {
                errors.push(FieldError::duplicate(format!("{path}.name"), &name.into()));
            }
        }
        let number = &port["containerPort"];
        if number.is_null() {
            errors.push(FieldError::required(format!("{path}.containerPort"), ""));
        } else if let Some(text) = port_error(number) {
            errors.push(FieldError::invalid(format!("{path}.containerPort"), number, text));
        }
        let protocol = &port["protocol"];
        if !["SCTP", "TCP", "UDP"].iter().any(|p| protocol == p) {
            let allowed = ["SCTP", "TCP", "UDP"];
            errors.push(FieldError::not_supported(format!("{path}.protocol"), protocol, &allowed));
        }
    }
}

fn mounts(value: &Value, path: &str, volumes: &HashSet<&str>, errors: &mut Errors) {
    let mut paths = HashSet::new();
    for (index, mount) in list(value).iter().enumerate() {
        let path = format!("{path}[{index}]");
        let name = mount["name"].as_str().unwrap_or_default();
        if name.is_empty() {
            errors.push(FieldError::required(format!("{path}.name"), ""));
        } else if !volumes.contains(name) {
            errors.push(FieldError {
                reason: "FieldValueNotFound",
                field: format!("{path}.name"),
                message: format!("Not found: {name:?}"),
            });
        }
        let target = mount["mountPath"].as_str().unwrap_or_default();
        if target.is_empty() {
            errors.push(FieldError::required(format!("{path}.mountPath"), ""));
        } else if !paths.insert(target) {
            errors.push(FieldError::invalid(format!("{path}.mountPath"), &mount["mountPath"], "must be unique"));
        }
    }
}

fn probe(value: &Value, path: &str, errors: &mut Errors) {
    if !value.is_object() {
        return;
    }
    let kinds = ["exec", "httpGet", "tcpSocket", "grpc"];
    match kinds.iter().filter(|k| value[**k].is_object()).count() {
        0 => errors.push(FieldError::required(path, "must specify a handler type")),
        1 => {}
        _ => errors.push(FieldError::forbidden(path, "may not specify more than 1 handler type")),
    }
    for kind in ["httpGet", "tcpSocket"] {
        let port = &value[kind]["port"];
        if value[kind].is_object()
            && !port.is_string()
            && let Some(text) = port_error(port)
        {
            errors.push(FieldError::invalid(format!("{path}.{kind}.port"), port, text));
        }
    }
}
