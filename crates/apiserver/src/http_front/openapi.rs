//! OpenAPI v3: schemas of all kinds, with what `kubectl` reads off them.

use std::collections::BTreeSet;

use axum::body::Body;
use http::{HeaderValue, Response, StatusCode, header};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::{discovery, respond};
use crate::{
    engine::Engine,
    patch::merge_key,
    registry::{Resource, Version},
    schema::{Schema, definition},
    status::Status,
};

const REF_PREFIX: &str = "#/components/schemas/";
const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";

fn gv_path(group: &str, version: &str) -> String {
    if group.is_empty() { format!("api/{version}") } else { format!("apis/{group}/{version}") }
}

/// `/openapi/v3`: where the documents are. The hash changes with the definitions.
pub fn index(engine: &Engine) -> Response<Body> {
    let registry = engine.registry();
    let mut paths = Map::new();
    for (group, versions) in discovery::group_versions(engine) {
        for version in versions {
            let mut hash = Sha256::new();
            hash.update(env!("CARGO_PKG_VERSION").as_bytes());
            for resource in registry.iter().filter(|r| r.group == group) {
                hash.update(resource.plural.as_bytes());
                if let Some(Schema::Custom(schema)) = resource.version(&version).map(|v| &v.schema) {
                    hash.update(schema.json.to_string().as_bytes());
                }
            }
            let hash: String = hash.finalize().iter().take(16).map(|b| format!("{b:02X}")).collect();
            let path = gv_path(&group, &version);
            let url = format!("/openapi/v3/{path}?hash={hash}");
            paths.insert(path, json!({"serverRelativeURL": url}));
        }
    }
    respond::json(StatusCode::OK, &json!({"paths": paths}))
}

/// Schemas and paths of what one group serves in one version.
fn collect(engine: &Engine, group: &str, version: &str) -> (Map<String, Value>, Map<String, Value>) {
    let registry = engine.registry();
    let mut schemas = Map::new();
    let mut paths = Map::new();
    let mut wanted = BTreeSet::new();
    for resource in registry.iter().filter(|r| r.group == group) {
        let Some(served) = resource.version(version) else { continue };
        let name = schema_name(resource, served);
        match &served.schema {
            Schema::Builtin(name) => {
                wanted.insert(name.to_string());
            }
            Schema::Custom(schema) => {
                wanted.insert(META.to_owned());
                schemas.insert(name.clone(), custom_schema(resource, version, &schema.json));
            }
        }
        add_paths(resource, version, &name, &mut paths);
    }
    add_definitions(wanted, &mut schemas);
    for resource in registry.iter().filter(|r| r.group == group) {
        let Some(served) = resource.version(version) else { continue };
        if let Some(schema) = schemas.get_mut(&schema_name(resource, served)) {
            schema["x-kubernetes-group-version-kind"] = json!([gvk(resource, version)]);
        }
    }
    (schemas, paths)
}

/// The schemas and paths of everything that is served.
pub fn everything(engine: &Engine) -> (Map<String, Value>, Map<String, Value>) {
    let (mut all, mut all_paths) = (Map::new(), Map::new());
    for (group, versions) in discovery::group_versions(engine) {
        for version in versions {
            let (schemas, paths) = collect(engine, &group, &version);
            for (name, schema) in schemas {
                // The document of a kind's own group says which kind it is.
                if !all.contains_key(&name) || schema.get("x-kubernetes-group-version-kind").is_some() {
                    all.insert(name, schema);
                }
            }
            all_paths.extend(paths);
        }
    }
    (all, all_paths)
}

/// The document of one group and version.
pub fn document(engine: &Engine, group: &str, version: &str) -> Result<Response<Body>, Status> {
    let (schemas, paths) = collect(engine, group, version);
    if paths.is_empty() {
        return Err(Status::no_such_resource());
    }
    let mut response = respond::json(
        StatusCode::OK,
        &json!({
            "openapi": "3.0.0",
            "info": {"title": "Kubernetes", "version": discovery::version()["gitVersion"]},
            "paths": paths,
            "components": {"schemas": schemas},
        }),
    );
    // The address holds a hash of the contents.
    response
        .headers_mut()
        .insert(header::CACHE_CONTROL, HeaderValue::from_static("public, immutable, max-age=31536000"));
    Ok(response)
}

fn gvk(resource: &Resource, version: &str) -> Value {
    json!({"group": resource.group, "version": version, "kind": resource.kind})
}

