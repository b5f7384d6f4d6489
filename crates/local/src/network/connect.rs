//! Connecting from inside a pod's network namespace, for port-forward: a stage opens the
//! connection there and hands it back.

use std::fs::File;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};
use std::time::Duration;

use nix::sched::{CloneFlags, setns};
use serde::{Deserialize, Serialize};

use crate::reexec::Stage;
use crate::sandbox::channel::Channel;

const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Debug, Serialize, Deserialize)]
struct Target {
    namespaces: PathBuf,
    port: u16,
}

/// A connection to a port on the pod's loopback address.
pub(crate) async fn connect(namespaces: &Path, port: u16) -> io::Result<tokio::net::TcpStream> {
    let target = Target { namespaces: namespaces.to_owned(), port };
    let connected = tokio::task::spawn_blocking(move || ask(&target));
    let stream = connected.await.map_err(io::Error::other)??;
    stream.set_nonblocking(true)?;
    tokio::net::TcpStream::from_std(stream)
}

fn ask(target: &Target) -> io::Result<TcpStream> {
    let (ours, theirs) = Channel::pair()?;
    let mut child = Stage::PodConnect.command().stdin(Stdio::from(theirs.into_fd())).spawn()?;
    ours.send(target)?;
    let received = ours.recv::<Result<(), String>>();
    child.wait()?;
    match received? {
        Some((Ok(()), fds)) => {
            let fd = fds.into_iter().next();
            fd.map(TcpStream::from).ok_or_else(|| io::Error::other("no connection came back"))
        }
        Some((Err(reason), _)) => Err(io::Error::new(io::ErrorKind::ConnectionRefused, reason)),
        None => Err(io::Error::other("the connecting stage ended without an answer")),
    }
}

pub(crate) fn main() -> ExitCode {
    let Ok(channel) = Channel::from_stdin() else { return ExitCode::from(2) };
    let Ok(Some((target, _))) = channel.recv::<Target>() else { return ExitCode::from(2) };
    let sent = match open(&target) {
        Ok(stream) => channel.send_with(&Ok::<(), String>(()), &[stream.as_fd()]),
        Err(e) => channel.send(&Err::<(), String>(reason(&e))),
    };
    if sent.is_ok() { ExitCode::SUCCESS } else { ExitCode::from(1) }
}

/// As Go's programs say it.
fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        io::ErrorKind::TimedOut => "i/o timeout".to_owned(),
        _ => error.to_string(),
    }
}

fn open(target: &Target) -> io::Result<TcpStream> {
    setns(File::open(target.namespaces.join("net"))?, CloneFlags::CLONE_NEWNET)?;
    TcpStream::connect_timeout(&SocketAddr::from((Ipv4Addr::LOCALHOST, target.port)), PATIENCE)
}
