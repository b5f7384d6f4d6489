//! `lateen kubectl`: the user's kubectl, talking to the local cluster.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use anyhow::bail;

use super::HomeArg;

/// Arguments of `lateen kubectl`, passed on as they are.
#[derive(Debug, clap::Args)]
#[command(disable_help_flag = true)]
pub struct Args {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    args: Vec<OsString>,
}

/// Becomes kubectl.
///
/// # Errors
/// When there is no kubectl or no local cluster.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let home = HomeArg { home: std::env::var_os("LATEEN_HOME").map(Into::into) }.resolve()?;
    let kubeconfig = home.join("kubeconfig");
    if !kubeconfig.is_file() {
        bail!("there is no local cluster at {}; start one with `lateen up`", home.display());
    }
    let error = Command::new("kubectl").args(&args.args).env("KUBECONFIG", kubeconfig).exec();
    bail!("kubectl can't be started ({error}); install it or put it on PATH")
}
