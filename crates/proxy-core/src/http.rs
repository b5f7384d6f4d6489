//! HTTP connection managers: how requests of a filter chain are served.

use std::sync::Arc;
use std::time::Duration;

use crate::listener::AccessLog;
use crate::normalize::Normalization;
use crate::tables::{RouteTableId, Tables};
use crate::virtual_host::RouteTable;

/// Which HTTP versions a connection may speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Codec {
    /// Told by its first bytes or by ALPN.
    Auto,
    /// HTTP/1.
    Http1,
    /// HTTP/2.
    Http2,
}

/// Where the routes come from.
#[derive(Debug, Clone)]
pub enum Routes {
    /// From the connection manager itself.
    Inline(Arc<RouteTable>),
    /// From route discovery.
    Discovered(RouteTableId),
}

/// What happens to the `server` response header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServerHeader {
    /// Always ours.
    Overwrite,
    /// Ours when there is none.
    IfAbsent,
    /// Left alone.
    PassThrough,
}

/// What happens to `x-forwarded-client-cert`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ForwardClientCert {
    /// Removed.
    Sanitize,
    /// Passed on over mTLS.
    ForwardOnly,
    /// Appended to over mTLS.
    AppendForward,
    /// Replaced over mTLS.
    SanitizeSet,
    /// Always passed on.
    AlwaysForward,
}

/// Which details of the client certificate are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ClientCertDetails {
    /// Subject.
    pub subject: bool,
    /// The certificate itself.
    pub cert: bool,
    /// The chain.
    pub chain: bool,
    /// DNS names.
    pub dns: bool,
    /// URIs.
    pub uri: bool,
}

/// What happens to escaped slashes in paths.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EscapedSlashes {
    /// Left alone.
    Keep,
    /// The request is refused.
    Reject,
    /// Unescaped, and the client sent to the new path.
    UnescapeAndRedirect,
    /// Unescaped.
    UnescapeAndForward,
}

/// What happens to headers with underscores in their names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Underscores {
    /// Left alone.
    Allow,
    /// The request is refused.
    Reject,
    /// The header is dropped.
    Drop,
}

/// Exchange of metadata with the peer in headers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PeerMetadata {
    /// Learn the client's from the request.
    pub discover_downstream: bool,
    /// Learn the server's from the response.
    pub discover_upstream: bool,
    /// Tell the client ours in the response.
    pub tell_downstream: bool,
    /// Tell the server ours in the request.
    pub tell_upstream: bool,
    /// Don't tell servers outside the mesh.
    pub skip_external: bool,
}

/// Application protocols to offer.
#[derive(Debug, Clone, Default)]
pub struct Alpn {
    /// The same for equal protocols.
    pub id: u64,
    /// Best first.
    pub names: Vec<Arc<str>>,
}

impl Alpn {
    /// These protocols.
    pub fn new(names: Vec<Arc<str>>) -> Self {
        Self { id: xxhash_rust::xxh64::xxh64(names.join(",").as_bytes(), 0), names }
    }
}

/// Application protocols to offer an endpoint, by the HTTP version spoken to it.
#[derive(Debug, Clone, Default)]
pub struct AlpnOverride {
    /// For HTTP/1.0.
    pub http10: Alpn,
    /// For HTTP/1.1.
    pub http11: Alpn,
    /// For HTTP/2.
    pub http2: Alpn,
}

/// What the filters of a connection manager do, of those that are known here.
#[derive(Debug, Clone, Default)]
pub struct Filters {
    /// Exchange of metadata.
    pub peer_metadata: Option<PeerMetadata>,
    /// The mesh's standard metrics.
    pub stats: bool,
    /// Application protocols towards endpoints.
    pub alpn: Option<AlpnOverride>,
    /// Cross-origin rules of routes count.
    pub cors: bool,
    /// Faults of routes count; those of the filter itself, when routes have none.
    pub fault: Option<Option<Arc<crate::fault::Fault>>>,
    /// Authorization, in the order of the filters.
    pub checks: Vec<crate::rbac::Check>,
    /// Write no `x-envoy-*` headers.
    pub suppress_envoy_headers: bool,
    /// A filter that must not be skipped and isn't known here: every request is refused with this text.
    pub refuse: Option<Arc<str>>,
}

/// HTTP/2 settings towards clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Http2Settings {
    /// Streams at a time.
    pub max_concurrent_streams: u32,
    /// Window of a stream.
    pub stream_window: u32,
    /// Window of the connection.
    pub connection_window: u32,
}

