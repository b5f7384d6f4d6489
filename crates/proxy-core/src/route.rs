//! Routes: what a request must look like, and what is then done with it.

use std::sync::Arc;
use std::time::Duration;

use crate::fault::{Cors, Fault};
use crate::fraction::Fraction;
use crate::head::RequestHead;
use crate::header_match::{HeaderMatch, QueryMatch};
use crate::header_ops::BothOps;
use crate::pattern::{Pattern, Substitution};
use crate::provenance::Provenance;
use crate::rbac::ClaimMatch;
use crate::retry::RetryPolicy;
use crate::tables::ClusterId;

/// What the path must be.
#[derive(Debug, Clone)]
pub enum PathMatch {
    /// Begins with.
    Prefix(Box<str>),
    /// Equal.
    Exact(Box<str>),
    /// Matches as a whole.
    Regex(Pattern),
    /// Equal, or begins with it and a slash.
    SegmentPrefix(Box<str>),
    /// A CONNECT request.
    Connect,
}

/// What a request must look like.
#[derive(Debug, Clone)]
pub struct RouteMatch {
    /// Path without query.
    pub path: PathMatch,
    /// Whether upper and lower case differ in the path.
    pub case_sensitive: bool,
    /// All must match.
    pub headers: Vec<HeaderMatch>,
    /// All must match.
    pub query: Vec<QueryMatch>,
    /// Only so many of the requests that match.
    pub fraction: Option<Fraction>,
    /// gRPC requests only.
    pub grpc: bool,
    /// All must match.
    pub claims: Vec<ClaimMatch>,
}

impl RouteMatch {
    /// Whether the request looks so; `random` decides about fractions.
    pub fn matches(&self, head: &(impl RequestHead + ?Sized), random: u64) -> bool {
        self.path_matches(head)
            && self.headers.iter().all(|matcher| matcher.matches(head))
            && (self.query.is_empty() || self.query.iter().all(|matcher| matcher.matches(head.query())))
            && (!self.grpc || head.is_grpc())
            && self.claims.iter().all(|matcher| matcher.matches(head.claims()))
            && self.fraction.is_none_or(|fraction| fraction.hits(random))
    }

    fn path_matches(&self, head: &(impl RequestHead + ?Sized)) -> bool {
        let path = head.path_only();
        match &self.path {
            PathMatch::Connect => head.method() == "CONNECT",
            _ if path.is_empty() => false,
            PathMatch::Prefix(prefix) => self.starts(path, prefix),
            PathMatch::Exact(want) => path.len() == want.len() && self.starts(path, want),
            PathMatch::Regex(pattern) => pattern.matches(path.as_bytes()),
            PathMatch::SegmentPrefix(prefix) => {
                self.starts(path, prefix) && matches!(path.as_bytes().get(prefix.len()), None | Some(b'/'))
            }
        }
    }

    fn starts(&self, path: &str, prefix: &str) -> bool {
        let Some(start) = path.as_bytes().get(..prefix.len()) else {
            return false;
        };
        if self.case_sensitive { start == prefix.as_bytes() } else { start.eq_ignore_ascii_case(prefix.as_bytes()) }
    }

    /// The length of the matched part of `path`, for prefix rewrites.
    pub fn matched_len(&self, path: &str) -> usize {
        match &self.path {
            PathMatch::Prefix(prefix) | PathMatch::Exact(prefix) | PathMatch::SegmentPrefix(prefix) => {
                prefix.len().min(path.len())
            }
            PathMatch::Regex(_) | PathMatch::Connect => path.len(),
        }
    }
}

/// How the path is rewritten.
#[derive(Debug, Clone)]
pub enum PathRewrite {
    /// Replaces the matched part.
    Prefix(Box<str>),
    /// Replaces all of the path, not the query.
    Full(Box<str>),
    /// Replaces by pattern.
    Regex(Substitution),
}

impl PathRewrite {
    /// The new path, with the query of the old one.
    pub fn apply(&self, matcher: &RouteMatch, path: &str) -> String {
        let (only, query) = path.split_at(path.find(['?', '#']).unwrap_or(path.len()));
        match self {
            Self::Prefix(prefix) => {
                format!("{prefix}{}{query}", &only[matcher.matched_len(only)..])
            }
            Self::Full(full) => format!("{full}{query}"),
            Self::Regex(substitution) => format!("{}{query}", substitution.apply(only)),
        }
    }
}

