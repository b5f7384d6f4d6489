//! `lateen down`: the end of the local cluster.

use std::process::ExitCode;

use lateen_local::{Down, down};

use super::{HomeArg, say};

/// Options of `lateen down`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    home: HomeArg,
    /// Also delete the state: all objects, keys and logs
    #[arg(long)]
    purge: bool,
}

/// Stops the cluster.
///
/// # Errors
/// When it does not stop or its files can't be deleted.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let options = Down { home: args.home.resolve()?, purge: args.purge };
    let ran = down(&options)?;
    let state = if args.purge { "its state is deleted" } else { "its state is kept" };
    match (ran, args.purge) {
        (true, _) => say(format_args!("The cluster has ended; {state}.")),
        (false, true) => say(format_args!("No cluster was running; the state is deleted.")),
        (false, false) => say(format_args!("No cluster is running.")),
    }
    Ok(ExitCode::SUCCESS)
}