/// An HTTP connection manager.
#[derive(Debug, Clone)]
pub struct Hcm {
    /// Prefix of its statistics.
    pub stat_prefix: Arc<str>,
    /// Versions.
    pub codec: Codec,
    /// Routes.
    pub routes: Routes,
    /// What its filters do.
    pub filters: Filters,
    /// Value of the `server` header.
    pub server_name: Arc<str>,
    /// What happens to that header.
    pub server_header: ServerHeader,
    /// Value to add to `via`.
    pub via: Arc<str>,
    /// What happens to `x-forwarded-client-cert`.
    pub forward_client_cert: ForwardClientCert,
    /// What is written there.
    pub client_cert: ClientCertDetails,
    /// Trust the peer's address rather than `x-forwarded-for`.
    pub use_remote_address: bool,
    /// Trusted proxies in front.
    pub trusted_hops: u32,
    /// Don't append to `x-forwarded-for`.
    pub skip_xff_append: bool,
    /// Make a request id when there is none.
    pub generate_request_id: bool,
    /// Keep the request id of clients outside.
    pub preserve_external_request_id: bool,
    /// Write the request id into responses.
    pub request_id_in_response: bool,
    /// Pass `100-continue` on instead of answering it.
    pub proxy_100_continue: bool,
    /// Silence on a stream before it is closed; `None` is for ever.
    pub stream_idle_timeout: Option<Duration>,
    /// Limit for receiving a request.
    pub request_timeout: Option<Duration>,
    /// Limit for receiving its head.
    pub headers_timeout: Option<Duration>,
    /// Silence between requests before the connection is closed.
    pub idle_timeout: Option<Duration>,
    /// Limit for a connection.
    pub max_connection_duration: Option<Duration>,
    /// Limit for a stream.
    pub max_stream_duration: Option<Duration>,
    /// Requests per connection; 0 is no limit.
    pub max_requests_per_connection: u32,
    /// Largest request head, in bytes.
    pub max_head: usize,
    /// Most headers.
    pub max_headers: usize,
    /// Headers with underscores.
    pub underscores: Underscores,
    /// Resolve dots in paths.
    pub normalize_path: bool,
    /// Merge slashes in paths.
    pub merge_slashes: bool,
    /// Escaped slashes.
    pub escaped_slashes: EscapedSlashes,
    /// Drop the port of a host when it is the listener's.
    pub strip_matching_port: bool,
    /// Drop the port of every host.
    pub strip_any_port: bool,
    /// Upgrades allowed (`websocket`).
    pub upgrades: Vec<(Box<str>, bool)>,
    /// HTTP/2 settings.
    pub http2: Http2Settings,
    /// Accept HTTP/1.0.
    pub accept_http10: bool,
    /// Host of HTTP/1.0 requests without one.
    pub default_host_http10: Arc<str>,
    /// Write header names in the case they came in.
    pub preserve_case: bool,
    /// Where requests are logged.
    pub access_logs: Vec<Arc<AccessLog>>,
}

impl Hcm {
    /// What requests of the proxy's own are sent by.
    pub fn of_own_requests() -> Self {
        Self {
            stat_prefix: "".into(),
            codec: Codec::Auto,
            routes: Routes::Inline(Arc::default()),
            filters: Filters { suppress_envoy_headers: true, ..Filters::default() },
            server_name: "".into(),
            server_header: ServerHeader::PassThrough,
            via: "".into(),
            forward_client_cert: ForwardClientCert::Sanitize,
            client_cert: ClientCertDetails::default(),
            use_remote_address: false,
            trusted_hops: 0,
            skip_xff_append: true,
            generate_request_id: false,
            preserve_external_request_id: true,
            request_id_in_response: false,
            proxy_100_continue: false,
            stream_idle_timeout: None,
            request_timeout: None,
            headers_timeout: None,
            idle_timeout: None,
            max_connection_duration: None,
            max_stream_duration: None,
            max_requests_per_connection: 0,
            max_head: 60 << 10,
            max_headers: 100,
            underscores: Underscores::Allow,
            normalize_path: false,
            merge_slashes: false,
            escaped_slashes: EscapedSlashes::Keep,
            strip_matching_port: false,
            strip_any_port: false,
            upgrades: Vec::new(),
            http2: Http2Settings { max_concurrent_streams: 1024, stream_window: 1 << 20, connection_window: 16 << 20 },
            accept_http10: false,
            default_host_http10: "".into(),
            preserve_case: false,
            access_logs: Vec::new(),
        }
    }

    /// The route table to use, when it has arrived.
    pub fn route_table<'t>(&'t self, tables: &'t Tables) -> Option<&'t Arc<RouteTable>> {
        match &self.routes {
            Routes::Inline(table) => Some(table),
            Routes::Discovered(id) => tables.route_table(*id),
        }
    }

    /// The name of its route table.
    pub fn route_table_name<'t>(&'t self, tables: &'t Tables) -> &'t str {
        match &self.routes {
            Routes::Inline(table) => &table.name,
            Routes::Discovered(id) => tables.route_table_name(*id),
        }
    }

    /// What is done to paths before anything decides on them.
    pub fn normalization(&self) -> Normalization {
        Normalization {
            dots: self.normalize_path,
            merge_slashes: self.merge_slashes,
            escaped_slashes: self.escaped_slashes,
        }
    }

    /// Whether an upgrade to `protocol` (lower case) is allowed, unless the route says otherwise.
    pub fn allows_upgrade(&self, protocol: &str) -> bool {
        self.upgrades.iter().any(|(known, enabled)| *enabled && known.eq_ignore_ascii_case(protocol))
    }
}
