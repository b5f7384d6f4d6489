//! How a stage is asked and answers: one JSON document each way over its standard input, which is
//! a socket.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{ExitCode, Stdio};
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::reexec::Stage;

/// A stage normally answers in milliseconds.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a stage answers.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Answer<T> {
    Done(T),
    Failed(String),
}

/// Reads what the parent asks for; the socket is for the answer.
pub(crate) fn asked<T: DeserializeOwned>() -> io::Result<(T, UnixStream)> {
    let fd: OwnedFd = io::stdin().as_fd().try_clone_to_owned()?;
    let mut socket = UnixStream::from(fd);
    let mut bytes = Vec::new();
    socket.read_to_end(&mut bytes)?;
    Ok((serde_json::from_slice(&bytes)?, socket))
}

/// Answers the parent.
pub(crate) fn answer<T: Serialize>(mut socket: &UnixStream, result: Result<T, String>) -> ExitCode {
    let code = if result.is_ok() { ExitCode::SUCCESS } else { ExitCode::from(1) };
    let answer = result.map_or_else(Answer::Failed, Answer::Done);
    let _ = serde_json::to_vec(&answer).map(|bytes| socket.write_all(&bytes));
    code
}

/// Sends a question to a stage that a single-threaded parent starts.
pub(crate) fn ask_blocking(socket: &mut UnixStream, question: &impl Serialize) -> io::Result<()> {
    socket.write_all(&serde_json::to_vec(question)?)?;
    socket.shutdown(Shutdown::Write)
}

/// Standard streams for a stage besides the socket.
pub(crate) struct Output {
    pub(crate) stdout: Stdio,
    pub(crate) stderr: Stdio,
}

impl Output {
    /// Where the cluster's own log goes.
    pub(crate) fn inherit() -> Output {
        Output { stdout: Stdio::inherit(), stderr: Stdio::inherit() }
    }
}

/// Runs a stage to its answer.
pub(crate) async fn ask<T: DeserializeOwned>(
    stage: Stage,
    question: &impl Serialize,
    output: Output,
) -> Result<T, String> {
    let failed = |e: io::Error| format!("cannot run a stage of the node agent: {e}");
    let (ours, theirs) = UnixStream::pair().map_err(failed)?;
    ours.set_nonblocking(true).map_err(failed)?;
    let mut ours = tokio::net::UnixStream::from_std(ours).map_err(failed)?;
    let mut command = tokio::process::Command::from(stage.command());
    command.stdin(Stdio::from(OwnedFd::from(theirs))).stdout(output.stdout).stderr(output.stderr).kill_on_drop(true);
    let mut child = command.spawn().map_err(failed)?;
    // The command keeps its copies of the descriptors as long as it lives.
    drop(command);
    let talk = async {
        ours.write_all(&serde_json::to_vec(question)?).await?;
        ours.shutdown().await?;
        let mut bytes = Vec::new();
        ours.read_to_end(&mut bytes).await?;
        child.wait().await?;
        Ok::<_, io::Error>(bytes)
    };
    let bytes = tokio::time::timeout(PATIENCE, talk)
        .await
        .map_err(|_| "a stage of the node agent did not answer".to_owned())?
        .map_err(failed)?;
    match serde_json::from_slice(&bytes) {
        Ok(Answer::Done(value)) => Ok(value),
        Ok(Answer::Failed(reason)) => Err(reason),
        Err(_) => Err("a stage of the node agent ended without an answer".to_owned()),
    }
}
