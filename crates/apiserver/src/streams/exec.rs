//! `pods/exec` and `pods/attach`: a process's streams, over a WebSocket or SPDY/3.1.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use futures::future::BoxFuture;
use http::{Request, Response};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::channels;
use super::query::{Query, Wanted, container};
use super::spdy::Session;
use super::upgrade::{Upgrade, choose_protocol};
use crate::runtime::{ContainerRef, Exit, PodRuntime, ProcessIo, TerminalSize, Writer};
use crate::status::Status;

/// SPDY stream protocols that we speak.
const SPDY_PROTOCOLS: [&str; 1] = ["v4.channel.k8s.io"];
/// How long a client may take to open the streams that it asked for.
const OPENING: Duration = Duration::from_secs(30);
/// How long we wait for the client to close the connection after the process has ended.
const LINGER: Duration = Duration::from_secs(5);

/// What to run.
#[derive(Clone)]
pub(super) enum Job {
    Exec(Vec<String>),
    Attach,
}

/// The client's side of a process.
pub(super) struct Process {
    pub io: ProcessIo,
    /// Takes the `metav1.Status` that says how it ended.
    pub error: Writer,
    /// Resolves when the client is gone.
    pub gone: BoxFuture<'static, ()>,
}

/// Answer a request for `job` in a container of `pod`.
pub(super) async fn serve(
    job: Job,
    pod: &Value,
    query: &Query,
    request: Request<Body>,
    runtime: Arc<dyn PodRuntime>,
) -> Result<Response<Body>, Status> {
    let container = container(pod, query)?;
    let wanted = Wanted::of(query)?;
    if matches!(&job, Job::Exec(command) if command.is_empty()) {
        return Err(Status::bad_request("you must specify at least 1 command for the container"));
    }
    refuse_completed(&job, pod)?;
    let run = Run { job, container, tty: wanted.tty, runtime };
    match Upgrade::of(request).await? {
        Upgrade::WebSocket(upgrade) => {
            let (upgrade, _) = choose_protocol(*upgrade, &channels::PROTOCOLS)?;
            Ok(upgrade.on_upgrade(move |socket| async move {
                run.run(channels::open(socket, wanted)).await;
            }))
        }
        Upgrade::Spdy(upgrade) => upgrade.accept(&SPDY_PROTOCOLS, move |connection| async move {
            let mut session = Session::start(connection);
            match timeout(OPENING, open_spdy(&mut session, wanted)).await {
                Ok(Some(streams)) => run.run(streams.into_process(session)).await,
                _ => tracing::debug!("client did not open the streams that it asked for"),
            }
        }),
    }
}

/// A pod that is over has nothing left to run in.
fn refuse_completed(job: &Job, pod: &Value) -> Result<(), Status> {
    let what = match job {
        Job::Exec(_) => "cannot exec into a container",
        Job::Attach => "cannot attach a container",
    };
    match pod["status"]["phase"].as_str() {
        Some(phase @ ("Succeeded" | "Failed")) => {
            Err(Status::bad_request(format!("{what} in a completed pod; current phase is {phase}")))
        }
        _ => Ok(()),
    }
}

struct Run {
    job: Job,
    container: ContainerRef,
    tty: bool,
    runtime: Arc<dyn PodRuntime>,
}

impl Run {
    /// Run the job to its end, or until the client is gone, and tell the client how it ended.
    async fn run(self, process: Process) {
        let Process { io, mut error, mut gone } = process;
        let (container, tty) = (self.container, self.tty);
        let ended = match self.job {
            Job::Exec(command) => self.runtime.exec(container, command, tty, io),
            Job::Attach => self.runtime.attach(container, tty, io),
        };
        let result = tokio::select! {
            result = ended => result,
            () = &mut gone => return,
        };
        let status = outcome(result).to_string();
        let _ = error.write_all(status.as_bytes()).await;
        let _ = error.shutdown().await;
        // The client closes the connection once it has read everything.
        let _ = timeout(LINGER, gone).await;
    }
}

/// How it ended, in the words of `metav1.Status`.
fn outcome(result: Result<Exit, Status>) -> Value {
    match result {
        Ok(Exit { code: 0 }) => json!({"metadata": {}, "status": "Success"}),
        Ok(Exit { code }) => json!({
            "metadata": {},
            "status": "Failure",
            "message": format!("command terminated with non-zero exit code: {code}"),
            "reason": "NonZeroExitCode",
            "details": {"causes": [{"reason": "ExitCode", "message": code.to_string()}]},
        }),
        Err(status) => status.to_value(),
    }
}