fn schema_name(resource: &Resource, version: &Version) -> String {
    match &version.schema {
        Schema::Builtin(name) => name.to_string(),
        Schema::Custom(_) => {
            let reversed: Vec<&str> = resource.group.rsplit('.').collect();
            format!("{}.{}.{}", reversed.join("."), version.name, resource.kind)
        }
    }
}

fn custom_schema(resource: &Resource, version: &str, schema: &Value) -> Value {
    let mut schema = schema.clone();
    for (field, text) in [("apiVersion", "Version of the schema."), ("kind", "Kind of the object.")] {
        let property = &mut schema["properties"][field];
        if property.is_null() {
            *property = json!({"type": "string", "description": text});
        }
    }
    schema["properties"]["metadata"] = json!({
        "description": "Standard object's metadata.",
        "allOf": [{"$ref": format!("{REF_PREFIX}{META}")}],
    });
    schema["x-kubernetes-group-version-kind"] = json!([gvk(resource, version)]);
    schema
}

fn add_definitions(mut wanted: BTreeSet<String>, schemas: &mut Map<String, Value>) {
    while let Some(name) = wanted.pop_first() {
        if schemas.contains_key(&name) {
            continue;
        }
        let Some(schema) = definition(&name) else { continue };
        let mut schema = schema.clone();
        annotate(&name, &mut schema);
        references(&mut schema, &mut wanted);
        schemas.insert(name, schema);
    }
}

/// Says how lists merge, so that clients make the patches that the server expects.
fn annotate(name: &str, schema: &mut Value) {
    let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) else { return };
    for (field, property) in properties {
        if let Some(key) = merge_key(name, field) {
            property["x-kubernetes-patch-strategy"] = "merge".into();
            if !key.is_empty() {
                property["x-kubernetes-patch-merge-key"] = key.into();
            }
        }
    }
}

/// Collects references, and wraps those with siblings, which OpenAPI 3.0 would ignore.
fn references(value: &mut Value, wanted: &mut BTreeSet<String>) {
    match value {
        Value::Object(map) => {
            if let Some(Value::String(target)) = map.get("$ref") {
                wanted.extend(target.strip_prefix(REF_PREFIX).map(str::to_owned));
                if map.len() > 1
                    && let Some(target) = map.shift_remove("$ref")
                {
                    map.insert("allOf".into(), json!([{"$ref": target}]));
                }
                return;
            }
            map.values_mut().for_each(|v| references(v, wanted));
        }
        Value::Array(items) => items.iter_mut().for_each(|v| references(v, wanted)),
        _ => {}
    }
}

fn operation(resource: &Resource, version: &str, schema: &str, action: &str, parameters: &[&str]) -> Value {
    let parameters: Vec<Value> = parameters
        .iter()
        .map(|name| json!({"name": name, "in": "query", "schema": {"type": "string", "uniqueItems": true}}))
        .collect();
    json!({
        "description": format!("{action} {}", resource.kind),
        "operationId": format!("{action}{}{version}{}", resource.group, resource.kind),
        "parameters": parameters,
        "responses": {"200": {"description": "OK", "content": {"application/json": {
            "schema": {"$ref": format!("{REF_PREFIX}{schema}")}}}}},
        "x-kubernetes-action": action,
        "x-kubernetes-group-version-kind": gvk(resource, version),
    })
}

fn add_paths(resource: &Resource, version: &str, schema: &str, paths: &mut Map<String, Value>) {
    const WRITE: [&str; 3] = ["dryRun", "fieldManager", "fieldValidation"];
    let base = gv_path(&resource.group, version);
    let scope = if resource.namespaced { "/namespaces/{namespace}" } else { "" };
    let collection = format!("/{base}{scope}/{}", resource.plural);
    let op = |action: &str, parameters: &[&str]| operation(resource, version, schema, action, parameters);
    let mut item = json!({"post": op("post", &WRITE)});
    if !resource.virtual_only {
        item["get"] = op("list", &["labelSelector", "fieldSelector", "limit", "continue", "watch"]);
        paths.insert(
            format!("{collection}/{{name}}"),
            json!({
                "get": op("get", &[]),
                "put": op("put", &WRITE),
                "patch": op("patch", &["dryRun", "fieldManager", "fieldValidation", "force"]),
                "delete": op("delete", &["dryRun", "gracePeriodSeconds", "propagationPolicy"]),
            }),
        );
    }
    paths.insert(collection, item);
}
