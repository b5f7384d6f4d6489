//! `/clusters` and `/listeners`

use std::fmt::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use http::StatusCode;
use lateen_proxy_core::Tables;
use lateen_proxy_core::cluster::Cluster;
use lateen_proxy_core::endpoint::Endpoint;
use lateen_proxy_core::listener::Listener;
use serde_json::{Value, json};

use crate::local_http::{self, Reply};

fn sorted(tables: &Tables) -> Vec<&Arc<Cluster>> {
    let mut clusters: Vec<_> = tables.clusters().collect();
    clusters.sort_by(|a, b| a.name.cmp(&b.name));
    clusters
}

/// All clusters with their endpoints.
pub(super) fn clusters(tables: &Tables, as_json: bool) -> Reply {
    if as_json {
        let statuses: Vec<Value> = sorted(tables).into_iter().map(|cluster| cluster_json(cluster)).collect();
        return local_http::json(&json!({ "cluster_statuses": statuses }));
    }
    let mut out = String::new();
    for cluster in sorted(tables) {
        cluster_text(cluster, &mut out);
    }
    local_http::text(StatusCode::OK, out)
}

fn health(endpoint: &Endpoint) -> &'static str {
    if endpoint.healthy { "healthy" } else { "/failed_eds_health" }
}

fn cluster_text(cluster: &Cluster, out: &mut String) {
    let name = &cluster.name;
    for (priority, limits) in ["default", "high"].into_iter().zip(&cluster.limits) {
        for (what, limit) in [
            ("max_connections", limits.connections),
            ("max_pending_requests", limits.pending),
            ("max_requests", limits.requests),
            ("max_retries", limits.retries),
        ] {
            let _ = writeln!(out, "{name}::{priority}_priority::{what}::{limit}");
        }
    }
    let _ = writeln!(out, "{name}::added_via_api::true");
    for endpoint in cluster.endpoints.iter() {
        let address = &endpoint.address;
        let _ = writeln!(out, "{name}::{address}::rq_active::{}", endpoint.state.active.load(Relaxed));
        let _ = writeln!(out, "{name}::{address}::hostname::{}", endpoint.hostname);
        let _ = writeln!(out, "{name}::{address}::health_flags::{}", health(endpoint));
        let _ = writeln!(out, "{name}::{address}::weight::{}", endpoint.weight);
    }
}

fn cluster_json(cluster: &Cluster) -> Value {
    let hosts: Vec<Value> = cluster.endpoints.iter().map(|endpoint| endpoint_json(endpoint)).collect();
    json!({
        "name": &*cluster.name,
        "added_via_api": true,
        "host_statuses": hosts,
        "observability_name": &*cluster.name,
    })
}

fn endpoint_json(endpoint: &Endpoint) -> Value {
    let status = if endpoint.healthy { "HEALTHY" } else { "UNHEALTHY" };
    let active = endpoint.state.active.load(Relaxed).to_string();
    json!({
        "address": address_json(&endpoint.address.to_string()),
        "stats": [{ "type": "GAUGE", "name": "rq_active", "value": active }],
        "health_status": { "eds_health_status": status },
        "weight": endpoint.weight,
        "hostname": &*endpoint.hostname,
    })
}

fn address_json(text: &str) -> Value {
    match text.parse::<SocketAddr>() {
        Ok(address) => json!({ "socket_address": { "address": address.ip(), "port_value": address.port() } }),
        Err(_) => json!({ "pipe": { "path": text } }),
    }
}

/// All listeners.
pub(super) fn listeners(tables: &Tables, as_json: bool) -> Reply {
    let mut listeners: Vec<&Arc<Listener>> = tables.listeners().collect();
    listeners.sort_by(|a, b| a.name.cmp(&b.name));
    if as_json {
        let statuses = listeners.iter().map(
            |listener| json!({ "name": &*listener.name, "local_address": address_json(&listener.address.to_string()) }),
        );
        return local_http::json(&json!({ "listener_statuses": statuses.collect::<Vec<_>>() }));
    }
    let lines = listeners.iter().map(|listener| format!("{}::{}\n", listener.name, listener.address));
    local_http::text(StatusCode::OK, lines.collect::<String>())
}
