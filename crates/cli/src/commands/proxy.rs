//! `lateen proxy`: the data plane of one pod.

use std::process::ExitCode;

use lateen_proxy::app;
use lateen_proxy::config::ProxyArgs;

/// Options of `lateen proxy`.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Args {
    #[command(subcommand)]
    other: Option<Other>,
    #[command(flatten)]
    proxy: ProxyArgs,
}

/// Other data planes.
#[derive(Debug, clap::Subcommand)]
enum Other {
    /// Run a stock Envoy as the data plane: `lateen proxy agent -- envoy`
    Agent {
        #[command(flatten)]
        proxy: ProxyArgs,
        /// The Envoy to start, and its own arguments
        #[arg(last = true, value_name = "COMMAND")]
        command: Vec<String>,
    },
}

/// Serves until told to end.
///
/// # Errors
/// When the pod's environment is incomplete or a port is taken.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    match &args.other {
        Some(Other::Agent { proxy, command }) => app::run_agent(proxy, command)?,
        None => app::run(&args.proxy)?,
    }
    Ok(ExitCode::SUCCESS)
}
