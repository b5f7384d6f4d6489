//! `lateen status`: whether a cluster runs on this machine.

use std::process::ExitCode;

use lateen_local::{Status, status};

use super::HomeArg;

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
            println!("cluster     {}", if ready { "ready" } else { "starting" });
            println!("API server  https://{api}");
            println!("kubeconfig  {}", home.join("kubeconfig").display());
            println!("running for {}", duration(seconds));
            println!("process     {pid}");
            Ok(if ready { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
        Status::Stopped { kept } => {
            println!("cluster     not running");
            println!("state       {}", if kept { "kept; `lateen up` brings it back" } else { "none" });
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
