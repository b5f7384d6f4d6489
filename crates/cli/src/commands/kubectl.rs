//! `lateen kubectl`: the user's kubectl, talking to the local cluster.

use std::env::{join_paths, split_paths, var_os};
use std::ffi::{OsStr, OsString};
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, bail};

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
    let home = HomeArg { home: var_os("LATEEN_HOME").map(Into::into) }.resolve()?;
    let kubeconfig = home.join("kubeconfig");
    if !kubeconfig.is_file() {
        bail!("there is no local cluster at {}; start one with `lateen up`", home.display());
    }
    let passed: Vec<PathBuf> = var_os(PASSED).iter().flat_map(split_paths).collect();
    let program = choose(&var_os("PATH").unwrap_or_default(), &passed)?;
    let mut command = Command::new(&program);
    command.args(&args.args).env("KUBECONFIG", kubeconfig);
    if is_script(&program) {
        command.env(PASSED, join_paths(passed.iter().chain([&program]))?);
    }
    bail!("{} can't be started: {}", program.display(), command.exec())
}

/// Scripts called `kubectl` that this command has become before. One that comes back here is a wrapper, and what it wraps
/// is the next on PATH.
const PASSED: &str = "LATEEN_KUBECTL_PASSED";

/// The first `kubectl` on `path` that has not led back here.
fn choose(path: &OsStr, passed: &[PathBuf]) -> anyhow::Result<PathBuf> {
    let mut found = split_paths(path).map(|folder| folder.join("kubectl")).filter(|file| is_program(file)).peekable();
    if found.peek().is_none() {
        bail!("there is no kubectl on PATH; install it, or put it there");
    }
    let left = found.find(|file| !passed.contains(file));
    left.context("every kubectl on PATH is a script that calls `lateen kubectl` again; put the real kubectl there too")
}

fn is_program(file: &Path) -> bool {
    file.metadata().is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

fn is_script(file: &Path) -> bool {
    let mut start = [0; 2];
    std::fs::File::open(file).and_then(|mut file| file.read_exact(&mut start)).is_ok() && start == *b"#!"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrapper_that_comes_back_is_passed_over() {
        let home = tempfile::tempdir().unwrap();
        let [wrapper, real] = ["a", "b"].map(|folder| home.path().join(folder).join("kubectl"));
        for (file, content) in [(&wrapper, "#!/bin/sh\nexec lateen kubectl \"$@\"\n"), (&real, "\x7fELF")] {
            std::fs::create_dir(file.parent().unwrap()).unwrap();
            std::fs::write(file, content).unwrap();
            std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o755)).unwrap();
        }
        let path = join_paths(["a", "none", "b"].map(|folder| home.path().join(folder))).unwrap();
        assert!(is_script(&wrapper) && !is_script(&real));
        assert_eq!(choose(&path, &[]).unwrap(), wrapper);
        assert_eq!(choose(&path, std::slice::from_ref(&wrapper)).unwrap(), real);
        let all = [wrapper, real];
        assert!(choose(&path, &all).unwrap_err().to_string().contains("put the real kubectl there too"));
        assert!(choose(OsStr::new("/nonexistent"), &[]).unwrap_err().to_string().contains("no kubectl on PATH"));
    }
}
