//! A container that was started, as the node agent holds it.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::process::Stdio;
use std::sync::Arc;

use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tokio::io::unix::AsyncFd;

use super::create;
use super::log::{Log, Source};
use super::spec::ContainerSpec;
use crate::async_file::watched;
use crate::stage::Output;

/// How a container's first process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Exit {
    /// Its exit code; 128 + n where signal n ended it.
    pub(crate) code: i32,
    pub(crate) signal: Option<i32>,
}

/// A running container's first process.
#[derive(Debug)]
pub(crate) struct Container {
    pub(crate) pid: i32,
    pidfd: AsyncFd<File>,
    pub(crate) log: Arc<Log>,
}

impl Container {
    /// Starts a container whose output goes to `log`.
    pub(crate) async fn start(spec: &ContainerSpec, log: Arc<Log>) -> Result<Arc<Container>, String> {
        let failed = |e: io::Error| format!("start the container: {e}");
        let (out, stdout) = io::pipe().map_err(failed)?;
        let (err, stderr) = io::pipe().map_err(failed)?;
        let output = Output { stdout: Stdio::from(stdout), stderr: Stdio::from(stderr) };
        let pid = create::start(spec, output).await?;
        let raw = Pid::from_raw(pid).ok_or("the container has no process")?;
        let pidfd = pidfd_open(raw, PidfdFlags::empty()).map_err(|e| failed(e.into()))?;
        let pidfd = watched(File::from(pidfd)).map_err(failed)?;
        for (source, output) in [(Source::Stdout, out), (Source::Stderr, err)] {
            tokio::spawn(Arc::clone(&log).copy(source, output.into()));
        }
        Ok(Arc::new(Container { pid, pidfd, log }))
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
