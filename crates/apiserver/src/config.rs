//! What the embedding program decides about the server.

use std::{net::Ipv4Addr, path::PathBuf, pin::Pin, sync::Arc};

use futures::future::BoxFuture;
use ipnet::{Ipv4Net, Ipv6Net};

use crate::{
    runtime::{Duplex, PodRuntime},
    status::Status,
};

/// Opens a connection for an admission webhook.
pub trait Dialer: Send + Sync {
    /// Connects to a host (an address or a DNS name) and port.
    fn dial<'a>(&'a self, host: &'a str, port: u16) -> BoxFuture<'a, std::io::Result<Pin<Box<dyn Duplex>>>>;
}

/// Settings of a server.
#[derive(Clone)]
pub struct Config {
    /// Directory (mode 0700) for the database file, CA and keys.
    pub home: PathBuf,
    /// ClusterIPs come from here; its first address is `kubernetes.default`'s.
    pub service_cidr: Ipv4Net,
    /// Services' second addresses come from here, where the cluster has two families.
    pub second_service_cidr: Option<Ipv6Net>,
    /// nodePorts come from here, both ends included.
    pub node_ports: (u16, u16),
    /// Port of the API server behind `kubernetes.default` (`targetPort` of that Service).
    pub secure_port: u16,
    /// Address that `kubernetes.default`'s endpoints show.
    pub advertise_address: Ipv4Addr,
    /// Issuer (and default audience) of service account tokens.
    pub issuer: String,
    /// Who answers logs, exec, attach and port-forward.
    pub runtime: Option<Arc<dyn PodRuntime>>,
    /// How admission webhooks are reached; by default a plain TCP connection.
    pub dialer: Arc<dyn Dialer>,
    /// Watch events remembered for each resource before a watcher must list again.
    pub watch_history: usize,
}

impl Config {
    /// Settings of the local cluster with state in `home`.
    pub fn new(home: impl Into<PathBuf>) -> Self {
        Self {
            home: home.into(),
            service_cidr: Ipv4Net::new_assert(Ipv4Addr::new(10, 96, 0, 0), 16),
            second_service_cidr: None,
            node_ports: (30000, 32767),
            secure_port: 6443,
            advertise_address: Ipv4Addr::new(10, 244, 0, 1),
            issuer: "https://kubernetes.default.svc.cluster.local".to_owned(),
            runtime: None,
            dialer: Arc::new(TcpDialer),
            watch_history: 512,
        }
    }
}

struct TcpDialer;

impl Dialer for TcpDialer {
    fn dial<'a>(&'a self, host: &'a str, port: u16) -> BoxFuture<'a, std::io::Result<Pin<Box<dyn Duplex>>>> {
        Box::pin(async move {
            let stream = tokio::net::TcpStream::connect((host, port)).await?;
            stream.set_nodelay(true)?;
            Ok(Box::pin(stream) as Pin<Box<dyn Duplex>>)
        })
    }
}

/// The answer where nobody runs pods.
pub(crate) fn no_runtime() -> Status {
    Status::unavailable("no node agent is attached to this API server, so pods have no streams")
}