/// How the host is rewritten.
#[derive(Debug, Clone)]
pub enum HostRewrite {
    /// To this.
    Literal(Box<str>),
    /// To the endpoint's host name.
    Auto,
    /// To the value of this header.
    Header(Box<str>),
}

/// One of the clusters that a route sends to.
#[derive(Debug, Clone)]
pub struct WeightedCluster {
    /// The cluster.
    pub cluster: ClusterId,
    /// Its share.
    pub weight: u32,
    /// Changes of headers for it.
    pub ops: BothOps,
    /// Host rewrite for it.
    pub host_rewrite: Option<HostRewrite>,
}

/// Which cluster a route sends to.
#[derive(Debug, Clone)]
pub enum Target {
    /// This one.
    Single(ClusterId),
    /// The one that this header names.
    Header(Box<str>),
    /// By weight.
    Weighted {
        /// The clusters.
        clusters: Vec<WeightedCluster>,
        /// Sum of the weights, never zero.
        total: u64,
    },
}

/// The cluster chosen for one request.
#[derive(Debug, Clone, Copy)]
pub struct Chosen<'t> {
    /// The cluster; `None` when a header names one that nothing configures.
    pub cluster: Option<ClusterId>,
    /// What belongs to this choice, of a weighted target.
    pub weighted: Option<&'t WeightedCluster>,
}

impl Target {
    /// Chooses; `random` decides about weights, `cluster_by_name` about headers.
    pub fn choose(
        &self,
        head: &(impl RequestHead + ?Sized),
        random: u64,
        cluster_by_name: impl Fn(&str) -> Option<ClusterId>,
    ) -> Chosen<'_> {
        match self {
            Self::Single(cluster) => Chosen { cluster: Some(*cluster), weighted: None },
            Self::Header(name) => {
                let value = head.lookup(name);
                let name = value.as_deref().and_then(|value| std::str::from_utf8(value).ok());
                Chosen { cluster: name.and_then(cluster_by_name), weighted: None }
            }
            Self::Weighted { clusters, total } => {
                let mut left = random % total;
                let chosen = clusters.iter().find(|entry| {
                    let hit = left < u64::from(entry.weight);
                    left = left.saturating_sub(u64::from(entry.weight));
                    hit
                });
                Chosen { cluster: chosen.map(|entry| entry.cluster), weighted: chosen }
            }
        }
    }

    /// Every cluster that may be chosen (those named by headers excepted).
    pub fn clusters(&self) -> impl Iterator<Item = ClusterId> + '_ {
        let (single, weighted) = match self {
            Self::Single(cluster) => (Some(*cluster), &[][..]),
            Self::Header(_) => (None, &[][..]),
            Self::Weighted { clusters, .. } => (None, clusters.as_slice()),
        };
        single.into_iter().chain(weighted.iter().map(|entry| entry.cluster))
    }
}

/// Sends a share of the requests to another cluster too, and forgets its answers.
#[derive(Debug, Clone)]
pub struct Mirror {
    /// Where copies go, and how long they may take; they are never tried again.
    pub forward: Arc<Forward>,
    /// The share.
    pub fraction: Fraction,
    /// Copies bear the request's host; otherwise it ends in `-shadow`.
    pub keep_host: bool,
}

/// A request is sent on.
#[derive(Debug, Clone)]
pub struct Forward {
    /// Where to.
    pub target: Target,
    /// Status when the cluster doesn't exist.
    pub cluster_not_found: u16,
    /// Path rewrite.
    pub path_rewrite: Option<PathRewrite>,
    /// Host rewrite.
    pub host_rewrite: Option<HostRewrite>,
    /// Keep the old host in `x-forwarded-host`.
    pub append_forwarded_host: bool,
    /// Limit for the whole response; `None` is no limit.
    pub timeout: Option<Duration>,
    /// Limit for silence on the stream; `None` leaves the connection manager's.
    pub idle_timeout: Option<Option<Duration>>,
    /// Limit on what `grpc-timeout` may ask for; `None` ignores that header.
    pub max_grpc_timeout: Option<Option<Duration>>,
    /// Limit for the stream from its first byte to its last; `None` leaves the connection manager's.
    pub max_stream_duration: Option<Option<Duration>>,
    /// When to try again.
    pub retry: Option<Arc<RetryPolicy>>,
    /// Copies.
    pub mirrors: Vec<Mirror>,
    /// What consistent hashing looks at.
    pub hash: Vec<crate::balance::HashPolicy>,
    /// Upgrades allowed or forbidden here (`websocket`), before the connection manager's.
    pub upgrades: Vec<(Box<str>, bool)>,
    /// Requests of high priority have their own limits.
    pub high_priority: bool,
}

