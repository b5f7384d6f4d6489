//! `lateen control`: the control plane.

use std::process::ExitCode;

use lateen_control::Config;
use tracing_subscriber::EnvFilter;

/// Options of `lateen control`; everything else is in its environment and in the cluster.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// What to log: a level, or levels by module
    #[arg(long, env = "LATEEN_LOG", default_value = "info")]
    log: String,
}

/// Runs the control plane until it is told to end.
///
/// # Errors
/// When it can't reach the Kubernetes API or can't listen.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    tracing_subscriber::fmt().with_env_filter(EnvFilter::try_new(&args.log)?).with_ansi(false).init();
    let config = Config::resolve(env!("CARGO_PKG_VERSION"), |name| std::env::var(name).ok());
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(lateen_control::run(config))?;
    Ok(ExitCode::SUCCESS)
}
