//! A further process in a container, with the client's streams.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use lateen_apiserver::runtime::{Exit, ProcessIo, Reader, Writer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, copy};
use tokio::net::unix::pipe;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::container::exec::{self, ExecSpec};
use crate::container::terminal::Terminal;

/// How long we wait for more output after a process has ended; something it left behind may hold the output open.
const QUIET: Duration = Duration::from_secs(2);
/// How long a client may take to say how large its terminal is, so that the program finds it right.
const FIRST_SIZE: Duration = Duration::from_millis(500);

/// A task that ends with its owner.
struct Pump(JoinHandle<()>);

impl Drop for Pump {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Runs the process with pipes for the streams that the client asked for.
pub(super) async fn with_pipes(mut spec: ExecSpec, io: ProcessIo) -> Result<Exit, String> {
    let failed = |e: io::Error| e.to_string();
    let (ended, watched) = watch::channel(false);
    let mut theirs: Vec<OwnedFd> = Vec::new();
    let mut input = None;
    let mut outputs = Vec::new();
    if let Some(stdin) = io.stdin {
        let (reader, writer) = io::pipe().map_err(failed)?;
        let writer = pipe::Sender::from_owned_fd(writer.into()).map_err(failed)?;
        theirs.push(reader.into());
        input = Some(pump_in(stdin, writer));
        spec.streams[0] = true;
    }
    for (place, output) in [(1, io.stdout), (2, io.stderr)] {
        let Some(output) = output else { continue };
        let (reader, writer) = io::pipe().map_err(failed)?;
        let reader = pipe::Receiver::from_owned_fd(reader.into()).map_err(failed)?;
        theirs.push(writer.into());
        outputs.push(pump_out(reader, output, watched.clone()));
        spec.streams[place] = true;
    }
    let mut running = exec::start(spec, theirs).await?;
    let status = running.child.wait().await.map_err(failed)?;
    drop(input);
    ended.send_replace(true);
    for mut output in outputs {
        let _ = (&mut output.0).await;
    }
    Ok(Exit { code: status.code().unwrap_or(255) })
}

/// Runs the process on a terminal of its own.
pub(super) async fn with_terminal(mut spec: ExecSpec, mut io: ProcessIo) -> Result<Exit, String> {
    let failed = |e: io::Error| e.to_string();
    let (ended, watched) = watch::channel(false);
    let size = timeout(FIRST_SIZE, io.resize.recv()).await.ok().flatten();
    spec.size = size.map(|size| (size.width, size.height));
    let mut running = exec::start(spec, Vec::new()).await?;
    let master = running.terminal.take().ok_or("no terminal came back")?;
    let terminal = Terminal::new(master).map_err(failed)?;
    let _input = io.stdin.map(|stdin| pump_in(stdin, terminal.clone()));
    let output = io.stdout.map(|stdout| pump_out(terminal.clone(), stdout, watched));
    let status = loop {
        tokio::select! {
            status = running.child.wait() => break status.map_err(failed)?,
            Some(size) = io.resize.recv() => terminal.resize(size.width, size.height),
        }
    };
    ended.send_replace(true);
    if let Some(mut output) = output {
        let _ = (&mut output.0).await;
    }
    Ok(Exit { code: status.code().unwrap_or(255) })
}

fn pump_in(mut from: Reader, mut to: impl tokio::io::AsyncWrite + Unpin + Send + 'static) -> Pump {
    Pump(tokio::spawn(async move {
        let _ = copy(&mut from, &mut to).await;
    }))
}

/// Passes on output until its end, or until nothing more comes after the process has `ended`.
fn pump_out(
    mut from: impl AsyncRead + Unpin + Send + 'static,
    mut to: Writer,
    mut ended: watch::Receiver<bool>,
) -> Pump {
    Pump(tokio::spawn(async move {
        let mut buffer = vec![0; 32 << 10];
        loop {
            let quiet = async {
                let _ = ended.wait_for(|ended| *ended).await;
                sleep(QUIET).await;
            };
            let count = tokio::select! {
                // What is there is passed on first, however late this task runs.
                biased;
                read = from.read(&mut buffer) => read.unwrap_or(0),
                () = quiet => 0,
            };
            if count == 0 || to.write_all(&buffer[..count]).await.is_err() || to.flush().await.is_err() {
                break;
            }
        }
        let _ = to.shutdown().await;
    }))
}