impl Forward {
    /// To `target` as it is, once.
    pub fn plain(target: Target, timeout: Option<Duration>) -> Self {
        Self {
            target,
            cluster_not_found: 503,
            path_rewrite: None,
            host_rewrite: None,
            append_forwarded_host: false,
            timeout,
            idle_timeout: None,
            max_grpc_timeout: None,
            max_stream_duration: None,
            retry: None,
            mirrors: Vec::new(),
            hash: Vec::new(),
            upgrades: Vec::new(),
            high_priority: false,
        }
    }
}

/// A redirect.
#[derive(Debug, Clone)]
pub struct Redirect {
    /// Status.
    pub status: u16,
    /// New scheme.
    pub scheme: Option<Box<str>>,
    /// New host.
    pub host: Option<Box<str>>,
    /// New port.
    pub port: Option<u16>,
    /// New path.
    pub path: Option<PathRewrite>,
    /// Drop the query.
    pub strip_query: bool,
}

impl Redirect {
    /// The value of `location`.
    pub fn location(&self, matcher: &RouteMatch, head: &(impl RequestHead + ?Sized)) -> String {
        let scheme = self.scheme.as_deref().unwrap_or(head.scheme());
        let (old_host, old_port) = split_port(head.authority());
        let host = self.host.as_deref().unwrap_or(old_host);
        let kept = if self.scheme.is_some() && matches!(old_port, Some("80" | "443")) { None } else { old_port };
        let port = match self.port {
            Some(port) => Some(port.to_string()).filter(|_| !matches!((scheme, port), ("http", 80) | ("https", 443))),
            None if self.host.is_some() => None,
            None => kept.map(str::to_owned),
        };
        let path = self.new_path(matcher, head.path());
        match port {
            Some(port) => format!("{scheme}://{host}:{port}{path}"),
            None => format!("{scheme}://{host}{path}"),
        }
    }

    fn new_path(&self, matcher: &RouteMatch, path: &str) -> String {
        let path = match &self.path {
            // A full path given here may bring a query of its own, which then replaces the old one.
            Some(PathRewrite::Full(full)) if full.contains('?') => full.to_string(),
            Some(rewrite) => rewrite.apply(matcher, path),
            None => path.to_owned(),
        };
        match path.find('?') {
            Some(query) if self.strip_query => path[..query].to_owned(),
            _ => path,
        }
    }
}

/// Splits `host:port`, also with a bracketed IPv6 address.
pub fn split_port(authority: &str) -> (&str, Option<&str>) {
    let after_brackets = authority.rfind(']').map_or(0, |at| at + 1);
    match authority[after_brackets..].rfind(':') {
        Some(colon) => {
            let colon = after_brackets + colon;
            (&authority[..colon], Some(&authority[colon + 1..]))
        }
        None => (authority, None),
    }
}

/// What is done with a request.
#[derive(Debug, Clone)]
pub enum Action {
    /// Sent on.
    Forward(Box<Forward>),
    /// Sent elsewhere by the client.
    Redirect(Box<Redirect>),
    /// Answered here.
    Respond {
        /// Status.
        status: u16,
        /// Body.
        body: Arc<[u8]>,
    },
    /// Not for a proxy of this kind (`non_forwarding_action`).
    Refuse,
}

/// A route.
#[derive(Debug, Clone)]
pub struct Route {
    /// Its name; empty when it has none.
    pub name: Arc<str>,
    /// What requests take it.
    pub matcher: RouteMatch,
    /// What is done with them.
    pub action: Action,
    /// Changes of headers.
    pub ops: BothOps,
    /// Cross-origin rules.
    pub cors: Option<Arc<Cors>>,
    /// Injected faults.
    pub fault: Option<Arc<Fault>>,
    /// Name of its operation in traces.
    pub operation: Option<Arc<str>>,
    /// Where it comes from.
    pub provenance: Provenance,
}
