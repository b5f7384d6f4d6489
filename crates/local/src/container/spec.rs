//! What a container is to be, as the node agent tells the stages.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::console::Console;

/// One container.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ContainerSpec {
    /// Where the pod's namespaces are pinned.
    pub(crate) namespaces: PathBuf,
    /// Mount point for the container's root.
    pub(crate) root: PathBuf,
    /// The cluster's state directory, never to be seen inside.
    pub(crate) hidden: PathBuf,
    pub(crate) base: Base,
    pub(crate) volumes: Vec<Volume>,
    /// Files of `/etc` that belong to this container.
    pub(crate) etc: Vec<(String, String)>,
    pub(crate) read_only_root: bool,
    pub(crate) console: Console,
    pub(crate) process: Process,
}

/// What the root file system is made of.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Base {
    /// The host's programs and libraries, and this binary under these further names.
    Builtin { applets: Vec<String> },
    /// All of the host, read-only.
    Host,
}

/// Something mounted into a container.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Volume {
    pub(crate) source: PathBuf,
    pub(crate) target: PathBuf,
    pub(crate) read_only: bool,
}

/// A process in a container.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Process {
    pub(crate) argv: Vec<String>,
    pub(crate) env: Vec<(String, String)>,
    pub(crate) cwd: PathBuf,
    pub(crate) identity: Identity,
}

/// Whom a process runs as and what it may do.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Identity {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) groups: Vec<u32>,
    /// Whether the sandbox has more than one id; without, groups can't be set.
    pub(crate) many_ids: bool,
    /// Capabilities kept, as Kubernetes names them (`NET_ADMIN`).
    pub(crate) capabilities: Vec<String>,
    pub(crate) privileged: bool,
}
