//! `lateen status`: whether a cluster runs on this machine.

use std::process::ExitCode;

use lateen_local::{Status, status};

use super::{HomeArg, say};

/// Options of `lateen status`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    home: HomeArg,
}

/// Shows the cluster. The exit code is 0 when it is ready, 1 when it isn't.
///
/// # Errors
/// When there is no state directory to look at.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let home = args.home.resolve()?;
    match status(&home) {
        Status::Running { api, pid, ready, seconds } => {
            say(format_args!("cluster     {}", if ready { "ready" } else { "starting" }));
            say(format_args!("API server  https://{api}"));
            say(format_args!("kubeconfig  {}", home.join("kubeconfig").display()));
            say(format_args!("running for {}", duration(seconds)));
            say(format_args!("process     {pid}"));
            Ok(if ready { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
        Status::Stopped { kept } => {
            say(format_args!("cluster     not running"));
            say(format_args!("state       {}", if kept { "kept; `lateen up` brings it back" } else { "none" }));
            Ok(ExitCode::FAILURE)
        }
    }
}

fn duration(seconds: i64) -> String {
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m{}s", seconds / 60, seconds % 60),
        _ => format!("{}h{}m", seconds / 3600, seconds % 3600 / 60),
    }
}
