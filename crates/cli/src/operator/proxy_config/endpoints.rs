//! `proxy-config endpoint`.

use serde_json::Value;

use super::dump::Dump;
use super::{Target, print_table, print_value};

#[derive(clap::Args)]
pub(super) struct Filter {
    #[command(flatten)]
    target: Target,
    /// Only this cluster, for instance 'outbound|80||backend.default.svc.cluster.local'
    #[arg(long)]
    cluster: Option<String>,
    /// Only this address
    #[arg(long)]
    address: Option<String>,
    /// Only this port
    #[arg(long)]
    port: Option<u64>,
}

pub(super) fn show(filter: &Filter) -> anyhow::Result<()> {
    let dump = Dump::of(&filter.target)?;
    let assignments: Vec<_> = dump
        .entries("EndpointsConfigDump", &["static_endpoint_configs", "dynamic_endpoint_configs"])
        .map(|entry| &entry["endpoint_config"])
        .filter(|assignment| filter.cluster.as_deref().is_none_or(|wanted| assignment["cluster_name"] == wanted))
        .collect();
    if filter.target.output != "short" {
        return print_value(&Value::from_iter(assignments.into_iter().cloned()), &filter.target.output);
    }
    let rows = assignments.into_iter().flat_map(|assignment| rows(filter, assignment)).collect();
    print_table(&["ENDPOINT", "STATUS", "OUTLIER CHECK", "CLUSTER"], rows);
    Ok(())
}

fn rows(filter: &Filter, assignment: &Value) -> Vec<Vec<String>> {
    let localities = assignment["endpoints"].as_array().into_iter().flatten();
    let endpoints = localities.filter_map(|locality| locality["lb_endpoints"].as_array()).flatten();
    endpoints
        .filter_map(|endpoint| {
            let socket = &endpoint["endpoint"]["address"]["socket_address"];
            let (address, port) = (socket["address"].as_str()?, socket["port_value"].as_u64()?);
            let wanted = filter.address.as_deref().is_none_or(|wanted| wanted == address)
                && filter.port.is_none_or(|wanted| wanted == port);
            wanted.then(|| {
                vec![
                    format!("{address}:{port}"),
                    endpoint["health_status"].as_str().unwrap_or("HEALTHY").to_owned(),
                    if endpoint["failed_outlier_check"] == true { "FAILED" } else { "OK" }.to_owned(),
                    assignment["cluster_name"].as_str().unwrap_or_default().to_owned(),
                ]
            })
        })
        .collect()
}
