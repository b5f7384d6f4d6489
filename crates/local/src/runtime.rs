//! What `kubectl logs`, `exec`, `attach` and `port-forward` reach: the containers of this node.

use std::io;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use futures::future::BoxFuture;
use jiff::Timestamp;
use lateen_apiserver::Status;
use lateen_apiserver::runtime::{
    ContainerRef, Duplex, Exit, LogOptions, LogStream, PodRuntime, ProcessIo, Reader, Writer,
};
use tokio::io::{AsyncWriteExt, copy};
use tokio::net::unix::pipe;
use tokio::sync::broadcast;
use tokio::task::JoinHandle;

use crate::container::exec::{self, ExecSpec};
use crate::container::log::Source;
use crate::container::log_read::{self, Selection};
use crate::container::spec::Process;
use crate::container::terminal::Terminal;
use crate::network::connect;
use crate::pod::live::Live;
use crate::pod::registry::{Entry, Registry};

/// How long output may follow after a process has ended.
const DRAIN: Duration = Duration::from_secs(2);

/// Looks into the pods of this node.
pub(crate) struct Runtime {
    registry: Arc<Registry>,
}

impl Runtime {
    pub(crate) fn new(registry: Arc<Registry>) -> Self {
        Runtime { registry }
    }

    fn entry(&self, at: &ContainerRef) -> Result<Entry, Status> {
        self.registry.find(&at.uid, &at.container).ok_or_else(|| {
            Status::bad_request(format!("container {:?} in pod {:?} is waiting to start", at.container, at.pod))
        })
    }

    fn live(&self, at: &ContainerRef) -> Result<Arc<Live>, Status> {
        let live = self.entry(at).ok().and_then(|entry| entry.live);
        live.ok_or_else(|| Status::internal(format!("container not found ({:?} does not run)", at.container)))
    }
}

impl PodRuntime for Runtime {
    fn logs(&self, at: ContainerRef, options: LogOptions) -> BoxFuture<'_, Result<LogStream, Status>> {
        Box::pin(async move {
            let entry = self.entry(&at)?;
            let path = if options.previous { entry.previous } else { entry.path };
            let path = path.ok_or_else(|| {
                let (which, pod) = (&at.container, &at.pod);
                Status::bad_request(if options.previous {
                    format!("previous terminated container {which:?} in pod {pod:?} not found")
                } else {
                    format!("container {which:?} in pod {pod:?} is waiting to start")
                })
            })?;
            let follow = options.follow && !options.previous;
            let follow = entry.log.filter(|_| follow).map(|log| log.follow());
            let pieces = log_read::read(path, selection(&options)?, follow);
            let stream = futures::stream::unfold(pieces, |mut pieces| async move {
                pieces.recv().await.map(|piece| (piece, pieces))
            });
            Ok(stream.boxed())
        })
    }

    fn exec(
        &self,
        at: ContainerRef,
        command: Vec<String>,
        tty: bool,
        io: ProcessIo,
    ) -> BoxFuture<'_, Result<Exit, Status>> {
        Box::pin(async move {
            let live = self.live(&at)?;
            let process = Process { argv: command, ..Process::clone(&live.process) };
            let container = live.container.pid;
            let spec = ExecSpec { container, process, tty, streams: [false; 3] };
            let exit = if tty { with_terminal(spec, io).await } else { with_pipes(spec, io).await };
            exit.map_err(|reason| Status::internal(format!("error executing command in container: {reason}")))
        })
    }

    fn attach(&self, at: ContainerRef, _tty: bool, io: ProcessIo) -> BoxFuture<'_, Result<Exit, Status>> {
        Box::pin(async move {
            let live = self.live(&at)?;
            let output = live.container.log.live();
            let mut exited = live.exited.clone();
            let _copy = Pump(tokio::spawn(show(output, io)));
            let exit = exited.wait_for(Option::is_some).await.ok().and_then(|exit| *exit);
            Ok(Exit { code: exit.map_or(255, |exit| exit.code) })
        })
    }

    fn port_forward(&self, pod: ContainerRef, port: u16) -> BoxFuture<'_, Result<Pin<Box<dyn Duplex>>, Status>> {
        Box::pin(async move {
            let namespaces = self
                .registry
                .namespaces(&pod.uid)
                .ok_or_else(|| Status::internal(format!("pod {:?} does not run", pod.pod)))?;
            let stream = connect::connect(&namespaces, port).await.map_err(|e| {
                Status::internal(format!("failed to connect to localhost:{port} inside pod {:?}: {e}", pod.pod))
            })?;
            Ok(Box::pin(stream) as Pin<Box<dyn Duplex>>)
        })
    }
}

