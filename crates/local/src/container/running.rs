//! A container that was started, as the node agent holds it.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::process::Stdio;
use std::sync::Arc;

use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tokio::io::unix::AsyncFd;
use tokio::net::unix::pipe;

use super::console::{Console, Input};
use super::create;
use super::log::{Log, Source};
use super::spec::ContainerSpec;
use super::terminal::Terminal;
use crate::async_file::watched;
use crate::sandbox::channel::Channel;
use crate::stage::Output;

/// How a container's first process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Exit {
    /// Its exit code; 128 + n where signal n ended it.
    pub(crate) code: i32,
    pub(crate) signal: Option<i32>,
}

/// Our ends of a container's streams.
enum Ends {
    Pipes {
        input: Option<OwnedFd>,
        outputs: [io::PipeReader; 2],
    },
    /// Where the terminal comes from.
    Terminal(Channel),
}

impl Ends {
    /// Makes the streams of a container: what its first stage gets, and our ends.
    fn of(console: Console) -> io::Result<(Output, Ends)> {
        if console == Console::Terminal {
            let (ours, theirs) = Channel::pair()?;
            return Ok((Output { stdout: theirs.into_fd().into(), stderr: Stdio::null() }, Ends::Terminal(ours)));
        }
        let (out, stdout) = io::pipe()?;
        let (err, stderr) = io::pipe()?;
        let outputs = [out, err];
        if console == Console::None {
            let streams = Output { stdout: stdout.into(), stderr: stderr.into() };
            return Ok((streams, Ends::Pipes { input: None, outputs }));
        }
        let (stdin, input) = io::pipe()?;
        let (ours, theirs) = Channel::pair()?;
        ours.send_with(&(), &[stdin.as_fd(), stdout.as_fd()])?;
        let streams = Output { stdout: theirs.into_fd().into(), stderr: stderr.into() };
        Ok((streams, Ends::Pipes { input: Some(input.into()), outputs }))
    }

    /// Writes the outputs of the container, which has started, to its log. Answers its input.
    async fn record(self, log: &Arc<Log>) -> io::Result<Option<Input>> {
        match self {
            Ends::Pipes { input, outputs: [out, err] } => {
                let reader = |pipe: io::PipeReader| pipe::Receiver::from_owned_fd(pipe.into());
                let outputs = vec![(Source::Stdout, reader(out)?), (Source::Stderr, reader(err)?)];
                tokio::spawn(Arc::clone(log).record(outputs));
                input.map(Input::pipe).transpose()
            }
            Ends::Terminal(channel) => {
                let received = tokio::task::spawn_blocking(move || channel.recv::<()>()).await?;
                let master = received?.and_then(|(_, fds)| fds.into_iter().next());
                let terminal = Terminal::new(master.ok_or_else(|| io::Error::other("no terminal came back"))?)?;
                tokio::spawn(Arc::clone(log).record(vec![(Source::Stdout, terminal.clone())]));
                Ok(Some(Input::Terminal(terminal)))
            }
        }
    }
}

/// A running container's first process.
#[derive(Debug)]
pub(crate) struct Container {
    pub(crate) pid: i32,
    pidfd: AsyncFd<File>,
    pub(crate) log: Arc<Log>,
    /// Its standard input or terminal, if it has one.
    pub(crate) input: Option<Input>,
}

impl Container {
    /// Starts a container whose output goes to `log`.
    pub(crate) async fn start(spec: &ContainerSpec, log: Arc<Log>) -> Result<Arc<Container>, String> {
        let failed = |e: io::Error| format!("start the container: {e}");
        let (streams, ends) = Ends::of(spec.console).map_err(failed)?;
        let pid = create::start(spec, streams).await?;
        let raw = Pid::from_raw(pid).ok_or("the container has no process")?;
        let pidfd = pidfd_open(raw, PidfdFlags::empty()).map_err(|e| failed(e.into()))?;
        let pidfd = watched(File::from(pidfd)).map_err(failed)?;
        let input = ends.record(&log).await.map_err(failed)?;
        Ok(Arc::new(Container { pid, pidfd, log, input }))
    }

    /// Waits until the container ends. To be called once: it takes the exit status.
    pub(crate) async fn exit(&self) -> Exit {
        let lost = Exit { code: 255, signal: None };
        loop {
            let Ok(_ready) = self.pidfd.readable().await else { return lost };
            return match waitid(Id::PIDFd(self.pidfd.get_ref().as_fd()), WaitPidFlag::WEXITED) {
                Ok(WaitStatus::Exited(_, code)) => Exit { code, signal: None },
                Ok(WaitStatus::Signaled(_, signal, _)) => {
                    Exit { code: 128 + signal as i32, signal: Some(signal as i32) }
                }
                Err(nix::errno::Errno::EINTR) => continue,
                _ => lost,
            };
        }
    }

    /// Asks the container to end.
    pub(crate) fn terminate(&self) {
        let _ = pidfd_send_signal(self.pidfd.get_ref(), Signal::TERM);
    }

    /// Ends the container and everything in it.
    pub(crate) fn kill(&self) {
        let _ = pidfd_send_signal(self.pidfd.get_ref(), Signal::KILL);
    }
}
