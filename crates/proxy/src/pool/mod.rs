//! Connections to endpoints, kept by each worker for the next request.

mod count;
mod h2;

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet, VecDeque};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use lateen_proxy_core::Tables;
use lateen_proxy_core::cluster::{Cluster, Discovery, HttpVersion};
use lateen_proxy_core::endpoint::Endpoint;
use lateen_proxy_core::http::{Alpn, AlpnOverride};

use crate::buffer::Inbuf;
use crate::connect::{Ask, ConnectError, Connected, connect};
use crate::io::Stream;
use crate::record::Protocol;
use crate::worker::Worker;

pub use count::{Counted, Full, Slot};

/// Idle connections kept for one endpoint.
const MAX_IDLE: usize = 1024;
/// A request that must not be sent twice goes out on a connection that was used so recently, or on a new one: servers
/// close idle connections after some seconds, and a request that crosses the close on its way may or may not be heard.
const RECENT: Duration = Duration::from_secs(1);
/// Endpoints without any connection are forgotten after so long.
const FORGET: Duration = Duration::from_secs(60);

/// What is known about a connection to an endpoint.
#[derive(Debug, Default)]
pub struct Facts {
    /// Own address.
    pub local: Option<SocketAddr>,
    /// The endpoint's SPIFFE identity.
    pub principal: Option<Arc<str>>,
}

/// An HTTP/1 connection to an endpoint.
pub struct H1Conn {
    /// Its bytes.
    pub stream: Stream,
    /// Bytes read and not used.
    pub inbuf: Inbuf,
    /// Bytes to be written.
    pub out: Vec<u8>,
    /// It served a request before.
    pub reused: bool,
    /// Requests it was used for.
    pub requests: u32,
    /// What is known about it.
    pub facts: Rc<Facts>,
    opened: Instant,
    age_limit: Option<Duration>,
    idle_since: Instant,
    idle_limit: Option<Duration>,
    _count: Counted,
}

/// A way to an endpoint.
pub enum Upstream {
    /// A connection of its own.
    H1(Box<H1Conn>),
    /// A stream on a shared one.
    H2(::h2::client::SendRequest<Bytes>, Rc<Facts>),
}

/// Connections to one endpoint with one choice of application protocols.
struct Host {
    idle: RefCell<VecDeque<Box<H1Conn>>>,
    h2: RefCell<Option<h2::Client>>,
    dialling: tokio::sync::Mutex<()>,
    used: Cell<Instant>,
    /// It is not among the endpoints of the configuration: it stands for an original destination.
    unlisted: bool,
}

/// The connections of one worker.
#[derive(Default)]
pub struct Pools {
    generation: Cell<u64>,
    hosts: RefCell<HashMap<(u64, u64), Rc<Host>>>,
}

/// Why there is no way to an endpoint.
#[derive(Debug, thiserror::Error)]
pub enum AcquireError {
    /// No connection.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// A limit is reached.
    #[error(transparent)]
    Full(#[from] Full),
    /// The connection was refused by HTTP/2.
    #[error("HTTP/2 with {0} failed: {1}")]
    H2(String, ::h2::Error),
}

/// What a request wants of a connection.
pub struct Want<'a> {
    /// The version spoken.
    pub version: Version,
    /// Application protocols.
    pub alpn: Option<&'a Alpn>,
    /// The request's host.
    pub host: &'a str,
    /// A new connection, as a kept one failed.
    pub fresh: bool,
    /// It does no harm if the request has to be sent twice.
    pub repeatable: bool,
    /// Limits of high priority apply.
    pub high_priority: bool,
}

/// The version spoken to an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// HTTP/1.1.
    H1,
    /// HTTP/2.
    H2,
    /// Whichever TLS negotiates.
    Negotiated,
}

impl Version {
    /// The version for a request of `protocol`.
    pub fn of(cluster: &Cluster, protocol: Protocol, upgrade: bool) -> Self {
        match cluster.http {
            _ if upgrade => Self::H1,
            HttpVersion::Http1 => Self::H1,
            HttpVersion::Http2 => Self::H2,
            HttpVersion::Downstream if protocol == Protocol::Http2 => Self::H2,
            HttpVersion::Downstream => Self::H1,
            HttpVersion::Negotiated => Self::Negotiated,
        }
    }

    /// The application protocols that the connection manager sets for it.
    pub fn alpn(self, choices: &AlpnOverride) -> Option<&Alpn> {
        let alpn = match self {
            Self::H1 => &choices.http11,
            Self::H2 => &choices.http2,
            Self::Negotiated => return None,
        };
        (!alpn.names.is_empty()).then_some(alpn)
    }
}

impl Pools {
    fn host(&self, cluster: &Cluster, key: (u64, u64)) -> Rc<Host> {
        let now = Instant::now();
        let mut hosts = self.hosts.borrow_mut();
        let host = hosts.entry(key).or_insert_with(|| {
            Rc::new(Host {
                idle: RefCell::default(),
                h2: RefCell::default(),
                dialling: tokio::sync::Mutex::default(),
                used: Cell::new(now),
                unlisted: matches!(cluster.discovery, Discovery::OriginalDst { .. }),
            })
        });
        host.used.set(now);
        host.clone()
    }

