//! What launcher and sandbox say to each other.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::outside::Wanted;

/// What the inside needs to know.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Settings {
    pub(crate) home: PathBuf,
    pub(crate) api: SocketAddr,
    pub(crate) many_ids: bool,
    pub(crate) bare: bool,
    pub(crate) egress_gateway: bool,
    pub(crate) dual_stack: bool,
}

/// From the launcher outside.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum ToSandbox {
    /// The ids exist now; `groups` says whether supplementary groups may be set.
    Mapped { groups: bool },
    /// For the sandbox's first process.
    Settings(Settings),
    /// For the cluster itself; the API server's listener comes with it.
    Start(Settings),
    /// The answer to a request for a socket, which comes with it; else the number of the error.
    Socket { id: u64, error: Option<i32> },
    /// End in an orderly way.
    Stop,
}

/// From the stages inside.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum FromSandbox {
    /// The user namespace exists and has no ids yet.
    UserNamespace,
    /// All namespaces exist.
    Built,
    /// The kernel refused something; what and why.
    Refused(String),
    /// The cluster could not start.
    Failed(String),
    /// Progress, in plain words.
    Step(String),
    /// The cluster can be used.
    Ready { api: String },
    /// The cluster asks for a socket of the host's network.
    Socket { id: u64, wanted: Wanted },
}
