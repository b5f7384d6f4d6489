//! What the API server asks of whoever runs the pods: logs, exec, attach, port-forward.

use std::pin::Pin;

use bytes::Bytes;
use futures::{future::BoxFuture, stream::BoxStream};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::mpsc,
};

use crate::status::Status;

/// A container of a pod that exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerRef {
    /// Namespace of the pod.
    pub namespace: String,
    /// Name of the pod.
    pub pod: String,
    /// `metadata.uid` of the pod.
    pub uid: String,
    /// Name of the container; it is one of the pod's.
    pub container: String,
}

/// Which log lines are wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogOptions {
    /// Keep following until the container ends.
    pub follow: bool,
    /// Log of the previous, terminated instance.
    pub previous: bool,
    /// Only the last lines.
    pub tail_lines: Option<u64>,
    /// Only lines younger than this.
    pub since_seconds: Option<u64>,
    /// Only lines at or after this RFC 3339 time.
    pub since_time: Option<String>,
    /// Put an RFC 3339 time before every line.
    pub timestamps: bool,
    /// Stop after this many bytes.
    pub limit_bytes: Option<u64>,
}

/// Log output in pieces.
pub type LogStream = BoxStream<'static, std::io::Result<Bytes>>;
/// The reading half of something.
pub type Reader = Pin<Box<dyn AsyncRead + Send>>;
/// The writing half of something.
pub type Writer = Pin<Box<dyn AsyncWrite + Send>>;

/// Both halves in one, for port-forward.
pub trait Duplex: AsyncRead + AsyncWrite + Send {}
impl<T: AsyncRead + AsyncWrite + Send> Duplex for T {}

/// A size of the client's terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TerminalSize {
    /// Columns.
    pub width: u16,
    /// Rows.
    pub height: u16,
}

/// The client's ends of a process's streams. A stream that was not asked for is absent.
pub struct ProcessIo {
    /// What the client types.
    pub stdin: Option<Reader>,
    /// Where the process's output goes (with a terminal: all of it).
    pub stdout: Option<Writer>,
    /// Where the process's error output goes (never with a terminal).
    pub stderr: Option<Writer>,
    /// Sizes of the client's terminal, the first one soon after the start.
    pub resize: mpsc::Receiver<TerminalSize>,
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exit {
    /// Exit code; 128 + n for signal n.
    pub code: i32,
}

/// Runs the pods. Implemented by the node agent.
pub trait PodRuntime: Send + Sync {
    /// Opens the log of a container.
    fn logs(&self, container: ContainerRef, options: LogOptions) -> BoxFuture<'_, Result<LogStream, Status>>;

    /// Runs a command in a container until it ends or the client goes away (the future is dropped).
    fn exec(
        &self,
        container: ContainerRef,
        command: Vec<String>,
        tty: bool,
        io: ProcessIo,
    ) -> BoxFuture<'_, Result<Exit, Status>>;

    /// Joins the main process of a container.
    fn attach(&self, container: ContainerRef, tty: bool, io: ProcessIo) -> BoxFuture<'_, Result<Exit, Status>>;

    /// Connects to a TCP port in the pod's network namespace, on loopback.
    fn port_forward(&self, pod: ContainerRef, port: u16) -> BoxFuture<'_, Result<Pin<Box<dyn Duplex>>, Status>>;
}