fn selection(options: &LogOptions) -> Result<Selection, Status> {
    let since = match (&options.since_time, options.since_seconds) {
        (Some(time), _) => Some(time.parse::<Timestamp>().map_err(|e| Status::bad_request(format!("sinceTime: {e}")))?),
        (None, Some(seconds)) => {
            let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
            let at = Timestamp::now().as_second().saturating_sub(seconds).max(0);
            Timestamp::from_second(at).ok()
        }
        (None, None) => None,
    };
    Ok(Selection { tail: options.tail_lines, since, timestamps: options.timestamps, limit: options.limit_bytes })
}

/// A task that ends with its owner.
struct Pump(JoinHandle<()>);

impl Drop for Pump {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Passes on what a process writes until nobody listens.
async fn show(mut output: broadcast::Receiver<(Source, Bytes)>, mut io: ProcessIo) {
    loop {
        let (source, bytes) = match output.recv().await {
            Ok(piece) => piece,
            Err(broadcast::error::RecvError::Lagged(_)) => continue,
            Err(broadcast::error::RecvError::Closed) => return,
        };
        let to = match source {
            Source::Stdout => io.stdout.as_mut(),
            Source::Stderr => io.stderr.as_mut(),
        };
        if let Some(to) = to
            && (to.write_all(&bytes).await.is_err() || to.flush().await.is_err())
        {
            return;
        }
    }
}

async fn with_pipes(mut spec: ExecSpec, io: ProcessIo) -> Result<Exit, String> {
    let failed = |e: io::Error| e.to_string();
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
        outputs.push(pump_out(reader, output));
        spec.streams[place] = true;
    }
    let mut running = exec::start(spec, theirs).await?;
    let status = running.child.wait().await.map_err(failed)?;
    drop(input);
    for mut output in outputs {
        let _ = tokio::time::timeout(DRAIN, &mut output.0).await;
    }
    Ok(Exit { code: status.code().unwrap_or(255) })
}

fn pump_in(mut from: Reader, mut to: pipe::Sender) -> Pump {
    Pump(tokio::spawn(async move {
        let _ = copy(&mut from, &mut to).await;
    }))
}

fn pump_out(mut from: pipe::Receiver, mut to: Writer) -> Pump {
    Pump(tokio::spawn(async move {
        let _ = copy(&mut from, &mut to).await;
        let _ = to.shutdown().await;
    }))
}

async fn with_terminal(spec: ExecSpec, mut io: ProcessIo) -> Result<Exit, String> {
    let failed = |e: io::Error| e.to_string();
    let mut running = exec::start(spec, Vec::new()).await?;
    let master = running.terminal.take().ok_or("no terminal came back")?;
    let terminal = Terminal::new(master).map_err(failed)?;
    let (mut reader, mut writer) = (terminal.clone(), terminal.clone());
    let _input = io.stdin.map(|mut stdin| {
        Pump(tokio::spawn(async move {
            let _ = copy(&mut stdin, &mut writer).await;
        }))
    });
    let mut output = io.stdout.map(|mut stdout| {
        Pump(tokio::spawn(async move {
            let _ = copy(&mut reader, &mut stdout).await;
            let _ = stdout.shutdown().await;
        }))
    });
    let status = loop {
        tokio::select! {
            status = running.child.wait() => break status.map_err(failed)?,
            Some(size) = io.resize.recv() => terminal.resize(size.width, size.height),
        }
    };
    if let Some(output) = &mut output {
        let _ = tokio::time::timeout(DRAIN, &mut output.0).await;
    }
    Ok(Exit { code: status.code().unwrap_or(255) })
}
