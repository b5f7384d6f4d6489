//! What the user chooses about a local cluster.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// How to start the local cluster.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct UpOptions {
    /// The state directory.
    pub home: PathBuf,
    /// The port on 127.0.0.1 where the API server listens; 0 picks a free one.
    pub port: u16,
    /// Return as soon as the cluster is ready and leave it running.
    pub detach: bool,
    /// Also add the cluster to the user's own kubeconfig.
    pub merge_kubeconfig: Option<PathBuf>,
    /// Start the cluster without the mesh.
    pub bare: bool,
    /// Also start a gateway for requests to the outside.
    pub egress_gateway: bool,
    /// Give the cluster IPv6 beside IPv4. A cluster that has it once keeps it as long as its state.
    pub dual_stack: bool,
}

/// What the install manifests depend on.
#[derive(Debug, Clone)]
pub struct Install {
    /// Whether containers can run under the ids they ask for. Where they can't, interception
    /// knows the proxy by its socket mark instead of its uid and gid.
    pub many_ids: bool,
    /// Leave out the mesh, keep only what a cluster has by itself.
    pub bare: bool,
    /// Also bring a gateway for requests to the outside.
    pub egress_gateway: bool,
}
