//! `lateen proxy-status`: which proxies are connected, and whether they took what they were sent.

use serde_json::Value;

use super::kubectl;
use super::proxy_config::{print_table, print_value};

/// Arguments of `lateen proxy-status`.
#[derive(clap::Args)]
pub struct Args {
    /// Only this proxy: POD or POD.NAMESPACE
    pod: Option<String>,
    /// Output format
    #[arg(short, long, default_value = "short", value_parser = ["short", "json", "yaml"])]
    output: String,
}

/// The resource types in the order of the columns, with their keys in `/debug/syncz`.
const TYPES: &[(&str, &str)] =
    &[("CDS", "cluster"), ("LDS", "listener"), ("EDS", "endpoint"), ("RDS", "route"), ("NDS", "name_table")];

/// Asks istiod and prints.
///
/// # Errors
/// When istiod does not answer.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let state = kubectl::get_json_inside("istio-system", "deploy/istiod", "discovery", 15014, "/debug/syncz")?;
    let proxies: Vec<_> = state
        .as_array()
        .into_iter()
        .flatten()
        .filter(|proxy| {
            args.pod.as_deref().is_none_or(|pod| name(proxy) == pod || name(proxy).split('.').next() == Some(pod))
        })
        .collect();
    if args.output != "short" {
        return print_value(&Value::from_iter(proxies.into_iter().cloned()), &args.output);
    }
    let mut header = vec!["NAME", "CLUSTER", "ISTIOD", "VERSION"];
    header.extend(TYPES.iter().map(|(title, _)| title));
    print_table(&header, proxies.into_iter().map(row).collect());
    Ok(())
}

fn name(proxy: &Value) -> &str {
    proxy["proxy"].as_str().unwrap_or_default()
}

fn row(proxy: &Value) -> Vec<String> {
    let text = |key: &str| proxy[key].as_str().unwrap_or("-").to_owned();
    let mut row = vec![name(proxy).to_owned(), text("cluster_id"), text("istiod"), text("istio_version")];
    row.extend(TYPES.iter().map(|(_, key)| sync(proxy, key)));
    row
}

/// Whether the proxy acknowledged what it was sent last.
fn sync(proxy: &Value, kind: &str) -> String {
    let of = |suffix: &str| proxy[format!("{kind}_{suffix}")].as_str().unwrap_or_default();
    match (of("sent"), of("acked")) {
        ("", _) => "NOT SENT",
        _ if !of("error").is_empty() => "ERROR",
        (sent, acked) if sent == acked => "SYNCED",
        _ => "STALE",
    }
    .to_owned()
}
