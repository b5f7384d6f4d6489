//! `proxy-config cluster`.

use serde_json::Value;

use super::dump::Dump;
use super::{Target, print_table, print_value, source};

#[derive(clap::Args)]
pub(super) struct Filter {
    #[command(flatten)]
    target: Target,
    /// Only this host name
    #[arg(long)]
    fqdn: Option<String>,
    /// Only this port
    #[arg(long)]
    port: Option<String>,
    /// Only this subset
    #[arg(long)]
    subset: Option<String>,
    /// inbound or outbound
    #[arg(long)]
    direction: Option<String>,
}

/// A cluster's name taken apart: `outbound|80|v1|host`; other names are a host alone.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Parts<'a> {
    pub direction: &'a str,
    pub port: &'a str,
    pub subset: &'a str,
    pub host: &'a str,
}

impl<'a> Parts<'a> {
    pub(super) fn of(name: &'a str) -> Self {
        match name.split('|').collect::<Vec<_>>()[..] {
            [direction, port, subset, host] => Self { direction, port, subset, host },
            _ => Self { direction: "-", port: "-", subset: "-", host: name },
        }
    }
}

pub(super) fn show(filter: &Filter) -> anyhow::Result<()> {
    let dump = Dump::of(&filter.target)?;
    let clusters: Vec<_> = dump
        .entries("ClustersConfigDump", &["static_clusters", "dynamic_active_clusters"])
        .map(|entry| &entry["cluster"])
        .filter(|cluster| wanted(filter, &Parts::of(cluster["name"].as_str().unwrap_or_default())))
        .collect();
    if filter.target.output != "short" {
        return print_value(&Value::from_iter(clusters.into_iter().cloned()), &filter.target.output);
    }
    let rows = clusters.into_iter().map(row).collect();
    print_table(&["SERVICE FQDN", "PORT", "SUBSET", "DIRECTION", "TYPE", "DESTINATION RULE"], rows);
    Ok(())
}

fn wanted(filter: &Filter, parts: &Parts<'_>) -> bool {
    let same = |wanted: &Option<String>, found: &str| wanted.as_deref().is_none_or(|wanted| wanted == found);
    same(&filter.fqdn, parts.host)
        && same(&filter.port, parts.port)
        && same(&filter.subset, parts.subset)
        && same(&filter.direction, parts.direction)
}

fn row(cluster: &Value) -> Vec<String> {
    let parts = Parts::of(cluster["name"].as_str().unwrap_or_default());
    let or_dash = |text: &str| if text.is_empty() { "-".to_owned() } else { text.to_owned() };
    let kind = cluster["type"].as_str().or(cluster["cluster_type"]["name"].as_str()).unwrap_or("STATIC");
    vec![
        parts.host.to_owned(),
        or_dash(parts.port),
        or_dash(parts.subset),
        or_dash(parts.direction),
        kind.to_owned(),
        source(cluster),
    ]
}

#[cfg(test)]
mod tests {
    use super::Parts;

    #[test]
    fn takes_names_apart() {
        let parts = Parts::of("outbound|80|v1|backend.default.svc.cluster.local");
        assert_eq!(
            (parts.direction, parts.port, parts.subset, parts.host),
            ("outbound", "80", "v1", "backend.default.svc.cluster.local")
        );
        assert_eq!(Parts::of("PassthroughCluster").host, "PassthroughCluster");
    }
}
