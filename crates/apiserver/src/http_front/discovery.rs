//! Discovery: which groups, versions and resources there are.

use axum::body::Body;
use http::{HeaderValue, Response, StatusCode, header};
use serde_json::{Value, json};

use super::respond;
use crate::{
    engine::Engine,
    registry::{Registry, Resource, custom::rank},
    status::Status,
};

const ALL_VERBS: [&str; 8] = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];
const PROXY_VERBS: &[&str] = &["create", "delete", "get", "patch", "update"];
/// The Kubernetes version whose behaviour is served.
const MINOR: &str = "33";

/// `/version`
pub fn version() -> Value {
    // As Go names it.
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    let version = format!("v1.{MINOR}.0+lateen-{}", env!("CARGO_PKG_VERSION"));
    json!({
        "major": "1",
        "minor": MINOR,
        "gitVersion": version,
        "gitCommit": "",
        "gitTreeState": "clean",
        "buildDate": "",
        "goVersion": "",
        "compiler": "rustc",
        "platform": format!("linux/{architecture}"),
    })
}

/// Versions of a group, the preferred one first.
fn versions(registry: &Registry, group: &str) -> Vec<String> {
    let mut versions: Vec<String> = registry
        .iter()
        .filter(|r| r.group == group)
        .flat_map(|r| r.versions.iter().filter(|v| v.served).map(|v| v.name.clone()))
        .collect();
    versions.sort_by_key(|v| std::cmp::Reverse(rank(v)));
    versions.dedup();
    versions
}

/// Groups other than core, in the order of registration.
pub fn group_names(registry: &Registry) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for resource in registry.iter().filter(|r| !r.group.is_empty()) {
        if !names.contains(&resource.group) {
            names.push(resource.group.clone());
        }
    }
    names
}

/// Every group with its versions, core first.
pub fn group_versions(engine: &Engine) -> Vec<(String, Vec<String>)> {
    let registry = engine.registry();
    let names = std::iter::once(String::new()).chain(group_names(&registry));
    names.map(|name| (name.clone(), versions(&registry, &name))).filter(|(_, v)| !v.is_empty()).collect()
}

/// All paths worth knowing.
pub fn paths(engine: &Engine) -> Vec<String> {
    let mut paths: Vec<String> = ["/api", "/api/v1", "/apis"].map(str::to_owned).to_vec();
    for (group, versions) in group_versions(engine).into_iter().skip(1) {
        paths.push(format!("/apis/{group}"));
        paths.extend(versions.iter().map(|v| format!("/apis/{group}/{v}")));
    }
    let rest = ["/healthz", "/livez", "/metrics", "/openapi/v2", "/openapi/v3", "/readyz", "/version"];
    paths.extend(rest.map(str::to_owned));
    paths
}

fn aggregated_version(accept: &str) -> Option<&'static str> {
    accept.split(',').find_map(|media| {
        let has = |p: &str| media.split(';').any(|part| part.trim() == p);
        if !has("as=APIGroupDiscoveryList") || !has("g=apidiscovery.k8s.io") {
            return None;
        }
        ["v2", "v2beta1"].into_iter().find(|v| has(&format!("v={v}")))
    })
}

/// `/api`
pub fn core_versions(engine: &Engine, accept: &str) -> Response<Body> {
    if let Some(version) = aggregated_version(accept) {
        return aggregated(engine, version, true);
    }
    respond::json(StatusCode::OK, &json!({"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}))
}

fn api_group(registry: &Registry, name: &str) -> Option<Value> {
    let versions: Vec<Value> = versions(registry, name)
        .into_iter()
        .map(|v| json!({"groupVersion": format!("{name}/{v}"), "version": v}))
        .collect();
    let preferred = versions.first()?.clone();
    Some(json!({"name": name, "versions": versions, "preferredVersion": preferred}))
}

/// `/apis`
pub fn groups(engine: &Engine, accept: &str) -> Response<Body> {
    if let Some(version) = aggregated_version(accept) {
        return aggregated(engine, version, false);
    }
    let registry = engine.registry();
    let groups: Vec<Value> = group_names(&registry).iter().filter_map(|name| api_group(&registry, name)).collect();
    respond::json(StatusCode::OK, &json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}))
}

/// `/apis/<group>`
pub fn group(engine: &Engine, name: &str) -> Result<Response<Body>, Status> {
    let mut group = api_group(&engine.registry(), name).ok_or_else(Status::no_such_resource)?;
    group["kind"] = "APIGroup".into();
    group["apiVersion"] = "v1".into();
    Ok(respond::json(StatusCode::OK, &group))
}

/// A subresource: name, group/version/kind of what it takes, verbs.
struct Sub {
    name: &'static str,
    kind: (String, String, String),
    verbs: &'static [&'static str],
}

