//! Ingresses and their classes.

use std::net::IpAddr;

use serde_json::Value;

use super::{Errors, Rules, immutable, list, names};
use crate::status::FieldError;

const PATH_TYPES: [&str; 3] = ["Exact", "ImplementationSpecific", "Prefix"];

/// Rules for requests from outside.
pub struct Ingress;

impl Rules for Ingress {
    fn validate(&self, object: &Value, errors: &mut Errors) {
        let spec = &object["spec"];
        let rules = list(&spec["rules"]);
        if rules.is_empty() && !spec["defaultBackend"].is_object() {
            let text = "either `defaultBackend` or `rules` must be specified";
            errors.push(FieldError::invalid("spec", &spec["rules"], text));
        }
        if spec["defaultBackend"].is_object() {
            backend(&spec["defaultBackend"], "spec.defaultBackend", errors);
        }
        for (index, rule) in rules.iter().enumerate() {
            host(&rule["host"], &format!("spec.rules[{index}].host"), errors);
            for (at, path) in list(&rule["http"]["paths"]).iter().enumerate() {
                http_path(path, &format!("spec.rules[{index}].http.paths[{at}]"), errors);
            }
        }
        for (index, tls) in list(&spec["tls"]).iter().enumerate() {
            for (at, name) in list(&tls["hosts"]).iter().enumerate() {
                host(name, &format!("spec.tls[{index}].hosts[{at}]"), errors);
            }
        }
    }

    fn has_generation(&self) -> bool {
        true
    }
}

fn host(value: &Value, path: &str, errors: &mut Errors) {
    let Some(host) = value.as_str().filter(|h| !h.is_empty()) else { return };
    if host.parse::<IpAddr>().is_ok() {
        errors.push(FieldError::invalid(path, value, "must be a DNS name, not an IP address"));
    } else if let Some(text) = names::dns1123_subdomain(host.strip_prefix("*.").unwrap_or(host)) {
        errors.push(FieldError::invalid(path, value, text));
    }
}

fn http_path(value: &Value, path: &str, errors: &mut Errors) {
    let kind = &value["pathType"];
    let text = value["path"].as_str().unwrap_or_default();
    if kind.is_null() {
        errors.push(FieldError::required(format!("{path}.pathType"), "pathType must be specified"));
    } else if !PATH_TYPES.iter().any(|t| kind == t) {
        errors.push(FieldError::not_supported(format!("{path}.pathType"), kind, &PATH_TYPES));
    } else if !text.starts_with('/') && (kind != "ImplementationSpecific" || !text.is_empty()) {
        errors.push(FieldError::invalid(format!("{path}.path"), &text.into(), "must be an absolute path"));
    }
    backend(&value["backend"], &format!("{path}.backend"), errors);
}

fn backend(value: &Value, path: &str, errors: &mut Errors) {
    let service = &value["service"];
    match (service.is_object(), value["resource"].is_object()) {
        (true, true) => {
            let text = "cannot set both resource and service backends";
            errors.push(FieldError::invalid(path, &"".into(), text));
        }
        (false, true) => {}
        (false, false) => {
            errors.push(FieldError::required(path, "must specify a service or resource backend"));
        }
        (true, false) => {
            if service["name"].as_str().is_none_or(str::is_empty) {
                errors.push(FieldError::required(format!("{path}.service.name"), ""));
            }
            let port = &service["port"];
            let (name, number) = (port["name"].is_string(), port["number"].as_i64().unwrap_or(0) != 0);
            if name == number {
                let text =
                    if name { "cannot set both port name & port number" } else { "port name or number is required" };
                errors.push(FieldError::required(format!("{path}.service.port"), text));
            }
        }
    }
}

/// Who carries out an Ingress.
pub struct IngressClass;

impl Rules for IngressClass {
    fn validate(&self, object: &Value, errors: &mut Errors) {
        let controller = &object["spec"]["controller"];
        match controller.as_str().filter(|c| !c.is_empty()) {
            None => errors.push(FieldError::required("spec.controller", "")),
            Some(text) if !text.contains('/') => {
                let text = "must be a domain-prefixed path (such as \"acme.io/foo\")";
                errors.push(FieldError::invalid("spec.controller", controller, text));
            }
            Some(_) => {}
        }
    }

    fn validate_update(&self, new: &Value, old: &Value, errors: &mut Errors) {
        immutable("spec.controller", &new["spec"]["controller"], &old["spec"]["controller"], errors);
    }

    fn has_generation(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn errors(spec: &Value) -> Vec<String> {
        let mut errors = Vec::new();
        Ingress.validate(&json!({"spec": spec}), &mut errors);
        errors.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn an_ingress_says_where_requests_go() {
        let service = json!({"service": {"name": "web", "port": {"number": 80}}});
        let with = |path: Value| json!({"rules": [{"host": "a.example", "http": {"paths": [path]}}]});
        assert_eq!(errors(&with(json!({"path": "/", "pathType": "Prefix", "backend": service}))), [""; 0]);
        assert_eq!(errors(&json!({"defaultBackend": service})), [""; 0]);
        let cases = [
            (json!({}), "spec: Invalid value: null: either `defaultBackend` or `rules` must be specified"),
            (
                with(json!({"path": "/", "backend": service})),
                "spec.rules[0].http.paths[0].pathType: Required value: pathType must be specified",
            ),
            (
                with(json!({"path": "x", "pathType": "Exact", "backend": service})),
                "spec.rules[0].http.paths[0].path: Invalid value: \"x\": must be an absolute path",
            ),
            (
                with(json!({"path": "/", "pathType": "Exact", "backend": {"service": {"name": "web"}}})),
                "spec.rules[0].http.paths[0].backend.service.port: Required value: port name or number is required",
            ),
        ];
        for (spec, text) in cases {
            assert_eq!(errors(&spec), [text]);
        }
    }
}
