//! First stage: makes the namespaces, then starts the sandbox's first process in them.

use std::io;
use std::process::{ExitCode, Stdio};

use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{SigSet, Signal};
use nix::unistd::{Gid, Uid, setgroups, setresgid, setresuid};

use super::channel::Channel;
use super::message::{FromSandbox, ToSandbox};
use crate::reexec::Stage;

pub(crate) fn main() -> ExitCode {
    let Ok(channel) = Channel::from_stdin() else { return ExitCode::from(2) };
    match run(&channel) {
        Ok(code) => ExitCode::from(code),
        Err(what) => {
            let _ = channel.send(&FromSandbox::Refused(what));
            ExitCode::from(1)
        }
    }
}

fn refused<E: std::fmt::Display>(what: &'static str) -> impl FnOnce(E) -> String {
    move |error| format!("{what} ({error})")
}

fn run(channel: &Channel) -> Result<u8, String> {
    // The launcher waits for its signals with them blocked, which is inherited by all in here.
    SigSet::empty().thread_set_mask().map_err(refused("unblock signals"))?;
    unshare(CloneFlags::CLONE_NEWUSER).map_err(refused("make a user namespace"))?;
    let lost = refused::<io::Error>("talk to the launcher");
    channel.send(&FromSandbox::UserNamespace).map_err(lost)?;
    let Ok(Some((ToSandbox::Mapped { groups }, _))) = channel.recv() else { return Ok(2) };
    become_root(groups).map_err(refused("become root in its user namespace"))?;
    set_pdeathsig(Signal::SIGKILL).map_err(refused("be ended with its parent"))?;
    make_namespaces()?;
    let stdin = channel.try_clone().map_err(refused("copy a descriptor"))?;
    channel.send(&FromSandbox::Built).map_err(refused("talk to the launcher"))?;
    let mut child = Stage::SandboxInit
        .command()
        .stdin(Stdio::from(stdin.into_fd()))
        .spawn()
        .map_err(refused("start a process in a new PID namespace"))?;
    let status = child.wait().map_err(refused("wait for the sandbox"))?;
    Ok(status.code().map_or(1, |code| u8::try_from(code).unwrap_or(1)))
}

fn become_root(groups: bool) -> nix::Result<()> {
    let (uid, gid) = (Uid::from_raw(0), Gid::from_raw(0));
    if groups {
        setgroups(&[gid])?;
    }
    setresgid(gid, gid, gid)?;
    setresuid(uid, uid, uid)
}

fn make_namespaces() -> Result<(), String> {
    for (flag, what) in [
        (CloneFlags::CLONE_NEWNS, "make a mount namespace"),
        (CloneFlags::CLONE_NEWNET, "make a network namespace"),
        (CloneFlags::CLONE_NEWPID, "make a PID namespace"),
        (CloneFlags::CLONE_NEWIPC, "make an IPC namespace"),
        (CloneFlags::CLONE_NEWUTS, "make a UTS namespace"),
    ] {
        unshare(flag).map_err(refused(what))?;
    }
    // Old kernels and some containers lack it, and nothing here depends on it.
    let _ = unshare(CloneFlags::CLONE_NEWCGROUP);
    Ok(())
}
