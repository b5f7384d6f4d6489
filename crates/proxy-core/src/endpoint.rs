//! Endpoints of clusters, and what is counted about each while it serves.

use std::collections::HashMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;

use crate::outlier::Health;
use crate::tls::UpstreamTls;

/// Where an endpoint listens.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Address {
    /// IP address and port.
    Socket(SocketAddr),
    /// A Unix socket.
    Pipe(Arc<str>),
    /// A name to resolve, and a port.
    Name(Arc<str>, u16),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket(address) => address.fmt(f),
            Self::Pipe(path) => f.write_str(path),
            Self::Name(host, port) => write!(f, "{host}:{port}"),
        }
    }
}

/// How to talk to an endpoint.
#[derive(Debug, Clone)]
pub enum Transport {
    /// As it is.
    Plain,
    /// In TLS.
    Tls(Arc<UpstreamTls>),
}

impl Transport {
    /// Whether it is TLS.
    pub fn is_tls(&self) -> bool {
        matches!(self, Self::Tls(_))
    }
}

/// The workload behind an endpoint, as discovery tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Workload {
    /// Name of the workload.
    pub name: Arc<str>,
    /// Its namespace.
    pub namespace: Arc<str>,
    /// Canonical service.
    pub canonical_name: Arc<str>,
    /// Canonical revision.
    pub canonical_revision: Arc<str>,
    /// Cluster it runs in.
    pub cluster: Arc<str>,
}

/// What is counted while an endpoint serves; shared by all workers and kept when configuration changes.
#[derive(Debug, Default)]
pub struct EndpointState {
    /// Requests (or connections, for TCP) under way.
    pub active: AtomicU32,
    /// Outlier detection.
    pub health: Health,
}

/// One endpoint.
#[derive(Debug, Clone)]
pub struct Endpoint {
    /// Distinguishes endpoints to which connections are not interchangeable.
    pub id: u64,
    /// Where it listens.
    pub address: Address,
    /// Where else it listens, to be tried in this order when it can't be reached there.
    pub further: Box<[SocketAddr]>,
    /// Its host name, for host rewrites.
    pub hostname: Box<str>,
    /// Its share of the load.
    pub weight: u32,
    /// Whether discovery says that it is fit.
    pub healthy: bool,
    /// How to talk to it.
    pub transport: Transport,
    /// The workload behind it.
    pub workload: Option<Arc<Workload>>,
    /// Flat metadata under `envoy.lb`, for subsets.
    pub labels: Arc<HashMap<Arc<str>, Arc<str>>>,
    /// Ports that its containers declare, when known.
    pub container_ports: Arc<[u16]>,
    /// What is counted about it.
    pub state: Arc<EndpointState>,
}

/// Endpoints of one locality.
#[derive(Debug, Clone)]
pub struct LocalityGroup {
    /// `region/zone/subzone`.
    pub name: Arc<str>,
    /// Its share, when localities are weighted.
    pub weight: Option<u32>,
    /// Its endpoints.
    pub endpoints: Vec<Arc<Endpoint>>,
}

/// Endpoints of one priority.
#[derive(Debug, Clone, Default)]
pub struct Priority {
    /// By locality.
    pub localities: Vec<LocalityGroup>,
    /// All of them.
    pub endpoints: Vec<Arc<Endpoint>>,
}

/// The endpoints of a cluster by priority, best first.
#[derive(Debug, Clone, Default)]
pub struct EndpointSet {
    /// By priority.
    pub priorities: Vec<Priority>,
    /// Factor by which the healthy share of a priority counts before load spills over, in percent.
    pub overprovisioning: u32,
}

impl EndpointSet {
    /// All endpoints.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Endpoint>> {
        self.priorities.iter().flat_map(|priority| &priority.endpoints)
    }

    /// Whether there is no endpoint.
    pub fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }
}
