//! `/config_dump`: the configuration in use, in Envoy's shape, from the very bytes that were loaded.

mod json;
mod schema;
mod wire;

use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lateen_api::type_url;
use serde_json::{Map, Value, json};

use super::AdminParts;
use super::certs::timestamp;
use crate::certs::to_pem;
use crate::xds_client::HeldResource;
use schema::Schema;

const ADMIN: &str = "type.googleapis.com/envoy.admin.v3.";

/// Which part is wanted.
pub(super) struct Wanted<'a> {
    /// One field of the dumps, as in `dynamic_listeners`.
    pub(super) resource: Option<&'a str>,
    /// Only resources whose name has this in it.
    pub(super) name: Option<regex_automata::meta::Regex>,
}

impl Wanted<'_> {
    fn takes(&self, name: &str) -> bool {
        self.name.as_ref().is_none_or(|regex| regex.is_match(name))
    }
}

/// The whole dump, or one kind of resource.
pub(super) fn config_dump(parts: &AdminParts, wanted: &Wanted<'_>) -> Value {
    let schema = Schema::load();
    let dumps = [
        bootstrap(parts),
        section(
            parts,
            &schema,
            wanted,
            "ClustersConfigDump",
            "dynamic_active_clusters",
            type_url::CLUSTER,
            plain("cluster"),
        ),
        section(
            parts,
            &schema,
            wanted,
            "EndpointsConfigDump",
            "dynamic_endpoint_configs",
            type_url::ENDPOINT,
            plain("endpoint_config"),
        ),
        section(parts, &schema, wanted, "ListenersConfigDump", "dynamic_listeners", type_url::LISTENER, listener),
        section(
            parts,
            &schema,
            wanted,
            "RoutesConfigDump",
            "dynamic_route_configs",
            type_url::ROUTE,
            plain("route_config"),
        ),
        secrets(parts),
    ];
    match wanted.resource {
        None => json!({ "configs": dumps }),
        Some(field) => {
            let mut found: Vec<Value> = Vec::new();
            for dump in dumps {
                found.extend(dump.get(field).and_then(Value::as_array).into_iter().flatten().cloned());
            }
            json!({ "configs": found })
        }
    }
}

fn section(
    parts: &AdminParts,
    schema: &Schema,
    wanted: &Wanted<'_>,
    kind: &str,
    field: &str,
    type_url: &str,
    shape: impl Fn(&str, &HeldResource, Value) -> Value,
) -> Value {
    let resources: Vec<Value> = parts.configuration.with_held(|held| {
        let taken = held.of_type(type_url).filter(|(name, _)| wanted.takes(name));
        taken.map(|(name, resource)| shape(name, resource, schema.any(type_url, &resource.bytes, 0))).collect()
    });
    let mut dump = Map::new();
    dump.insert("@type".into(), json!(format!("{ADMIN}{kind}")));
    dump.insert(field.into(), json!(resources));
    Value::Object(dump)
}

/// A resource with version and time beside it.
fn plain(field: &'static str) -> impl Fn(&str, &HeldResource, Value) -> Value {
    move |_, resource, value| {
        let mut entry = state(resource);
        entry.insert(field.into(), value);
        add_error(&mut entry, resource);
        Value::Object(entry)
    }
}

/// Listeners have version and time one level deeper.
fn listener(name: &str, resource: &HeldResource, value: Value) -> Value {
    let mut active = state(resource);
    active.insert("listener".into(), value);
    let mut entry = Map::new();
    entry.insert("name".into(), json!(name));
    entry.insert("active_state".into(), Value::Object(active));
    add_error(&mut entry, resource);
    Value::Object(entry)
}

fn state(resource: &HeldResource) -> Map<String, Value> {
    let mut entry = Map::new();
    entry.insert("version_info".into(), json!(resource.version));
    entry.insert("last_updated".into(), json!(timestamp(resource.updated)));
    entry
}

fn add_error(entry: &mut Map<String, Value>, resource: &HeldResource) {
    if let Some(reason) = &resource.refused {
        entry.insert("error_state".into(), json!({ "details": reason }));
    }
}

fn bootstrap(parts: &AdminParts) -> Value {
    let node = &parts.config.node;
    json!({
        "@type": format!("{ADMIN}BootstrapConfigDump"),
        "bootstrap": {
            "node": {
                "id": node.id,
                "cluster": node.cluster,
                "user_agent_name": node.user_agent_name,
                "extensions": node.extensions.iter().map(|e| json!({ "name": e.name })).collect::<Vec<_>>(),
            },
            "dynamic_resources": { "ads_config": { "api_type": "DELTA_GRPC" } },
            "admin": { "address": { "socket_address": { "address": "127.0.0.1", "port_value": parts.config.ports.admin } } },
        },
    })
}

/// Certificates; in place of the key there is a note.
fn secrets(parts: &AdminParts) -> Value {
    let inline = |text: String| json!({ "inline_bytes": STANDARD.encode(text) });
    let identity = parts.certs.identity().map(|identity| {
        let certificate = json!({
            "certificate_chain": inline(to_pem(identity.chain())),
            "private_key": inline("[redacted]".to_owned()),
        });
        secret("default", &identity.serial, "tls_certificate", &certificate, identity.not_before)
    });
    let roots = parts.certs.roots().map(|roots| {
        let context = json!({ "trusted_ca": inline(to_pem(&roots.certificates)) });
        secret("ROOTCA", "", "validation_context", &context, SystemTime::UNIX_EPOCH)
    });
    json!({
        "@type": format!("{ADMIN}SecretsConfigDump"),
        "dynamic_active_secrets": identity.into_iter().chain(roots).collect::<Vec<_>>(),
    })
}

fn secret(name: &str, version: &str, field: &str, value: &Value, updated: SystemTime) -> Value {
    json!({
        "name": name,
        "version_info": version,
        "last_updated": timestamp(updated),
        "secret": { "@type": type_url::SECRET, "name": name, field: value },
    })
}

#[cfg(test)]
mod tests;
