//! `lateen proxy-config`: what a proxy holds, as tables or as it is.

mod clusters;
mod dump;
mod endpoints;
mod listeners;
mod routes;
mod secrets;

use anyhow::Context;
use clap::Subcommand;
use comfy_table::{Table, presets};
use serde_json::Value;

use self::dump::Dump;

/// Arguments of `lateen proxy-config`.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Destinations the proxy knows
    #[command(visible_aliases = ["clusters", "c"])]
    Cluster(clusters::Filter),
    /// Addresses behind the destinations
    #[command(visible_aliases = ["endpoints", "ep"])]
    Endpoint(endpoints::Filter),
    /// Addresses and captured destinations the proxy listens for
    #[command(visible_aliases = ["listeners", "l"])]
    Listener(listeners::Filter),
    /// Virtual hosts and routes
    #[command(visible_aliases = ["routes", "r"])]
    Route(routes::Filter),
    /// Certificates the proxy holds; never their keys
    #[command(visible_aliases = ["secrets", "s"])]
    Secret(Target),
    /// Everything, as the proxy's admin port gives it
    All(Target),
}

/// Which proxy, and how to show it.
#[derive(clap::Args)]
struct Target {
    /// POD, POD.NAMESPACE or TYPE/NAME, for instance deploy/curl
    workload: String,
    /// Namespace of the workload
    #[arg(short, long)]
    namespace: Option<String>,
    /// Output format
    #[arg(short, long, default_value = "short", value_parser = ["short", "json", "yaml"])]
    output: String,
}

/// Asks the proxy and prints.
///
/// # Errors
/// When the workload has no proxy that answers.
pub fn run(args: &Args) -> anyhow::Result<()> {
    match &args.what {
        What::Cluster(filter) => clusters::show(filter),
        What::Endpoint(filter) => endpoints::show(filter),
        What::Listener(filter) => listeners::show(filter),
        What::Route(filter) => routes::show(filter),
        What::Secret(target) => secrets::show(target),
        What::All(target) => {
            let format = if target.output == "yaml" { "yaml" } else { "json" };
            print_value(Dump::of(target)?.whole(), format)
        }
    }
}

/// Prints a value as JSON or YAML.
///
/// # Errors
/// When it can't be written.
pub fn print_value(value: &Value, format: &str) -> anyhow::Result<()> {
    let text = match format {
        "yaml" => serde_saphyr::to_string(value).context("YAML")?,
        _ => serde_json::to_string_pretty(value)? + "\n",
    };
    print!("{text}");
    Ok(())
}

/// Prints rows under a header, in columns without lines, as `kubectl` does.
pub fn print_table(header: &[&str], mut rows: Vec<Vec<String>>) {
    rows.sort();
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(header);
    table.add_rows(rows);
    for line in table.lines() {
        println!("{}", line.trim());
    }
}

/// The object that made a resource, as `kind/name.namespace`, from its metadata.
fn source(resource: &Value) -> String {
    let path = resource["metadata"]["filter_metadata"]["istio"]["config"].as_str().unwrap_or_default();
    let parts: Vec<_> = path.split('/').collect();
    match parts[..] {
        [.., "namespaces", namespace, _, name] => format!("{name}.{namespace}"),
        _ => String::new(),
    }
}