fn subresources(resource: &Resource, version: &str) -> Vec<Sub> {
    let own = (resource.group.clone(), version.to_owned(), resource.kind.clone());
    let other = |g: &str, v: &str, k: &str| (g.to_owned(), v.to_owned(), k.to_owned());
    let mut subs = Vec::new();
    let mut add = |name, kind, verbs| subs.push(Sub { name, kind, verbs });
    let change: &[&str] = &["get", "patch", "update"];
    match &*resource.collection {
        "/pods" => {
            add("attach", other("", "v1", "PodAttachOptions"), &["create", "get"]);
            add("eviction", other("policy", "v1", "Eviction"), &["create"]);
            add("exec", other("", "v1", "PodExecOptions"), &["create", "get"]);
            add("log", own.clone(), &["get"]);
            add("portforward", other("", "v1", "PodPortForwardOptions"), &["create", "get"]);
            add("proxy", other("", "v1", "PodProxyOptions"), PROXY_VERBS);
        }
        "/services" => add("proxy", other("", "v1", "ServiceProxyOptions"), PROXY_VERBS),
        "/namespaces" => add("finalize", own.clone(), &["update"]),
        "/serviceaccounts" => {
            add("token", other("authentication.k8s.io", "v1", "TokenRequest"), &["create"]);
        }
        _ => {}
    }
    if let Some(served) = resource.version(version) {
        if served.scale.is_some() {
            add("scale", other("autoscaling", "v1", "Scale"), change);
        }
        if served.status {
            add("status", own, change);
        }
    }
    subs
}

fn verbs(resource: &Resource) -> Vec<&'static str> {
    match (&*resource.collection, resource.virtual_only) {
        (_, true) => vec!["create"],
        ("/namespaces", _) => ALL_VERBS.into_iter().filter(|v| *v != "deletecollection").collect(),
        _ => ALL_VERBS.to_vec(),
    }
}

/// `/api/v1` and `/apis/<group>/<version>`
pub fn resources(engine: &Engine, group: &str, version: &str) -> Result<Response<Body>, Status> {
    let registry = engine.registry();
    let mut list = Vec::new();
    for resource in registry.iter().filter(|r| r.group == group && r.version(version).is_some()) {
        let mut entry = json!({
            "name": resource.plural,
            "singularName": resource.singular,
            "namespaced": resource.namespaced,
            "kind": resource.kind,
            "verbs": verbs(resource),
        });
        if !resource.short_names.is_empty() {
            entry["shortNames"] = json!(resource.short_names);
        }
        if !resource.categories.is_empty() {
            entry["categories"] = json!(resource.categories);
        }
        list.push(entry);
        for sub in subresources(resource, version) {
            list.push(json!({
                "name": format!("{}/{}", resource.plural, sub.name),
                "singularName": "",
                "namespaced": resource.namespaced,
                "group": sub.kind.0,
                "version": sub.kind.1,
                "kind": sub.kind.2,
                "verbs": sub.verbs,
            }));
        }
    }
    if list.is_empty() {
        return Err(Status::no_such_resource());
    }
    let name = if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
    Ok(respond::json(
        StatusCode::OK,
        &json!({
            "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": name, "resources": list,
        }),
    ))
}

fn response_kind(kind: &(String, String, String)) -> Value {
    json!({"group": kind.0, "version": kind.1, "kind": kind.2})
}

fn aggregated_resource(resource: &Resource, version: &str) -> Value {
    let own = (resource.group.clone(), version.to_owned(), resource.kind.clone());
    let subs: Vec<Value> = subresources(resource, version)
        .into_iter()
        .map(|s| {
            json!({
                "subresource": s.name, "responseKind": response_kind(&s.kind), "verbs": s.verbs,
            })
        })
        .collect();
    let mut entry = json!({
        "resource": resource.plural,
        "responseKind": response_kind(&own),
        "scope": if resource.namespaced { "Namespaced" } else { "Cluster" },
        "singularResource": resource.singular,
        "verbs": verbs(resource),
    });
    for (key, list) in [("shortNames", &resource.short_names), ("categories", &resource.categories)] {
        if !list.is_empty() {
            entry[key] = json!(list);
        }
    }
    if !subs.is_empty() {
        entry["subresources"] = json!(subs);
    }
    entry
}

fn aggregated(engine: &Engine, format: &str, core: bool) -> Response<Body> {
    let registry = engine.registry();
    let names = if core { vec![String::new()] } else { group_names(&registry) };
    let items: Vec<Value> = names
        .iter()
        .map(|name| {
            let versions: Vec<Value> = versions(&registry, name)
                .iter()
                .map(|version| {
                    let of_version = registry.iter().filter(|r| r.group == *name && r.version(version).is_some());
                    let resources: Vec<Value> = of_version.map(|r| aggregated_resource(r, version)).collect();
                    json!({"version": version, "resources": resources, "freshness": "Current"})
                })
                .collect();
            let metadata = if core {
                json!({"creationTimestamp": null})
            } else {
                json!({"name": name, "creationTimestamp": null})
            };
            json!({"metadata": metadata, "versions": versions})
        })
        .collect();
    let body = json!({
        "kind": "APIGroupDiscoveryList",
        "apiVersion": format!("apidiscovery.k8s.io/{format}"),
        "metadata": {},
        "items": items,
    });
    let mut response = respond::json(StatusCode::OK, &body);
    let kind = match format {
        "v2" => "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList",
        _ => "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList",
    };
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
