//! `lateen version`: of this binary and, where one answers, of the control plane.

use serde_json::json;

use super::kubectl;

/// Arguments of `lateen version`.
#[derive(clap::Args)]
pub struct Args {
    /// Do not ask the control plane
    #[arg(long)]
    client: bool,
    /// Output format
    #[arg(short, long, value_parser = ["json", "yaml"])]
    output: Option<String>,
}

/// Prints the versions.
///
/// # Errors
/// When standard output can't be written.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let client = env!("CARGO_PKG_VERSION");
    let control =
        (!args.client).then(|| kubectl::get_inside("istio-system", "deploy/istiod", "discovery", 15014, "/version"));
    let control = control.and_then(Result::ok).map(|text| text.trim().to_owned());
    match args.output.as_deref() {
        Some(format) => {
            super::proxy_config::print_value(&json!({"clientVersion": client, "meshVersion": control}), format)
        }
        None => {
            println!("client version: {client}");
            if !args.client {
                println!(
                    "control plane version: {}",
                    control.as_deref().unwrap_or("no running istiod in istio-system")
                );
            }
            Ok(())
        }
    }
}
