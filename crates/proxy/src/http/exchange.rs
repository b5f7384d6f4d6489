//! One request and its response: everything that is known about it on its way.

use std::net::SocketAddr;
use std::ops::Deref;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use lateen_proxy_core::cluster::Cluster;
use lateen_proxy_core::endpoint::Endpoint;
use lateen_proxy_core::header_ops::{BothOps, HeaderOps};
use lateen_proxy_core::http::Hcm;
use lateen_proxy_core::route::Chosen;
use lateen_proxy_core::route::Route;
use lateen_proxy_core::virtual_host::{RouteTable, VirtualHost};
use lateen_proxy_core::{Flag, Flags, RequestHead, Tables};

use smallvec::SmallVec;

use super::cors::Added;
use super::head::Request;
use crate::listener::Conn;
use crate::peer::Peer;
use crate::pool::Facts;
use crate::record::{Protocol, Record, RequestRecord, ResponseHead, ResponseRecord};

/// An endpoint of the tables, or one made for an original destination.
#[derive(Clone)]
pub enum EndpointRef<'t> {
    /// Of the tables.
    Table(&'t Arc<Endpoint>),
    /// Made for this request.
    Own(Rc<Endpoint>),
}

impl Deref for EndpointRef<'_> {
    type Target = Endpoint;
    fn deref(&self) -> &Endpoint {
        match self {
            Self::Table(endpoint) => endpoint,
            Self::Own(endpoint) => endpoint,
        }
    }
}

/// What was found out about a request on its way.
pub struct Exchange<'t> {
    /// The connection it came on.
    pub conn: &'t Conn,
    /// The connection manager.
    pub hcm: &'t Hcm,
    /// The configuration that it sees from beginning to end.
    pub tables: &'t Tables,
    /// Its head.
    pub head: &'t dyn Request,
    /// Its protocol.
    pub protocol: Protocol,
    /// Its id.
    pub request_id: String,
    /// `x-forwarded-for` as sent on.
    pub forwarded_for: Option<String>,
    /// Is `x-forwarded-proto` sent on as it came.
    pub keeps_forwarded_proto: bool,
    /// Authority as sent on, when it changed.
    pub new_authority: Option<String>,
    /// Path as sent on, when it changed.
    pub new_path: Option<String>,
    /// Whether it is gRPC.
    pub grpc: bool,
    /// Its route table.
    pub table: Option<&'t Arc<RouteTable>>,
    /// Its virtual host.
    pub host: Option<&'t Arc<VirtualHost>>,
    /// Its route.
    pub route: Option<&'t Arc<Route>>,
    /// Name of its cluster.
    pub cluster_name: &'t str,
    /// Its cluster.
    pub cluster: Option<&'t Arc<Cluster>>,
    /// The endpoint tried last.
    pub endpoint: Option<EndpointRef<'t>>,
    /// The connection tried last.
    pub facts: Option<Rc<Facts>>,
    /// Tries.
    pub attempts: u32,
    /// An endpoint may have got something of it.
    pub reached: bool,
    /// Why it ended as it did.
    pub flags: Flags,
    /// The same in words.
    pub details: &'t str,
    /// Why there was no connection.
    pub transport_failure: String,
    /// Plain cause of an error made here.
    pub cause: String,
    /// Status of the response; 0 when there was none.
    pub status: u16,
    /// gRPC status of the response.
    pub grpc_status: Option<u32>,
    /// When it began.
    pub began: Instant,
    /// The same by the clock on the wall.
    pub wall: SystemTime,
    /// Until the answer of the endpoint began.
    pub upstream_time: Option<Duration>,
    /// Bytes of its body.
    pub received: u64,
    /// Bytes of the response's body.
    pub sent: u64,
    /// Bytes of its head.
    pub head_bytes: u64,
    /// Cross-origin headers for the response.
    pub cors: Added,
    /// Headers that external authorizers want in the response.
    pub response_headers: Vec<(String, Vec<u8>)>,
    /// The client waits for `100 Continue` before it sends the body.
    pub expects_continue: bool,
    /// The other side.
    pub peer: Option<Arc<Peer>>,
    /// Its record is told; a copy's is not.
    pub recorded: bool,
}