/// The streams of a process, opened by the client under their names.
#[derive(Default)]
struct SpdyStreams {
    error: Option<DuplexStream>,
    stdin: Option<DuplexStream>,
    stdout: Option<DuplexStream>,
    stderr: Option<DuplexStream>,
    resize: Option<DuplexStream>,
}

/// Wait until the client has opened all streams that it asked for.
async fn open_spdy(session: &mut Session, wanted: Wanted) -> Option<SpdyStreams> {
    let mut streams = SpdyStreams::default();
    while !streams.complete(wanted) {
        let stream = session.next().await?;
        let place = match stream.header("streamtype") {
            "error" => &mut streams.error,
            "stdin" => &mut streams.stdin,
            "stdout" => &mut streams.stdout,
            "stderr" => &mut streams.stderr,
            "resize" => &mut streams.resize,
            _ => continue,
        };
        *place = Some(stream.io);
    }
    Some(streams)
}

impl SpdyStreams {
    fn complete(&self, wanted: Wanted) -> bool {
        self.error.is_some()
            && self.stdin.is_some() >= wanted.stdin
            && self.stdout.is_some() >= wanted.stdout
            && self.stderr.is_some() >= wanted.stderr
            && self.resize.is_some() >= wanted.tty
    }

    fn into_process(self, mut session: Session) -> Process {
        let (mut resizes, resize) = Resizes::channel();
        if let Some(mut from) = self.resize {
            tokio::spawn(async move {
                let mut buffer = [0; 256];
                while let Ok(n @ 1..) = from.read(&mut buffer).await {
                    resizes.feed(&buffer[..n]);
                }
            });
        }
        let error: Writer = match self.error {
            Some(stream) => Box::pin(stream),
            None => Box::pin(tokio::io::sink()),
        };
        Process {
            io: ProcessIo {
                stdin: self.stdin.map(|s| Box::pin(s) as _),
                stdout: self.stdout.map(|s| Box::pin(s) as _),
                stderr: self.stderr.map(|s| Box::pin(s) as _),
                resize,
            },
            error,
            gone: Box::pin(async move { while session.next().await.is_some() {} }),
        }
    }
}

/// Reads the sizes of the client's terminal, JSON objects one after the other.
pub(super) struct Resizes {
    waiting: Vec<u8>,
    sizes: mpsc::Sender<TerminalSize>,
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Size {
    width: u16,
    height: u16,
}

impl Resizes {
    /// The longest object waited for.
    const LIMIT: usize = 1024;

    pub(super) fn channel() -> (Self, mpsc::Receiver<TerminalSize>) {
        let (sizes, receiver) = mpsc::channel(4);
        (Self { waiting: Vec::new(), sizes }, receiver)
    }

    /// Take the next bytes. A size that nobody waits for is dropped: a later one replaces it.
    pub(super) fn feed(&mut self, bytes: &[u8]) {
        self.waiting.extend_from_slice(bytes);
        let mut values = serde_json::Deserializer::from_slice(&self.waiting).into_iter::<Size>();
        let mut read = 0;
        while let Some(Ok(Size { width, height })) = values.next() {
            read = values.byte_offset();
            let _ = self.sizes.try_send(TerminalSize { width, height });
        }
        self.waiting.drain(..read);
        if self.waiting.len() > Self::LIMIT {
            self.waiting.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terminal_sizes_are_read_however_they_are_cut() {
        let (mut resizes, mut sizes) = Resizes::channel();
        resizes.feed(b"{\"Width\":80,\"Height\":24}\n{\"Width\":");
        resizes.feed(b"100,\"Height\":30}\n");
        assert_eq!(sizes.try_recv().unwrap(), TerminalSize { width: 80, height: 24 });
        assert_eq!(sizes.try_recv().unwrap(), TerminalSize { width: 100, height: 30 });
    }

    #[test]
    fn the_end_of_a_process_is_told_as_kubernetes_does() {
        assert_eq!(outcome(Ok(Exit { code: 0 }))["status"], "Success");
        let failed = outcome(Ok(Exit { code: 3 }));
        assert_eq!(failed["reason"], "NonZeroExitCode");
        assert_eq!(failed["details"]["causes"][0], json!({"reason": "ExitCode", "message": "3"}));
        let broken = outcome(Err(Status::bad_request("no shell")));
        assert_eq!(broken["status"], "Failure");
        assert_eq!(broken["message"], "no shell");
    }
}