    /// A way to `endpoint`.
    pub async fn acquire(
        &self,
        worker: &Worker,
        cluster: &Cluster,
        endpoint: &Endpoint,
        want: &Want<'_>,
    ) -> Result<Upstream, AcquireError> {
        let host = self.host(cluster, (endpoint.id, want.alpn.map_or(0, |alpn| alpn.id)));
        if want.version != Version::H2
            && !want.fresh
            && let Some(conn) = host.take_idle(want.repeatable)
        {
            return Ok(Upstream::H1(conn));
        }
        if want.version == Version::H1 {
            let (connected, count) = dial(worker, cluster, endpoint, want).await?;
            return Ok(Upstream::H1(h1(connected, cluster, count)));
        }
        if let Some(upstream) = h2::reuse(&host.h2).await {
            return Ok(upstream);
        }
        // One dials, the others wait for what it brings.
        let _turn = host.dialling.lock().await;
        if let Some(upstream) = h2::reuse(&host.h2).await {
            return Ok(upstream);
        }
        let (connected, count) = dial(worker, cluster, endpoint, want).await?;
        let negotiated = connected.tls.as_ref().and_then(|tls| tls.alpn.as_deref());
        if want.version == Version::Negotiated && negotiated != Some("h2") {
            return Ok(Upstream::H1(h1(connected, cluster, count)));
        }
        h2::open(&host.h2, connected, cluster, endpoint, count).await
    }

    /// Keeps a connection for the next request.
    pub fn release(&self, cluster: &Cluster, endpoint: &Endpoint, alpn: Option<&Alpn>, mut conn: Box<H1Conn>) {
        conn.requests += 1;
        let limit = cluster.max_requests_per_connection;
        if (limit > 0 && conn.requests >= limit) || conn.is_old() || !conn.inbuf.is_empty() {
            return;
        }
        conn.reused = true;
        conn.idle_since = Instant::now();
        conn.inbuf.unpin();
        if conn.out.capacity() > crate::buffer::SIZE {
            conn.out = Vec::new();
        }
        let host = self.host(cluster, (endpoint.id, alpn.map_or(0, |alpn| alpn.id)));
        let mut idle = host.idle.borrow_mut();
        if idle.len() < MAX_IDLE {
            idle.push_back(conn);
        }
    }

    /// Closes connections that were idle for too long, that the other side closed, or whose endpoint is gone, and
    /// forgets unused endpoints. Requests under way go on.
    pub fn sweep(&self, tables: &Tables) {
        let now = Instant::now();
        let mut listed = None;
        if self.generation.replace(tables.generation) != tables.generation {
            let all = tables.clusters().flat_map(|cluster| cluster.endpoints.iter().map(|endpoint| endpoint.id));
            listed = Some(all.collect::<HashSet<u64>>());
        }
        self.hosts.borrow_mut().retain(|(endpoint, _), host| {
            if listed.as_ref().is_some_and(|listed| !host.unlisted && !listed.contains(endpoint)) {
                return false;
            }
            let mut idle = host.idle.borrow_mut();
            idle.retain(|conn| {
                let expired = conn.idle_limit.is_some_and(|limit| now.duration_since(conn.idle_since) >= limit);
                !expired && !conn.is_old() && conn.stream.is_quiet()
            });
            let open = !idle.is_empty() || h2::sweep(&host.h2, now.duration_since(host.used.get()));
            drop(idle);
            open || Rc::strong_count(host) > 1 || now.duration_since(host.used.get()) < FORGET
        });
    }

    /// Closes every idle connection.
    pub fn clear(&self) {
        self.hosts.borrow_mut().clear();
    }
}

impl Host {
    fn take_idle(&self, repeatable: bool) -> Option<Box<H1Conn>> {
        let mut idle = self.idle.borrow_mut();
        // The one used last is the least likely to have been closed.
        while let Some(conn) = idle.pop_back() {
            if conn.is_old() || !conn.stream.is_quiet() {
                continue;
            }
            if !repeatable && conn.idle_since.elapsed() > RECENT {
                idle.push_back(conn);
                return None;
            }
            return Some(conn);
        }
        None
    }
}

impl H1Conn {
    fn is_old(&self) -> bool {
        self.age_limit.is_some_and(|limit| self.opened.elapsed() >= limit)
    }
}

async fn dial(
    worker: &Worker,
    cluster: &Cluster,
    endpoint: &Endpoint,
    want: &Want<'_>,
) -> Result<(Connected, Counted), AcquireError> {
    let limits = &cluster.limits[usize::from(want.high_priority)];
    let pending = Counted::take(&cluster.state, Slot::Pending, limits.pending)?;
    let count = Counted::take(&cluster.state, Slot::Connections, limits.connections)?;
    let ask = Ask { alpn: want.alpn.map(|alpn| alpn.names.as_slice()), host: Some(want.host) };
    let connected = connect(worker, cluster, endpoint, &ask).await?;
    drop(pending);
    Ok((connected, count))
}

fn facts(connected: &Connected) -> Rc<Facts> {
    let principal = connected.tls.as_ref().and_then(|tls| tls.principal.clone());
    Rc::new(Facts { local: connected.local, principal })
}

fn h1(connected: Connected, cluster: &Cluster, count: Counted) -> Box<H1Conn> {
    let facts = facts(&connected);
    Box::new(H1Conn {
        stream: connected.io.into(),
        inbuf: Inbuf::default(),
        out: Vec::new(),
        reused: false,
        requests: 0,
        facts,
        opened: Instant::now(),
        age_limit: cluster.max_connection_duration,
        idle_since: Instant::now(),
        idle_limit: cluster.idle_timeout,
        _count: count,
    })
}
