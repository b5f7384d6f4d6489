//! Kinds with a line or two of behaviour.

use std::net::IpAddr;

use serde_json::{Value, json};

use super::{
    Errors, Rules, container::port_error, immutable, items, list, names, service::special_address, set_default,
};
use crate::{object, status::FieldError};

/// Namespaces.
pub struct Namespace;

impl Rules for Namespace {
    fn default(&self, object: &mut Value) {
        let name = object::name(object).to_owned();
        if !name.is_empty() {
            let metadata = &mut object["metadata"];
            object::map_at(metadata, "labels").insert("kubernetes.io/metadata.name".into(), name.into());
        }
    }
    fn prepare_create(&self, object: &mut Value) {
        object["spec"] = json!({"finalizers": ["kubernetes"]});
        object["status"] = json!({"phase": "Active"});
    }
    fn prepare_update(&self, new: &mut Value, old: &Value) {
        new["spec"] = old["spec"].clone();
    }
    fn name_error(&self, name: &str) -> Option<String> {
        names::dns1123_label(name)
    }
}

/// Nodes.
pub struct Node;
impl Rules for Node {}

/// ConfigMaps.
pub struct ConfigMap;

const MAX_DATA_BYTES: usize = 1 << 20;

fn data_size(value: &Value) -> usize {
    value.as_object().into_iter().flatten().map(|(key, value)| key.len() + value.as_str().map_or(0, str::len)).sum()
}

fn data_keys(value: &Value, path: &str, errors: &mut Errors) {
    for key in value.as_object().into_iter().flatten().map(|(key, _)| key) {
        let fine = !key.is_empty()
            && key.len() <= 253
            && key.bytes().all(|c| c.is_ascii_alphanumeric() || b"-_.".contains(&c));
        if !fine {
            let text = "a valid config key must consist of alphanumeric characters, '-', '_' or \
                 '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation \
                 is '[-._a-zA-Z0-9]+')";
            errors.push(FieldError::invalid(format!("{path}[{key}]"), &key.as_str().into(), text));
        }
    }
}

fn too_big(field: &str) -> FieldError {
    FieldError {
        reason: "FieldValueTooLong",
        field: field.into(),
        message: format!("Too long: may not be more than {MAX_DATA_BYTES} bytes"),
    }
}

fn immutable_data(new: &Value, old: &Value, fields: &[&str], errors: &mut Errors) {
    if old["immutable"] == true {
        for field in fields.iter().filter(|f| new[**f] != old[**f]) {
            let text = "field is immutable when `immutable` is set";
            errors.push(FieldError::forbidden(*field, text));
        }
    }
}

impl Rules for ConfigMap {
    fn validate(&self, object: &Value, errors: &mut Errors) {
        data_keys(&object["data"], "data", errors);
        data_keys(&object["binaryData"], "binaryData", errors);
        if data_size(&object["data"]) + data_size(&object["binaryData"]) > MAX_DATA_BYTES {
            errors.push(too_big("[]"));
        }
    }
    fn validate_update(&self, new: &Value, old: &Value, errors: &mut Errors) {
        immutable_data(new, old, &["data", "binaryData", "immutable"], errors);
    }
}

/// Secrets.
pub struct Secret;

impl Rules for Secret {
    fn default(&self, object: &mut Value) {
        use base64::{Engine, engine::general_purpose::STANDARD};
        set_default(object, "type", "Opaque");
        let Some(plain) = object::as_map(object).shift_remove("stringData") else {
            return;
        };
        let data = object::map_at(object, "data");
        for (key, value) in plain.as_object().into_iter().flatten() {
            let text = value.as_str().unwrap_or_default();
            data.insert(key.clone(), STANDARD.encode(text).into());
        }
    }
    fn validate(&self, object: &Value, errors: &mut Errors) {
        data_keys(&object["data"], "data", errors);
        if data_size(&object["data"]) > MAX_DATA_BYTES * 4 / 3 + 4 {
            errors.push(too_big("data"));
        }
        if object["type"] == "kubernetes.io/service-account-token" {
            const ACCOUNT: &str = "kubernetes.io/service-account.name";
            if object["metadata"]["annotations"][ACCOUNT].as_str().is_none_or(str::is_empty) {
                errors.push(FieldError::required(format!("metadata.annotations[{ACCOUNT}]"), ""));
            }
        }
        if object["type"] == "kubernetes.io/tls" {
            for key in ["tls.crt", "tls.key"] {
                if object["data"][key].is_null() {
                    errors.push(FieldError::required(format!("data[{key}]"), ""));
                }
            }
        }
    }
    fn validate_update(&self, new: &Value, old: &Value, errors: &mut Errors) {
        immutable("type", &new["type"], &old["type"], errors);
        immutable_data(new, old, &["data", "immutable"], errors);
    }
}

