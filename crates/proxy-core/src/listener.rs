//! Listeners.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::chain::{self, FilterChain};
use crate::conn::ConnInfo;
use crate::provenance::Provenance;

/// Whether traffic comes from the workload or goes to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Direction {
    /// To the workload.
    Inbound,
    /// From the workload.
    Outbound,
    /// Neither: a gateway.
    #[default]
    Gateway,
}

/// Ports to which something doesn't apply.
#[derive(Debug, Clone, Default)]
pub struct PortRanges(pub Vec<(u16, u16)>);

impl PortRanges {
    /// Whether `port` is one of them; ends excluded.
    pub fn contains(&self, port: u16) -> bool {
        self.0.iter().any(|(start, end)| (*start..*end).contains(&port))
    }
}

/// Looking at the first bytes of connections.
#[derive(Debug, Clone, Default)]
pub struct Sniff {
    /// Tell TLS from other bytes, except on these ports.
    pub tls: Option<PortRanges>,
    /// Tell HTTP from other bytes, except on these ports.
    pub http: Option<PortRanges>,
    /// How long to wait for the bytes; `None` is for ever.
    pub timeout: Option<Duration>,
    /// Go on with what is known after that time, rather than close.
    pub continue_on_timeout: bool,
}

/// Which requests are logged.
#[derive(Debug, Clone)]
pub enum LogFilter {
    /// Those with one of these flags (any flag, when empty).
    Flags(Vec<Box<str>>),
    /// Those whose status compares so.
    Status {
        /// The comparison.
        op: Comparison,
        /// With this number.
        value: u32,
    },
    /// Those whose duration in milliseconds compares so.
    Duration {
        /// The comparison.
        op: Comparison,
        /// With this number.
        value: u32,
    },
    /// Those that meet all.
    And(Vec<LogFilter>),
    /// Those that meet one.
    Or(Vec<LogFilter>),
    /// A filter not known here: everything is logged.
    Unknown,
}

/// A comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    /// `==`
    Equal,
    /// `>=`
    AtLeast,
    /// `<=`
    AtMost,
    /// `!=`
    Different,
}

/// The form of a log line.
#[derive(Debug, Clone)]
pub enum LogFormat {
    /// The default text.
    Default,
    /// Text with operators.
    Text(Arc<str>),
    /// JSON: keys with texts with operators.
    Json(Vec<(Arc<str>, Arc<str>)>),
}

/// Where requests are logged, and how.
#[derive(Debug, Clone)]
pub struct AccessLog {
    /// File; `/dev/stdout` for the proxy's own output.
    pub path: Arc<str>,
    /// Form of a line.
    pub format: LogFormat,
    /// Which requests.
    pub filter: Option<LogFilter>,
}

/// A listener.
#[derive(Debug, Clone)]
pub struct Listener {
    /// Its name.
    pub name: Arc<str>,
    /// Its address.
    pub address: SocketAddr,
    /// Further addresses that it stands for.
    pub more_addresses: Vec<SocketAddr>,
    /// Open a socket; otherwise it only takes over connections by their original destination.
    pub bind_to_port: bool,
    /// Hand connections to the listener at their original destination.
    pub use_original_dst: bool,
    /// Read the original destination of redirected connections.
    pub original_dst: bool,
    /// Read a proxy protocol header first.
    pub proxy_protocol: bool,
    /// Whose traffic it is.
    pub direction: Direction,
    /// Looking at first bytes.
    pub sniff: Sniff,
    /// Its filter chains.
    pub chains: Vec<Arc<FilterChain>>,
    /// The chain for connections that match none.
    pub default_chain: Option<Arc<FilterChain>>,
    /// Where connections without chain are logged.
    pub access_logs: Vec<Arc<AccessLog>>,
    /// Where it comes from.
    pub provenance: Provenance,
}

impl Listener {
    /// The chain for a connection.
    pub fn filter_chain(&self, info: &ConnInfo<'_>) -> Option<&Arc<FilterChain>> {
        chain::find(&self.chains, info).or(self.default_chain.as_ref())
    }

    /// Every chain.
    pub fn all_chains(&self) -> impl Iterator<Item = &Arc<FilterChain>> {
        self.chains.iter().chain(&self.default_chain)
    }
}
