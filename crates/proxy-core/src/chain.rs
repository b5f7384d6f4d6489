//! Filter chains: which one serves a connection.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use smallvec::SmallVec;

use crate::conn::ConnInfo;
use crate::http::Hcm;
use crate::listener::AccessLog;
use crate::provenance::Provenance;
use crate::rbac::Check;
use crate::tables::ClusterId;
use crate::tls::DownstreamTls;

/// Which connections a chain is for. Empty parts don't matter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ChainMatch {
    /// Original destination port.
    pub destination_port: Option<u16>,
    /// Original destination address.
    pub prefixes: Vec<IpNet>,
    /// Server names of TLS, exact or `*.suffix`, lower case.
    pub server_names: Vec<Box<str>>,
    /// `raw_buffer` or `tls`.
    pub transport: Box<str>,
    /// Application protocols.
    pub protocols: Vec<Box<str>>,
    /// Addresses of the socket's peer.
    pub direct_sources: Vec<IpNet>,
    /// Whether the client is on this machine.
    pub source_local: Option<bool>,
    /// Addresses of the client.
    pub sources: Vec<IpNet>,
    /// Ports of the client.
    pub source_ports: Vec<u16>,
}

/// Which cluster a TCP proxy sends a connection to.
#[derive(Debug, Clone)]
pub enum TcpTarget {
    /// This one.
    Single(ClusterId),
    /// By weight.
    Weighted {
        /// Clusters and weights.
        clusters: Vec<(ClusterId, u32)>,
        /// Sum of the weights, never zero.
        total: u64,
    },
}

/// Proxying of a byte stream.
#[derive(Debug, Clone)]
pub struct TcpProxy {
    /// Prefix of its statistics.
    pub stat_prefix: Arc<str>,
    /// Where to.
    pub target: TcpTarget,
    /// Silence in both directions after which the connection is closed.
    pub idle_timeout: Option<Duration>,
    /// Limit for the whole connection.
    pub max_duration: Option<Duration>,
    /// Choose endpoints by the client's address, where the cluster's policy wants a hash.
    pub hash_source: bool,
    /// Attempts to connect.
    pub connect_attempts: u32,
    /// Where its connections are logged.
    pub access_logs: Vec<Arc<AccessLog>>,
    /// Report metrics in the mesh's standard form.
    pub stats: bool,
    /// Exchange metadata with the peer in the TCP stream.
    pub metadata_exchange: bool,
    /// Authorization, in the order of the filters.
    pub checks: Vec<Check>,
}

impl TcpProxy {
    /// Chooses the cluster; `random` decides about weights.
    pub fn choose(&self, random: u64) -> ClusterId {
        match &self.target {
            TcpTarget::Single(cluster) => *cluster,
            TcpTarget::Weighted { clusters, total } => {
                let mut left = random % total;
                for (cluster, weight) in clusters {
                    if left < u64::from(*weight) {
                        return *cluster;
                    }
                    left -= u64::from(*weight);
                }
                clusters[clusters.len() - 1].0
            }
        }
    }

    /// Every cluster that may be chosen.
    pub fn clusters(&self) -> Vec<ClusterId> {
        match &self.target {
            TcpTarget::Single(cluster) => vec![*cluster],
            TcpTarget::Weighted { clusters, .. } => clusters.iter().map(|(cluster, _)| *cluster).collect(),
        }
    }
}

/// What serves the connection in the end.
#[derive(Debug, Clone)]
pub enum Terminal {
    /// HTTP.
    Http(Arc<Hcm>),
    /// A byte stream.
    Tcp(Arc<TcpProxy>),
    /// It is closed; the text says why.
    Close(Arc<str>),
}

/// A filter chain.
#[derive(Debug, Clone)]
pub struct FilterChain {
    /// Its name.
    pub name: Arc<str>,
    /// Which connections it is for.
    pub matcher: ChainMatch,
    /// TLS, when it terminates that.
    pub tls: Option<Arc<DownstreamTls>>,
    /// Limit for the TLS handshake.
    pub handshake_timeout: Option<Duration>,
    /// What serves the connection.
    pub terminal: Terminal,
    /// Where it comes from.
    pub provenance: Provenance,
}

type Candidates<'c> = SmallVec<[&'c Arc<FilterChain>; 16]>;

/// Picks the chain for a connection, criterion by criterion as Envoy does: at each one the most specific match wins, and
/// chains that don't mention the criterion are used only when none that does matches.
pub fn find<'c>(chains: &'c [Arc<FilterChain>], info: &ConnInfo<'_>) -> Option<&'c Arc<FilterChain>> {
    let all: Candidates<'c> = chains.iter().collect();
    let left = narrow(all, |m| match m.destination_port {
        Some(port) => (port == info.destination.port()).then_some(1),
        None => Some(0),
    });
    let left = narrow(left, |m| best_prefix(&m.prefixes, info.destination.ip()));
    let left = narrow(left, |m| server_name(&m.server_names, info.server_name));
    let left = narrow(left, |m| match &*m.transport {
        "" => Some(0),
        transport => (transport == info.transport.as_str()).then_some(1),
    });
    let left = narrow(left, |m| protocol(&m.protocols, info.application_protocols));
    let left = narrow(left, |m| best_prefix(&m.direct_sources, info.direct_source.ip()));
    let left = narrow(left, |m| match m.source_local {
        Some(local) => (local == is_local(info)).then_some(1),
        None => Some(0),
    });
    let left = narrow(left, |m| best_prefix(&m.sources, info.source.ip()));
    let left = narrow(left, |m| match m.source_ports.as_slice() {
        [] => Some(0),
        ports => ports.contains(&info.source.port()).then_some(1),
    });
    left.first().copied()
}

/// Keeps the candidates with the highest score; `None` is no match.
fn narrow<'c>(candidates: Candidates<'c>, score: impl Fn(&ChainMatch) -> Option<usize>) -> Candidates<'c> {
    let mut best = 0;
    let mut kept = Candidates::new();
    for chain in candidates {
        let Some(score) = score(&chain.matcher) else {
            continue;
        };
        if score > best {
            best = score;
            kept.clear();
        }
        if score == best {
            kept.push(chain);
        }
    }
    kept
}

fn best_prefix(prefixes: &[IpNet], ip: IpAddr) -> Option<usize> {
    if prefixes.is_empty() {
        return Some(0);
    }
    prefixes.iter().filter(|net| net.contains(&ip)).map(|net| usize::from(net.prefix_len()) + 1).max()
}

fn server_name(names: &[Box<str>], name: Option<&str>) -> Option<usize> {
    if names.is_empty() {
        return Some(0);
    }
    let name = name?;
    let matches = |pattern: &str| match pattern.strip_prefix('*') {
        _ if pattern == name => Some(usize::MAX),
        Some(suffix) if suffix.starts_with('.') && name.len() > suffix.len() && name.ends_with(suffix) => {
            Some(suffix.len())
        }
        _ => None,
    };
    names.iter().filter_map(|pattern| matches(pattern)).max()
}

/// The connection's first protocol that some chain knows wins, so earlier ones score higher.
fn protocol(wanted: &[Box<str>], offered: &[&str]) -> Option<usize> {
    if wanted.is_empty() {
        return Some(0);
    }
    let at = offered.iter().position(|offer| wanted.iter().any(|want| &**want == *offer))?;
    Some(offered.len() - at)
}

fn is_local(info: &ConnInfo<'_>) -> bool {
    info.source.ip().is_loopback() || info.source.ip() == info.destination.ip()
}

#[cfg(test)]
mod tests;
