//! Clusters: where requests can be sent.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize};
use std::time::Duration;

use xxhash_rust::xxh64::Xxh64;

use crate::balance::Ring;
use crate::endpoint::{Address, Endpoint, EndpointSet, EndpointState, Transport};
use crate::outlier::OutlierConfig;
use crate::provenance::Provenance;
use crate::tables::ClusterId;

/// Where the endpoints come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Discovery {
    /// Endpoint discovery, under this name.
    Eds(Arc<str>),
    /// The configuration itself.
    Static,
    /// Resolving names: every address, or only the first.
    Dns {
        /// Only the first address.
        logical: bool,
    },
    /// Wherever the client wanted to go; always to this port, when given.
    OriginalDst {
        /// Port that replaces the client's.
        port: Option<u16>,
    },
}

/// How an endpoint is picked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// The less busy of two.
    LeastRequest,
    /// In turn.
    RoundRobin,
    /// By chance.
    Random,
    /// By hash, on a ring.
    RingHash {
        /// Points on it at least.
        min_size: u64,
    },
    /// By hash, in a table.
    Maglev {
        /// Its size, a prime.
        size: u64,
    },
    /// The cluster's own way (original destination).
    Provided,
}

/// Which HTTP version is spoken to the endpoints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HttpVersion {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2.
    Http2,
    /// Whichever the client speaks.
    Downstream,
    /// Whichever TLS negotiates.
    Negotiated,
}

/// Limits of one priority; `u32::MAX` is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Connections.
    pub connections: u32,
    /// Requests that wait for one.
    pub pending: u32,
    /// Requests.
    pub requests: u32,
    /// Retries, unless there is a budget.
    pub retries: u32,
    /// Retries in relation to requests.
    pub budget: Option<RetryBudget>,
}

/// Retries in relation to requests, so that they don't keep an overloaded service down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryBudget {
    /// Share of the requests under way and waiting, in percent.
    pub percent: u32,
    /// Retries that are always allowed.
    pub least: u32,
}

impl Limits {
    /// Retries that may be under way while `requests` are.
    pub fn retries(&self, requests: u32) -> u32 {
        self.budget.map_or(self.retries, |budget| {
            let share = u64::from(requests) * u64::from(budget.percent) / 100;
            budget.least.max(u32::try_from(share).unwrap_or(u32::MAX))
        })
    }
}

/// Keep-alive of TCP connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keepalive {
    /// Probes before giving up.
    pub probes: Option<u32>,
    /// Silence before the first one.
    pub time: Option<Duration>,
    /// Time between them.
    pub interval: Option<Duration>,
}

/// The Service behind a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceRef {
    /// Full host name.
    pub host: Arc<str>,
    /// Its name.
    pub name: Arc<str>,
    /// Its namespace.
    pub namespace: Arc<str>,
}

/// What is counted about a cluster; shared by all workers, and kept when configuration changes.
#[derive(Debug, Default)]
pub struct ClusterState {
    /// Open connections.
    pub connections: AtomicU32,
    /// Requests that wait for one.
    pub pending: AtomicU32,
    /// Requests under way.
    pub requests: AtomicU32,
    /// Retries under way.
    pub retries: AtomicU32,
    /// Turn of the round robin.
    pub turn: AtomicUsize,
}

/// Labels that an endpoint must have.
pub type Labels = Vec<(Arc<str>, Arc<str>)>;

/// What a cluster's configuration says, apart from its endpoints.
#[derive(Debug, Clone)]
pub struct ClusterConfig {
    /// Its number.
    pub id: ClusterId,
    /// Its name.
    pub name: Arc<str>,
    /// Where its endpoints come from.
    pub discovery: Discovery,
    /// How one is picked.
    pub policy: Policy,
    /// Choices of [`Policy::LeastRequest`].
    pub choices: u32,
    /// Pick the locality by weight first.
    pub locality_weighted: bool,
    /// Share of healthy endpoints below which all count as healthy, in percent.
    pub panic_percent: u32,
    /// Limit for connecting.
    pub connect_timeout: Duration,
    /// How to talk to endpoints; the first whose labels all match.
    pub transports: Vec<(Labels, Transport)>,
    /// Which HTTP version is spoken.
    pub http: HttpVersion,
    /// Limits for normal and high priority.
    pub limits: [Limits; 2],
    /// Outlier detection.
    pub outlier: Option<OutlierConfig>,
    /// Source addresses of connections, at most one of each family.
    pub bind: Vec<SocketAddr>,
    /// Keep-alive.
    pub keepalive: Option<Keepalive>,
    /// Requests per connection; 0 is no limit.
    pub max_requests_per_connection: u32,
    /// Streams per HTTP/2 connection.
    pub max_concurrent_streams: u32,
    /// Connections this old get no further requests.
    pub max_connection_duration: Option<Duration>,
    /// Connections idle for so long are closed.
    pub idle_timeout: Option<Duration>,
    /// Leave the application protocols alone that connection managers would set.
    pub keep_alpn: bool,
    /// Services behind it.
    pub services: Vec<ServiceRef>,
    /// Part of the mesh, rather than outside it.
    pub external: bool,
    /// Hash of everything that distinguishes connections.
    pub connection_id: u64,
    /// How often names are resolved.
    pub dns_refresh: Duration,
    /// Where it comes from.
    pub provenance: Provenance,
}

/// A cluster with its endpoints.
#[derive(Debug, Clone)]
pub struct Cluster {
    /// Its configuration.
    pub config: Arc<ClusterConfig>,
    /// Its endpoints.
    pub endpoints: Arc<EndpointSet>,
    /// Ring or table, for the policies that hash.
    pub ring: Option<Arc<Ring>>,
    /// What is counted about it.
    pub state: Arc<ClusterState>,
}

impl std::ops::Deref for Cluster {
    type Target = ClusterConfig;
    fn deref(&self) -> &ClusterConfig {
        &self.config
    }
}

impl ClusterConfig {
    /// How to talk to an endpoint with these labels.
    pub fn transport<'l>(&self, label: impl Fn(&str) -> Option<&'l str>) -> Transport {
        self.transports
            .iter()
            .find(|(wanted, _)| wanted.iter().all(|(key, value)| label(key) == Some(value)))
            .map_or(Transport::Plain, |(_, transport)| transport.clone())
    }

    /// The number of the endpoint at `address`.
    pub fn endpoint_id(&self, address: &Address, transport: &Transport) -> u64 {
        let mut hash = Xxh64::new(self.connection_id);
        hash.update(self.name.as_bytes());
        hash.update(address.to_string().as_bytes());
        if let Transport::Tls(tls) = transport {
            hash.update(&tls.common.id.to_le_bytes());
        }
        hash.digest()
    }

    /// The endpoint that stands for the original destination `address`.
    pub fn original_endpoint(&self, address: SocketAddr) -> Endpoint {
        let mut address = address;
        if let Discovery::OriginalDst { port: Some(port) } = self.discovery {
            address.set_port(port);
        }
        let address = Address::Socket(address);
        let transport = self.transport(|_| None);
        Endpoint {
            id: self.endpoint_id(&address, &transport),
            address,
            further: Box::default(),
            hostname: "".into(),
            weight: 1,
            healthy: true,
            transport,
            workload: None,
            labels: Arc::default(),
            container_ports: Arc::from([]),
            state: Arc::new(EndpointState::default()),
        }
    }

    /// The name of the first Service behind it.
    pub fn service(&self) -> Option<&ServiceRef> {
        self.services.first()
    }
}
