//! A container's first process: builds its root, gives up what it may not have, becomes the
//! container's program.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use nix::mount::{MntFlags, umount2};
use nix::sched::{CloneFlags, unshare};
use nix::sys::stat::{Mode, umask};
use nix::unistd::{chdir, pivot_root};

use super::spec::{ContainerSpec, Process};
use super::{console, identity, mounts, rootfs};
use crate::stage;

/// Where the host's root is seen until the container is complete.
pub(super) const OLD_ROOT: &str = ".host";

pub(crate) fn main() -> ExitCode {
    let Ok((spec, socket)) = stage::asked::<ContainerSpec>() else { return ExitCode::from(2) };
    let Err(reason) = become_container(&spec);
    stage::answer::<()>(&socket, Err(reason))
}

fn become_container(spec: &ContainerSpec) -> Result<std::convert::Infallible, String> {
    unshare(CloneFlags::CLONE_NEWNS).map_err(|e| format!("make a mount namespace: {e}"))?;
    let _ = unshare(CloneFlags::CLONE_NEWCGROUP);
    rootfs::build(spec).map_err(|e| format!("build the root file system: {e}"))?;
    enter(spec)?;
    let process = &spec.process;
    console::connect(spec.console, &process.identity).map_err(|e| format!("connect the standard streams: {e}"))?;
    identity::assume(&process.identity)?;
    Err(run(process))
}

fn enter(spec: &ContainerSpec) -> Result<(), String> {
    let old = spec.root.join(OLD_ROOT);
    pivot_root(&spec.root, &old).map_err(|e| format!("change the root: {e}"))?;
    chdir("/").map_err(|e| format!("enter the root: {e}"))?;
    for step in [mounts::volume, mounts::seal_volume] {
        for volume in &spec.volumes {
            step(volume).map_err(|e| format!("mount a volume at {}: {e}", volume.target.display()))?;
        }
    }
    let old = format!("/{OLD_ROOT}");
    umount2(old.as_str(), MntFlags::MNT_DETACH).map_err(|e| format!("leave the host's root: {e}"))?;
    let finished = std::fs::remove_dir(&old).and_then(|()| rootfs::finish(spec));
    finished.map_err(|e| format!("finish the root file system: {e}"))
}

/// Replaces this process by the container's program; returns only when that fails.
pub(super) fn run(process: &Process) -> String {
    let cwd = &process.cwd;
    if let Err(e) = std::env::set_current_dir(cwd) {
        return format!("enter the working directory {}: {e}", cwd.display());
    }
    umask(Mode::from_bits_truncate(0o022));
    match command(process) {
        Ok(mut command) => not_run(process, &command.exec()),
        Err(reason) => reason,
    }
}

/// Why a program could not be run, in words.
pub(super) fn not_run(process: &Process, error: &io::Error) -> String {
    let program = process.argv.first().map_or("", String::as_str);
    if error.kind() == io::ErrorKind::NotFound {
        format!("exec: {program:?}: executable file not found in $PATH")
    } else {
        format!("exec: {program:?}: {error}")
    }
}

/// The program as a command with exactly its own environment.
pub(super) fn command(process: &Process) -> Result<Command, String> {
    let (program, args) = process.argv.split_first().ok_or("no command specified")?;
    let mut command = Command::new(program);
    command.args(args).env_clear().envs(process.env.iter().map(|(k, v)| (k, v)));
    Ok(command)
}