impl<'t> Exchange<'t> {
    /// A request that has just come.
    pub fn new(
        conn: &'t Conn,
        hcm: &'t Hcm,
        tables: &'t Tables,
        head: &'t dyn Request,
        protocol: Protocol,
    ) -> Exchange<'t> {
        Exchange {
            conn,
            hcm,
            tables,
            head,
            protocol,
            request_id: String::new(),
            forwarded_for: None,
            keeps_forwarded_proto: false,
            new_authority: None,
            new_path: None,
            grpc: head.is_grpc(),
            table: None,
            host: None,
            route: None,
            cluster_name: "",
            cluster: None,
            endpoint: None,
            facts: None,
            attempts: 0,
            reached: false,
            flags: Flags::default(),
            details: "",
            transport_failure: String::new(),
            cause: String::new(),
            status: 0,
            grpc_status: None,
            began: Instant::now(),
            wall: SystemTime::now(),
            upstream_time: None,
            received: 0,
            sent: 0,
            head_bytes: 0,
            cors: Added::new(),
            response_headers: Vec::new(),
            expects_continue: false,
            peer: None,
            recorded: true,
        }
    }

    /// The configured changes of headers of one direction, in the order in which they are made.
    pub fn ops(
        &self,
        chosen: Chosen<'t>,
        direction: impl Fn(&'t BothOps) -> &'t HeaderOps,
    ) -> SmallVec<[&'t HeaderOps; 4]> {
        let parts = [
            chosen.weighted.map(|weighted| &weighted.ops),
            self.route.map(|route| &route.ops),
            self.host.map(|host| &host.ops),
            self.table.map(|table| &table.ops),
        ];
        let mut all: SmallVec<[&'t HeaderOps; 4]> =
            parts.into_iter().flatten().map(direction).filter(|ops| !ops.is_empty()).collect();
        if self.table.is_some_and(|table| table.most_specific_wins) {
            all.reverse();
        }
        all
    }

    /// Notes why it fails.
    pub fn fail(&mut self, flag: Flag, details: &'t str) {
        self.flags.set(flag);
        self.details = details;
    }

    /// Tells the sink. Every request ends here.
    pub fn record(&self, response: Option<&dyn ResponseHead>) {
        if !self.recorded {
            return;
        }
        let conn = self.conn;
        let worker = &conn.worker;
        let head: &dyn RequestHead = self.head;
        let record = Record {
            listener: &conn.listener,
            filter_chain: &conn.chain.name,
            access_logs: &self.hcm.access_logs,
            stats: self.hcm.filters.stats,
            protocol: self.protocol,
            request: Some(RequestRecord {
                head,
                request_id: &self.request_id,
                forwarded_for: self.forwarded_for.as_deref(),
                authority: self.new_authority.as_deref().unwrap_or(head.authority()),
                path: self.new_path.as_deref().unwrap_or(head.path()),
                grpc: self.grpc,
                hcm: self.hcm,
                request_messages: 0,
                response_messages: 0,
            }),
            response: ResponseRecord { status: self.status, head: response, grpc_status: self.grpc_status },
            route: self.route,
            cluster_name: self.cluster_name,
            cluster: self.cluster,
            endpoint: self.endpoint.as_deref(),
            upstream_local: self.upstream_local(),
            attempts: self.attempts,
            flags: self.flags,
            details: self.details,
            termination_details: "",
            transport_failure: &self.transport_failure,
            cause: &self.cause,
            start: self.wall,
            duration: self.began.elapsed(),
            upstream_time: self.upstream_time,
            bytes_received: self.received,
            bytes_sent: self.sent,
            request_head_bytes: self.head_bytes,
            response_head_bytes: 0,
            downstream_local: conn.destination,
            downstream_remote: conn.remote,
            sni: conn.sni.as_deref(),
            mtls: conn.is_mtls(),
            downstream_principal: conn.principal(),
            upstream_principal: self.facts.as_ref().and_then(|facts| facts.principal.as_deref()),
            peer: self.peer.as_ref(),
        };
        worker.sink.record(worker.id, &record);
    }

    fn upstream_local(&self) -> Option<SocketAddr> {
        self.facts.as_ref().and_then(|facts| facts.local)
    }
}