/// Events of both groups, stored in the core group's shape.
pub struct Event;

impl Rules for Event {
    fn validate(&self, object: &Value, errors: &mut Errors) {
        let involved = &object["involvedObject"]["namespace"];
        let involved = involved.as_str().unwrap_or_default();
        let namespace = object::namespace(object);
        let matches = involved == namespace || (involved.is_empty() && namespace == "default");
        if !matches {
            errors.push(FieldError::invalid(
                "involvedObject.namespace",
                &involved.into(),
                "does not match event.namespace",
            ));
        }
    }
}

/// EndpointSlices.
pub struct EndpointSlice;

impl Rules for EndpointSlice {
    fn default(&self, object: &mut Value) {
        for port in object.get_mut("ports").into_iter().flat_map(items) {
            set_default(port, "name", "");
            set_default(port, "protocol", "TCP");
        }
    }
    fn validate(&self, object: &Value, errors: &mut Errors) {
        let kind = &object["addressType"];
        if kind.is_null() {
            errors.push(FieldError::required("addressType", ""));
        } else if !["FQDN", "IPv4", "IPv6"].iter().any(|a| kind == a) {
            let allowed = ["FQDN", "IPv4", "IPv6"];
            errors.push(FieldError::not_supported("addressType", kind, &allowed));
        }
        for (index, endpoint) in list(&object["endpoints"]).iter().enumerate() {
            if list(&endpoint["addresses"]).is_empty() {
                let field = format!("endpoints[{index}].addresses");
                errors.push(FieldError::required(field, "must contain at least 1 address"));
            }
            for (at, address) in list(&endpoint["addresses"]).iter().enumerate() {
                let field = format!("endpoints[{index}].addresses[{at}]");
                slice_address(kind, address, field, errors);
            }
        }
    }
    fn validate_update(&self, new: &Value, old: &Value, errors: &mut Errors) {
        immutable("addressType", &new["addressType"], &old["addressType"], errors);
    }
    fn has_generation(&self) -> bool {
        true
    }
}

fn slice_address(kind: &Value, address: &Value, field: String, errors: &mut Errors) {
    if kind == "FQDN" {
        return;
    }
    let ip = address.as_str().and_then(|text| text.parse::<IpAddr>().ok());
    if ip.is_none_or(|ip| ip.is_ipv6() != (kind == "IPv6")) {
        let example =
            if kind == "IPv6" { "IPv6 address, (e.g. 2001:db8::ffff)" } else { "IPv4 address, (e.g. 10.9.8.7)" };
        errors.push(FieldError::invalid(field, address, format!("must be a valid {example}")));
    } else if let Some(text) = special_address(address) {
        errors.push(FieldError::invalid(field, address, text));
    }
}

/// Endpoints.
pub struct Endpoints;

impl Rules for Endpoints {
    fn default(&self, object: &mut Value) {
        for subset in object.get_mut("subsets").into_iter().flat_map(items) {
            for port in subset.get_mut("ports").into_iter().flat_map(items) {
                set_default(port, "protocol", "TCP");
            }
        }
    }

    fn validate(&self, object: &Value, errors: &mut Errors) {
        for (index, subset) in list(&object["subsets"]).iter().enumerate() {
            let path = format!("subsets[{index}]");
            let (ready, unready) = (list(&subset["addresses"]), list(&subset["notReadyAddresses"]));
            if ready.is_empty() && unready.is_empty() {
                errors.push(FieldError::required(path.clone(), "must specify `addresses` or `notReadyAddresses`"));
            }
            for (field, addresses) in [("addresses", ready), ("notReadyAddresses", unready)] {
                for (at, address) in addresses.iter().enumerate() {
                    if let Some(text) = special_address(&address["ip"]) {
                        errors.push(FieldError::invalid(format!("{path}.{field}[{at}].ip"), &address["ip"], text));
                    }
                }
            }
            let ports = list(&subset["ports"]);
            for (at, port) in ports.iter().enumerate() {
                let path = format!("{path}.ports[{at}]");
                if port["name"].as_str().is_none_or(str::is_empty) && ports.len() > 1 {
                    errors.push(FieldError::required(format!("{path}.name"), ""));
                }
                if let Some(text) = port_error(&port["port"]) {
                    errors.push(FieldError::invalid(format!("{path}.port"), &port["port"], text));
                }
            }
        }
    }
}
