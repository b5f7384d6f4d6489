//! The part of a local cluster that stays outside its sandbox: it owns the host-side listeners,
//! maps the ids, and ends everything when it ends.

mod diagnose;
mod down;
mod idmap;
mod kubeconfig;
mod launch;
mod program;
mod progress;
mod sockets;
mod state;
mod status;

use std::process::ExitCode;

pub use down::{Down, down};
pub(crate) use launch::detached_main;
pub use launch::up;
pub use progress::Progress;
pub use status::{Status, status};

/// Why a local cluster could not be started or stopped.
#[derive(Debug, thiserror::Error)]
pub enum UpError {
    /// A file or directory of the state directory could not be used.
    #[error("cannot use {path}: {error}")]
    State {
        /// Which one.
        path: String,
        /// Why.
        error: std::io::Error,
    },
    /// The port of the API server is taken.
    #[error("127.0.0.1:{port} is in use by another program; choose another port with --port (0 picks a free one)")]
    PortTaken {
        /// Which port.
        port: u16,
    },
    /// A listener could not be opened for another reason.
    #[error("cannot listen on 127.0.0.1:{port}: {error}")]
    Listen {
        /// Which port.
        port: u16,
        /// Why.
        error: std::io::Error,
    },
    /// The machine does not let us make namespaces.
    #[error("{0}")]
    Refused(String),
    /// The sandbox ended or said why it could not start.
    #[error("the cluster did not start: {reason}\nlog: {log}")]
    Start {
        /// What it said.
        reason: String,
        /// Where more is written.
        log: String,
    },
    /// A process of ours could not be started or talked to.
    #[error("cannot {what}: {error}")]
    Process {
        /// What was tried.
        what: &'static str,
        /// Why it failed.
        error: std::io::Error,
    },
    /// The cluster did not stop in time.
    #[error("the cluster (process {pid}) does not stop; look at {log}")]
    StillRunning {
        /// The launcher's process id.
        pid: i32,
        /// Where more is written.
        log: String,
    },
}

impl UpError {
    pub(crate) fn state(path: &std::path::Path, error: std::io::Error) -> Self {
        UpError::State { path: path.display().to_string(), error }
    }

    pub(crate) fn process(what: &'static str, error: impl Into<std::io::Error>) -> Self {
        UpError::Process { what, error: error.into() }
    }
}

fn exit(code: u8) -> ExitCode {
    ExitCode::from(code)
}
