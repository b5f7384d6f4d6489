//! `proxy-config route`.

use serde_json::Value;

use super::dump::Dump;
use super::{Target, print_table, print_value, source};

#[derive(clap::Args)]
pub(super) struct Filter {
    #[command(flatten)]
    target: Target,
    /// Only the route configuration with this name
    #[arg(long)]
    name: Option<String>,
}

pub(super) fn show(filter: &Filter) -> anyhow::Result<()> {
    let dump = Dump::of(&filter.target)?;
    let configurations: Vec<_> = dump
        .entries("RoutesConfigDump", &["static_route_configs", "dynamic_route_configs"])
        .map(|entry| &entry["route_config"])
        .filter(|configuration| filter.name.as_deref().is_none_or(|wanted| configuration["name"] == wanted))
        .collect();
    if filter.target.output != "short" {
        return print_value(&Value::from_iter(configurations.into_iter().cloned()), &filter.target.output);
    }
    let rows = configurations.into_iter().flat_map(rows).collect();
    print_table(&["NAME", "VHOST NAME", "DOMAINS", "MATCH", "VIRTUAL SERVICE"], rows);
    Ok(())
}

fn rows(configuration: &Value) -> Vec<Vec<String>> {
    let name = configuration["name"].as_str().unwrap_or_default();
    let hosts = configuration["virtual_hosts"].as_array().into_iter().flatten();
    hosts
        .flat_map(|host| {
            let domains: Vec<_> = host["domains"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
            let shown = match domains.len() {
                0..=2 => domains.join(", "),
                more => format!("{}, {} + {} more...", domains[0], domains[1], more - 2),
            };
            let routes = host["routes"].as_array().into_iter().flatten();
            routes.map(move |route| {
                let host = host["name"].as_str().unwrap_or_default();
                vec![name.to_owned(), host.to_owned(), shown.clone(), describe_match(&route["match"]), source(route)]
            })
        })
        .collect()
}

fn describe_match(conditions: &Value) -> String {
    let path = ["path", "prefix", "path_separated_prefix"].iter().find_map(|key| {
        let text = conditions[*key].as_str()?;
        Some(if *key == "path" { text.to_owned() } else { format!("{}*", text.trim_end_matches('*')) })
    });
    path.or_else(|| Some(format!("regex {}", conditions["safe_regex"]["regex"].as_str()?)))
        .unwrap_or_else(|| "/*".to_owned())
}
