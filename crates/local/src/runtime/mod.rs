//! What `kubectl logs`, `exec`, `attach` and `port-forward` reach: the containers of this node.

mod attach;
mod exec;

use std::pin::Pin;
use std::sync::Arc;

use futures::StreamExt;
use futures::future::BoxFuture;
use jiff::Timestamp;
use lateen_apiserver::Status;
use lateen_apiserver::runtime::{ContainerRef, Duplex, Exit, LogOptions, LogStream, PodRuntime, ProcessIo};

use crate::container::exec::ExecSpec;
use crate::container::log::Position;
use crate::container::log_read::{self, Selection, Written};
use crate::container::spec::Process;
use crate::network::connect;
use crate::pod::live::Live;
use crate::pod::registry::{Entry, Registry};

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
            let log = match entry.log.filter(|_| !options.previous) {
                Some(log) => Written::Going(log),
                None => Written::Over(path),
            };
            let pieces = log_read::read(log, Position::default(), selection(&options)?, options.follow);
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
            let spec = ExecSpec { container, process, tty, size: None, streams: [false; 3] };
            let exit = if tty { exec::with_terminal(spec, io).await } else { exec::with_pipes(spec, io).await };
            exit.map_err(|reason| Status::internal(format!("error executing command in container: {reason}")))
        })
    }

    fn attach(&self, at: ContainerRef, _tty: bool, io: ProcessIo) -> BoxFuture<'_, Result<Exit, Status>> {
        Box::pin(async move {
            let live = self.live(&at)?;
            attach::join(&live, io).await;
            Ok(Exit { code: 0 })
        })
    }

    fn port_forward(&self, pod: ContainerRef, port: u16) -> BoxFuture<'_, Result<Pin<Box<dyn Duplex>>, Status>> {
        Box::pin(async move {
            let namespaces = self
                .registry
                .namespaces(&pod.uid)
                .ok_or_else(|| Status::internal(format!("pod {:?} does not run", pod.pod)))?;
            let stream = connect::connect(&namespaces, port).await.map_err(|reason| {
                let text = format!("failed to connect to localhost:{port} inside pod {:?}: {reason}", pod.pod);
                Status::unavailable(text)
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
    Ok(Selection {
        tail: options.tail_lines,
        since,
        timestamps: options.timestamps,
        limit: options.limit_bytes,
        source: None,
    })
}
