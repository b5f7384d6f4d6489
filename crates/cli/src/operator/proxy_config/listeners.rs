//! `proxy-config listener`.

use serde_json::Value;

use super::dump::Dump;
use super::{Target, print_table, print_value};

#[derive(clap::Args)]
pub(super) struct Filter {
    #[command(flatten)]
    target: Target,
    /// Only this address
    #[arg(long)]
    address: Option<String>,
    /// Only this port
    #[arg(long)]
    port: Option<u64>,
}

pub(super) fn show(filter: &Filter) -> anyhow::Result<()> {
    let dump = Dump::of(&filter.target)?;
    let listeners: Vec<_> =
        dump.entries("ListenersConfigDump", &["static_listeners", "dynamic_listeners"])
            .map(|entry| {
                if entry["active_state"].is_object() { &entry["active_state"]["listener"] } else { &entry["listener"] }
            })
            .filter(|listener| wanted(filter, listener))
            .collect();
    if filter.target.output != "short" {
        return print_value(&Value::from_iter(listeners.into_iter().cloned()), &filter.target.output);
    }
    let rows = listeners.into_iter().flat_map(rows).collect();
    print_table(&["ADDRESSES", "PORT", "MATCH", "DESTINATION"], rows);
    Ok(())
}

fn wanted(filter: &Filter, listener: &Value) -> bool {
    let socket = &listener["address"]["socket_address"];
    filter.address.as_deref().is_none_or(|wanted| socket["address"] == wanted)
        && filter.port.is_none_or(|wanted| socket["port_value"] == wanted)
}

fn rows(listener: &Value) -> Vec<Vec<String>> {
    let socket = &listener["address"]["socket_address"];
    let address = socket["address"].as_str().unwrap_or_default().to_owned();
    let port = socket["port_value"].to_string();
    let chains = listener["filter_chains"].as_array().into_iter().flatten();
    chains
        .chain(listener.get("default_filter_chain"))
        .map(|chain| {
            vec![address.clone(), port.clone(), describe_match(&chain["filter_chain_match"]), destination(chain)]
        })
        .collect()
}

/// The conditions of a filter chain, in one line.
fn describe_match(conditions: &Value) -> String {
    let list = |key: &str| {
        let items = conditions[key].as_array().into_iter().flatten().filter_map(Value::as_str);
        items.collect::<Vec<_>>().join(",")
    };
    let mut parts = Vec::new();
    if let Some(port) = conditions["destination_port"].as_u64() {
        parts.push(format!("Addr: *:{port}"));
    }
    let prefixes = conditions["prefix_ranges"].as_array().into_iter().flatten();
    parts.extend(prefixes.map(|prefix| {
        format!("Addr: {}/{}", prefix["address_prefix"].as_str().unwrap_or_default(), prefix["prefix_len"])
    }));
    for (key, title) in [("server_names", "SNI"), ("transport_protocol", "Trans"), ("application_protocols", "App")] {
        let text = conditions[key].as_str().map_or_else(|| list(key), str::to_owned);
        if !text.is_empty() {
            parts.push(format!("{title}: {text}"));
        }
    }
    if parts.is_empty() { "ALL".to_owned() } else { parts.join("; ") }
}

/// Where a filter chain leads: a route configuration, or a cluster.
fn destination(chain: &Value) -> String {
    let filters = chain["filters"].as_array().into_iter().flatten();
    for filter in filters {
        let config = &filter["typed_config"];
        if let Some(route) = config["rds"]["route_config_name"].as_str() {
            return format!("Route: {route}");
        }
        if let Some(name) = config["route_config"]["name"].as_str() {
            return format!("Inline Route: {name}");
        }
        if let Some(cluster) = config["cluster"].as_str() {
            return format!("Cluster: {cluster}");
        }
    }
    "-".to_owned()
}
