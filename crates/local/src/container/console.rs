//! The standard input of a container that has one, and its terminal.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use nix::fcntl::OFlag;
use nix::sys::stat::Mode;
use nix::unistd::{Gid, Uid, dup2_stderr, dup2_stdin, dup2_stdout, fchown};
use rustix::termios::{Winsize, tcsetwinsize};
use serde::{Deserialize, Serialize};
use tokio::io::AsyncWriteExt;
use tokio::net::unix::pipe;
use tokio::sync::Mutex;

use super::spec::Identity;
use super::terminal::Terminal;
use crate::sandbox::channel::Channel;

/// What a container has besides its outputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) enum Console {
    /// Nothing.
    #[default]
    None,
    /// A standard input. Its outputs and input come over the channel that its standard output is.
    Input,
    /// A terminal. The end that controls it goes over the channel that its standard output is.
    Terminal,
}

/// Columns and rows of a terminal.
pub(crate) type Size = (u16, u16);

/// The node agent's end of a container's input.
#[derive(Debug)]
pub(crate) enum Input {
    Pipe(Mutex<Option<pipe::Sender>>),
    Terminal(Terminal),
}

impl Input {
    pub(crate) fn pipe(writer: OwnedFd) -> io::Result<Input> {
        Ok(Input::Pipe(Mutex::new(Some(pipe::Sender::from_owned_fd(writer)?))))
    }

    /// Writes what a client types. Answers whether the container may still read more.
    pub(crate) async fn write(&self, bytes: &[u8]) -> bool {
        match self {
            Input::Pipe(writer) => match &mut *writer.lock().await {
                Some(writer) => writer.write_all(bytes).await.is_ok(),
                None => false,
            },
            Input::Terminal(terminal) => terminal.clone().write_all(bytes).await.is_ok(),
        }
    }

    /// Ends a pipe: the container reads the end of its input. A terminal stays.
    pub(crate) async fn close(&self) {
        if let Input::Pipe(writer) = self {
            writer.lock().await.take();
        }
    }

    pub(crate) fn resize(&self, (width, height): Size) {
        if let Input::Terminal(terminal) = self {
            terminal.resize(width, height);
        }
    }
}

/// A new terminal of this mount namespace, owned by who will use it: the end that controls it and the end that
/// programs use.
pub(super) fn open_terminal(identity: &Identity, size: Option<Size>) -> io::Result<(OwnedFd, OwnedFd)> {
    let flags = rustix::pty::OpenptFlags::RDWR | rustix::pty::OpenptFlags::NOCTTY | rustix::pty::OpenptFlags::CLOEXEC;
    let master = rustix::pty::openpt(flags)?;
    rustix::pty::grantpt(&master)?;
    rustix::pty::unlockpt(&master)?;
    if let Some((columns, rows)) = size {
        tcsetwinsize(&master, Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 })?;
    }
    let name = rustix::pty::ptsname(&master, Vec::new())?;
    let oflag = OFlag::O_RDWR | OFlag::O_CLOEXEC | OFlag::O_NOCTTY;
    let slave = nix::fcntl::open(name.as_c_str(), oflag, Mode::empty())?;
    if identity.many_ids && identity.uid != 0 {
        fchown(&slave, Some(Uid::from_raw(identity.uid)), None::<Gid>)?;
    }
    Ok((master, slave))
}

/// Takes the terminal on standard input as one's own.
pub(super) fn take_terminal() -> io::Result<()> {
    nix::unistd::setsid()?;
    Ok(rustix::process::ioctl_tiocsctty(io::stdin())?)
}

/// Makes a container's standard streams what they are to be, in its first process.
pub(super) fn connect(console: Console, identity: &Identity) -> io::Result<()> {
    match console {
        Console::None => dup2_stdin(std::fs::File::open("/dev/null")?)?,
        Console::Input => {
            let ended = || io::Error::other("the node agent sent no streams");
            let (_, streams) = channel()?.recv::<()>()?.ok_or_else(ended)?;
            let [stdin, stdout] = <[OwnedFd; 2]>::try_from(streams).map_err(|_| ended())?;
            dup2_stdin(stdin)?;
            dup2_stdout(stdout)?;
        }
        Console::Terminal => {
            let (master, slave) = open_terminal(identity, None)?;
            channel()?.send_with(&(), &[master.as_fd()])?;
            dup2_stdin(&slave)?;
            dup2_stdout(&slave)?;
            dup2_stderr(&slave)?;
            take_terminal()?;
        }
    }
    Ok(())
}

fn channel() -> io::Result<Channel> {
    Ok(Channel::from(io::stdout().as_fd().try_clone_to_owned()?))
}
