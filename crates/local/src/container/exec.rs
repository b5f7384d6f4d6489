//! Running a further process in a container.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CloneFlags, setns};
use nix::sys::prctl::set_dumpable;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use rustix::process::{PidfdFlags, pidfd_open};
use serde::{Deserialize, Serialize};

use super::console::{self, Size};
use super::spec::Process;
use super::{identity, init};
use crate::reexec::Stage;
use crate::sandbox::channel::Channel;

/// Exit code of a command that could not be started, as shells have it.
const CANNOT_START: u8 = 126;

/// What to run, and where.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ExecSpec {
    /// First process of the container.
    pub(crate) container: i32,
    pub(crate) process: Process,
    pub(crate) tty: bool,
    /// How large the terminal is at first.
    pub(crate) size: Option<Size>,
    /// Which of standard input, output and error come with the message (never with a terminal).
    pub(crate) streams: [bool; 3],
}

/// Whether it runs; with a terminal, its controlling end comes with the message.
type Started = Result<(), String>;

/// A process that runs in a container; dropped, it is ended.
pub(crate) struct Running {
    pub(crate) child: tokio::process::Child,
    pub(crate) terminal: Option<OwnedFd>,
    /// The stage ends the process when this closes.
    _leash: Channel,
}

/// Starts a process in a container.
pub(crate) async fn start(spec: ExecSpec, streams: Vec<OwnedFd>) -> Result<Running, String> {
    let failed = |e: io::Error| format!("cannot run a stage of the node agent: {e}");
    let (ours, theirs) = Channel::pair().map_err(failed)?;
    let mut command = tokio::process::Command::from(Stage::ContainerExec.command());
    command.stdin(Stdio::from(theirs.into_fd()));
    let child = command.spawn().map_err(failed)?;
    drop(command);
    let talk = tokio::task::spawn_blocking(move || {
        let fds: Vec<_> = streams.iter().map(AsFd::as_fd).collect();
        ours.send_with(&spec, &fds)?;
        drop(streams);
        Ok((ours.recv::<Started>()?, ours))
    });
    match talk.await.map_err(|e| e.to_string())?.map_err(failed)? {
        (Some((Ok(()), fds)), ours) => Ok(Running { child, terminal: fds.into_iter().next(), _leash: ours }),
        (Some((Err(reason), _)), _) => Err(reason),
        (None, _) => Err("the command's starting stage ended early".to_owned()),
    }
}

pub(crate) fn main() -> ExitCode {
    let Ok(channel) = Channel::from_stdin() else { return ExitCode::from(2) };
    let Ok(Some((spec, streams))) = channel.recv::<ExecSpec>() else { return ExitCode::from(2) };
    match run(&channel, &spec, streams) {
        Ok(code) => ExitCode::from(code),
        Err(reason) => {
            let _ = channel.send(&Started::Err(reason));
            ExitCode::from(CANNOT_START)
        }
    }
}

fn run(channel: &Channel, spec: &ExecSpec, streams: Vec<OwnedFd>) -> Result<u8, String> {
    // From the moment it is in the container until it becomes the command, nobody in there may look into it.
    set_dumpable(false).map_err(|e| format!("close itself to others: {e}"))?;
    join(spec.container).map_err(|e| format!("join the container: {e}"))?;
    let open = || console::open_terminal(&spec.process.identity, spec.size);
    let terminal = spec.tty.then(open).transpose().map_err(|e| format!("open a terminal: {e}"))?;
    identity::assume(&spec.process.identity)?;
    std::env::set_current_dir(&spec.process.cwd).map_err(|e| format!("enter the working directory: {e}"))?;
    let [stdin, stdout, stderr] = match &terminal {
        Some((_, slave)) => copies(slave).map_err(|e| format!("use the terminal: {e}"))?,
        None => given(spec.streams, streams),
    };
    let mut command = if terminal.is_some() { leader(&spec.process)? } else { init::command(&spec.process)? };
    command.stdin(stdin).stdout(stdout).stderr(stderr);
    if terminal.is_none() {
        command.process_group(0);
    }
    let mut child = command.spawn().map_err(|e| init::not_run(&spec.process, &e))?;
    drop(command);
    let master: Vec<_> = terminal.iter().map(|(master, _)| master.as_fd()).collect();
    let _ = channel.send_with(&Started::Ok(()), &master);
    drop(terminal);
    let status = supervise(channel, &mut child).map_err(|e| e.to_string())?;
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    Ok(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1))
}

/// Waits for the end of the process; ends it with everything in its group when the node agent lets go of it.
fn supervise(channel: &Channel, child: &mut Child) -> io::Result<ExitStatus> {
    let id = i32::try_from(child.id()).map_err(io::Error::other)?;
    let gone = pidfd_open(rustix::process::Pid::from_child(child), PidfdFlags::empty())?;
    let mut watched = [PollFd::new(gone.as_fd(), PollFlags::POLLIN), PollFd::new(channel.as_fd(), PollFlags::POLLIN)];
    while let Err(error) = poll(&mut watched, PollTimeout::NONE) {
        if error != Errno::EINTR {
            return Err(error.into());
        }
    }
    if !watched[0].any().unwrap_or(false) {
        let _ = killpg(Pid::from_raw(id), Signal::SIGKILL);
    }
    child.wait()
}

/// Enters all namespaces of a container; the PID namespace holds for children only.
fn join(pid: i32) -> io::Result<()> {
    let open = |kind| File::open(format!("/proc/{pid}/ns/{kind}"));
    let namespaces = [
        (open("net")?, CloneFlags::CLONE_NEWNET),
        (open("ipc")?, CloneFlags::CLONE_NEWIPC),
        (open("uts")?, CloneFlags::CLONE_NEWUTS),
        (open("pid")?, CloneFlags::CLONE_NEWPID),
        (open("mnt")?, CloneFlags::CLONE_NEWNS),
    ];
    for (file, flag) in namespaces {
        setns(file, flag)?;
    }
    Ok(())
}

/// The program by way of one more stage, which makes it the leader of its session: that must
/// happen in the container's PID namespace, where this stage is not.
fn leader(process: &Process) -> Result<Command, String> {
    if process.argv.is_empty() {
        return Err("no command specified".to_owned());
    }
    let mut command = Stage::ContainerTerminal.command();
    command.args(&process.argv).env_clear().envs(process.env.iter().map(|(k, v)| (k, v)));
    Ok(command)
}

/// Takes the terminal on standard input as its own and becomes the program.
pub(crate) fn terminal_main(argv: &[String]) -> ExitCode {
    let Some((program, args)) = argv.split_first() else { return ExitCode::from(CANNOT_START) };
    let error = match console::take_terminal() {
        Ok(()) => Command::new(program).args(args).exec(),
        Err(e) => e,
    };
    eprintln!("exec: {program:?}: {error}");
    ExitCode::from(CANNOT_START)
}

fn copies(slave: &OwnedFd) -> io::Result<[Stdio; 3]> {
    Ok([slave.try_clone()?.into(), slave.try_clone()?.into(), slave.try_clone()?.into()])
}

fn given(wanted: [bool; 3], streams: Vec<OwnedFd>) -> [Stdio; 3] {
    let mut streams = streams.into_iter();
    wanted.map(|wanted| if wanted { streams.next().map_or_else(Stdio::null, Stdio::from) } else { Stdio::null() })
}
