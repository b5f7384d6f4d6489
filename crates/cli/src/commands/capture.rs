//! `lateen capture`: interception in the current network namespace.

use std::process::ExitCode;

use lateen_proxy::capture::{self, CaptureArgs};

/// Options of `lateen capture`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    capture: CaptureArgs,
    /// How much to say, as `scope:level`: with `default:debug` the settings are printed
    #[arg(long = "log_output_level", default_value = "default:info")]
    log: String,
}

/// Sets up the rules.
///
/// # Errors
/// When the settings are wrong or the kernel refuses the rules.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    if args.log.rsplit(':').next() == Some("debug") {
        super::say(format_args!("{:#?}", args.capture));
    }
    capture::run(&args.capture)?;
    Ok(ExitCode::SUCCESS)
}
