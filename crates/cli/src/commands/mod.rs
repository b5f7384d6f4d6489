//! The commands of the local cluster, and the parts of the mesh that run in it.

pub mod capture;
pub mod control;
pub mod down;
pub mod image;
pub mod kubectl;
pub mod proxy;
pub mod status;
pub mod up;

use std::fmt;
use std::io::Write;
use std::path::PathBuf;

use anyhow::Context;

/// Prints a line; that nobody reads it is no reason to fail.
fn say(line: fmt::Arguments<'_>) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// Where the local cluster keeps its state.
#[derive(Debug, clap::Args)]
pub struct HomeArg {
    /// State directory of the cluster (default: ~/.lateen)
    #[arg(long, env = "LATEEN_HOME", value_name = "DIR")]
    home: Option<PathBuf>,
}

impl HomeArg {
    /// The directory as an absolute path.
    ///
    /// # Errors
    /// When none is given and the user has no home directory.
    pub fn resolve(&self) -> anyhow::Result<PathBuf> {
        let home = match &self.home {
            Some(home) => home.clone(),
            None => {
                let user = std::env::var_os("HOME").filter(|home| !home.is_empty());
                let user = user.context("HOME is not set; say where to keep the state with --home")?;
                PathBuf::from(user).join(".lateen")
            }
        };
        std::path::absolute(&home).with_context(|| format!("{} is not a usable path", home.display()))
    }
}
