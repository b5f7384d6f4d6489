//! What is known when a request or connection ends: for the access log, the metrics and the traces.
//!
//! Everything is borrowed from the exchange that ends: nothing is copied for a sink that doesn't look at it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use lateen_proxy_core::cluster::Cluster;
use lateen_proxy_core::endpoint::Endpoint;
use lateen_proxy_core::http::Hcm;
use lateen_proxy_core::listener::{AccessLog, Listener};
use lateen_proxy_core::rbac::Verdict;
use lateen_proxy_core::route::Route;
use lateen_proxy_core::{Flags, RequestHead};

use crate::peer::Peer;

/// Protocol towards the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// HTTP/1.0.
    Http10,
    /// HTTP/1.1.
    Http11,
    /// HTTP/2.
    Http2,
    /// A byte stream.
    Tcp,
}

impl Protocol {
    /// As access logs write it; a byte stream has none.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http10 => "HTTP/1.0",
            Self::Http11 => "HTTP/1.1",
            Self::Http2 => "HTTP/2",
            Self::Tcp => "-",
        }
    }
}

/// Headers of a response.
pub trait ResponseHead {
    /// Value of the header `name` (lower case).
    fn header(&self, name: &str) -> Option<&[u8]>;
}

/// The request's side of a record; byte streams have none.
#[derive(Clone, Copy)]
pub struct RequestRecord<'a> {
    /// The request as received, its path before any rewrite.
    pub head: &'a dyn RequestHead,
    /// Its id, made here or by the client.
    pub request_id: &'a str,
    /// `x-forwarded-for` as sent upstream.
    pub forwarded_for: Option<&'a str>,
    /// Authority as sent upstream.
    pub authority: &'a str,
    /// Path as sent upstream.
    pub path: &'a str,
    /// Whether it is gRPC.
    pub grpc: bool,
    /// The connection manager that served it.
    pub hcm: &'a Hcm,
    /// Messages received, for gRPC.
    pub request_messages: u64,
    /// Messages sent, for gRPC.
    pub response_messages: u64,
}

/// The response's side of a record.
#[derive(Clone, Copy)]
pub struct ResponseRecord<'a> {
    /// Status; 0 when none was sent.
    pub status: u16,
    /// Headers, when an endpoint sent them.
    pub head: Option<&'a dyn ResponseHead>,
    /// gRPC status, from headers or trailers.
    pub grpc_status: Option<u32>,
}

/// Everything known when a request or connection ends.
#[derive(Clone, Copy)]
pub struct Record<'a> {
    /// The listener.
    pub listener: &'a Arc<Listener>,
    /// Name of the filter chain.
    pub filter_chain: &'a str,
    /// Where to log it.
    pub access_logs: &'a [Arc<AccessLog>],
    /// Whether the mesh's standard metrics are wanted.
    pub stats: bool,
    /// Protocol towards the client.
    pub protocol: Protocol,
    /// The request; `None` for byte streams.
    pub request: Option<RequestRecord<'a>>,
    /// The response.
    pub response: ResponseRecord<'a>,
    /// The route.
    pub route: Option<&'a Arc<Route>>,
    /// Name of the cluster the route names, also when it doesn't exist.
    pub cluster_name: &'a str,
    /// The cluster.
    pub cluster: Option<&'a Arc<Cluster>>,
    /// The endpoint tried last.
    pub endpoint: Option<&'a Endpoint>,
    /// Own address of the connection to it.
    pub upstream_local: Option<SocketAddr>,
    /// Tries.
    pub attempts: u32,
    /// Why it ended as it did.
    pub flags: Flags,
    /// The same in Envoy's words (`via_upstream`, `route_not_found`, …).
    pub details: &'a str,
    /// Why the connection to the client ended, when that matters.
    pub termination_details: &'a str,
    /// Why there was no connection to the endpoint.
    pub transport_failure: &'a str,
    /// Plain cause of an error made here; empty when there is none.
    pub cause: &'a str,
    /// When it began.
    pub start: SystemTime,
    /// How long it took.
    pub duration: Duration,
    /// Until the endpoint's answer began, from the last try.
    pub upstream_time: Option<Duration>,
    /// Body bytes from the client.
    pub bytes_received: u64,
    /// Body bytes to the client.
    pub bytes_sent: u64,
    /// Bytes of the request's head.
    pub request_head_bytes: u64,
    /// Bytes of the response's head.
    pub response_head_bytes: u64,
    /// Original destination.
    pub downstream_local: SocketAddr,
    /// The client.
    pub downstream_remote: SocketAddr,
    /// Server name the client asked for.
    pub sni: Option<&'a str>,
    /// Whether the client proved an identity.
    pub mtls: bool,
    /// The client's SPIFFE identity.
    pub downstream_principal: Option<&'a str>,
    /// The endpoint's SPIFFE identity.
    pub upstream_principal: Option<&'a str>,
    /// Metadata of the other side: the client's for inbound traffic, the server's for outbound traffic.
    pub peer: Option<&'a Arc<Peer>>,
}

/// Takes records. Called on the worker's own thread; state is to be kept by worker and may not be shared behind a lock.
pub trait Sink: Send + Sync {
    /// A request or byte stream ended.
    fn record(&self, worker: usize, record: &Record<'_>);

    /// A byte stream was opened.
    fn tcp_opened(&self, worker: usize, record: &Record<'_>);

    /// A byte stream goes on: `received` and `sent` bytes were moved since the last report.
    fn tcp_progress(&self, worker: usize, record: &Record<'_>, received: u64, sent: u64);

    /// Rules decided about a request (with the prefix of its connection manager) or a byte stream.
    fn authorized(&self, worker: usize, manager: Option<&Arc<str>>, verdict: &Verdict<'_>);

    /// A request's tokens were judged; `manager` is the prefix of its connection manager.
    fn authenticated(&self, worker: usize, manager: &Arc<str>, outcome: Tokens);
}

/// What became of a request whose tokens were judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tokens {
    /// It passes.
    Allowed,
    /// It doesn't.
    Denied,
    /// It is a browser's question and passes unread.
    Bypassed,
}

/// A sink that forgets everything.
#[derive(Debug, Default, Clone, Copy)]
pub struct Forget;

impl Sink for Forget {
    fn record(&self, _: usize, _: &Record<'_>) {}
    fn tcp_opened(&self, _: usize, _: &Record<'_>) {}
    fn tcp_progress(&self, _: usize, _: &Record<'_>, _: u64, _: u64) {}
    fn authorized(&self, _: usize, _: Option<&Arc<str>>, _: &Verdict<'_>) {}
    fn authenticated(&self, _: usize, _: &Arc<str>, _: Tokens) {}
}
