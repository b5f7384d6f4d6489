//! Proxying of byte streams.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::Poll;
use std::time::{Duration, Instant, SystemTime};

use lateen_proxy_core::balance::{PickContext, source_hash};
use lateen_proxy_core::chain::TcpProxy;
use lateen_proxy_core::cluster::{Cluster, Discovery};
use lateen_proxy_core::listener::Listener;
use lateen_proxy_core::{Flag, Flags};

use crate::authorize;
use crate::buffer::Inbuf;
use crate::connect::{Ask, Connected, connect};
use crate::http::body::Body;
use crate::http::exchange::EndpointRef;
use crate::http::h1::parse::Framing;
use crate::http::sink::{Pump, Sink};
use crate::http::timer::Timer;
use crate::io::Stream;
use crate::listener::Conn;
use crate::pool::{Counted, Slot};
use crate::record::{Protocol, Record, ResponseRecord};
use crate::sniff::Sniffed;
use crate::worker::Worker;

/// How often a long connection is reported, and checked against rules that came since.
const REPORT: Duration = Duration::from_secs(5);

/// What is known about a byte stream on its way.
struct Passage<'t> {
    cluster_name: &'t str,
    cluster: Option<&'t Arc<Cluster>>,
    endpoint: Option<EndpointRef<'t>>,
    local: Option<SocketAddr>,
    principal: Option<Arc<str>>,
    attempts: u32,
    flags: Flags,
    details: &'static str,
    /// Why it may not pass.
    denied: String,
    cause: String,
    began: Instant,
    wall: SystemTime,
    received: u64,
    sent: u64,
}

impl Passage<'_> {
    fn record<'r>(&'r self, conn: &'r Conn, proxy: &'r TcpProxy) -> Record<'r> {
        Record {
            listener: &conn.listener,
            filter_chain: &conn.chain.name,
            access_logs: &proxy.access_logs,
            stats: proxy.stats,
            protocol: Protocol::Tcp,
            request: None,
            response: ResponseRecord { status: 0, head: None, grpc_status: None },
            route: None,
            cluster_name: self.cluster_name,
            cluster: self.cluster,
            endpoint: self.endpoint.as_deref(),
            upstream_local: self.local,
            attempts: self.attempts,
            flags: self.flags,
            details: self.details,
            termination_details: &self.denied,
            transport_failure: if self.denied.is_empty() { &self.cause } else { "" },
            cause: &self.cause,
            start: self.wall,
            duration: self.began.elapsed(),
            upstream_time: None,
            bytes_received: self.received,
            bytes_sent: self.sent,
            request_head_bytes: 0,
            response_head_bytes: 0,
            downstream_local: conn.destination,
            downstream_remote: conn.remote,
            sni: conn.sni.as_deref(),
            mtls: conn.is_mtls(),
            downstream_principal: conn.principal(),
            upstream_principal: self.principal.as_deref(),
            peer: None,
        }
    }
}

/// Serves a connection as a byte stream.
pub async fn serve(conn: Rc<Conn>, proxy: Arc<TcpProxy>, stream: Stream, mut inbuf: Inbuf) {
    let tables = conn.worker.view.tables();
    let id = proxy.choose(conn.worker.random());
    let mut passage = Passage {
        cluster_name: tables.cluster_name(id),
        cluster: tables.cluster(id),
        endpoint: None,
        local: None,
        principal: None,
        attempts: 0,
        flags: Flags::default(),
        details: "",
        denied: String::new(),
        cause: String::new(),
        began: Instant::now(),
        wall: SystemTime::now(),
        received: 0,
        sent: 0,
    };
    let worker = &conn.worker;
    worker.sink.tcp_opened(worker.id, &passage.record(&conn, &proxy));
    let opened = match authorize::stream(&conn, &proxy.checks).await {
        Ok(()) => open(&conn, &proxy, &mut passage).await,
        Err(denial) => {
            denial.flag.into_iter().for_each(|flag| passage.flags.set(flag));
            (passage.denied, passage.cause) = (denial.details.to_owned(), denial.cause);
            None
        }
    };
    if let Some((connected, _count)) = opened {
        passage.local = connected.local;
        passage.principal = connected.tls.as_ref().and_then(|tls| tls.principal.clone());
        let state = passage.endpoint.as_ref().map(|endpoint| endpoint.state.clone());
        if let Some(state) = &state {
            state.active.fetch_add(1, Relaxed);
        }
        exchange(&conn, &proxy, &mut passage, &stream, &mut inbuf, connected.io.into()).await;
        if let Some(state) = &state {
            state.active.fetch_sub(1, Relaxed);
        }
    } else {
        tracing::debug!(remote = %conn.remote, cause = %passage.cause, "connection closed");
    }
    worker.sink.record(worker.id, &passage.record(&conn, &proxy));
}

/// Connects to an endpoint of the cluster.
async fn open(conn: &Conn, proxy: &TcpProxy, passage: &mut Passage<'_>) -> Option<(Connected, Counted)> {
    let Some(cluster) = passage.cluster else {
        passage.flags.set(Flag::NoClusterFound);
        passage.cause = format!("cluster {} doesn't exist", passage.cluster_name);
        return None;
    };
    let count = match Counted::take(&cluster.state, Slot::Connections, cluster.limits[0].connections) {
        Ok(count) => count,
        Err(full) => {
            passage.flags.set(Flag::UpstreamOverflow);
            passage.cause = format!("{full} of cluster {}", cluster.name);
            return None;
        }
    };
    loop {
        passage.attempts += 1;
        let Some(endpoint) = pick(conn, proxy, cluster) else {
            passage.flags.set(Flag::NoHealthyUpstream);
            passage.cause = format!("no healthy endpoint in cluster {}", cluster.name);
            return None;
        };
        passage.endpoint = Some(endpoint.clone());
        match connect(&conn.worker, cluster, &endpoint, &Ask::default()).await {
            Ok(connected) => return Some((connected, count)),
            Err(error) if passage.attempts >= proxy.connect_attempts => {
                passage.flags.set(Flag::UpstreamConnectionFailure);
                passage.cause = error.to_string();
                return None;
            }
            Err(_) => {}
        }
    }
}

fn pick<'t>(conn: &Conn, proxy: &TcpProxy, cluster: &'t Arc<Cluster>) -> Option<EndpointRef<'t>> {
    if let Discovery::OriginalDst { .. } = cluster.discovery {
        return Some(EndpointRef::Own(conn.original_endpoint(&cluster.config)));
    }
    let worker = &conn.worker;
    let hash = proxy.hash_source.then(|| source_hash(conn.remote.ip()));
    let context = PickContext { now: worker.now(), random: worker.random(), hash, avoid: &[], attempts: 0 };
    cluster.pick(context).map(EndpointRef::Table)
}

/// Moves bytes both ways until both directions have ended.
async fn exchange(
    conn: &Conn,
    proxy: &Arc<TcpProxy>,
    passage: &mut Passage<'_>,
    down: &Stream,
    inbuf: &mut Inbuf,
    up: Stream,
) {
    let (mut up_out, mut down_out, mut up_in) = (Vec::new(), Vec::new(), Inbuf::default());
    let mut request = Body::h1(down, inbuf, Framing::UntilClose);
    let mut response = Body::h1(&up, &mut up_in, Framing::UntilClose);
    let mut to_up = Sink::h1(&up, &mut up_out, false, true);
    let mut to_down = Sink::h1(down, &mut down_out, false, true);
    let (mut forth, mut back) = (Pump::default(), Pump::default());
    let (mut forth_done, mut back_done) = (false, false);
    let mut timer = Timer::default();
    let begin = tokio::time::Instant::now();
    let (mut last, mut reported, mut next_report) = (begin, (0, 0), begin + REPORT);
    let mut moved = 0;
    poll_fn(|cx| {
        if !forth_done {
            match forth.poll(cx, &mut request, &mut to_up, None) {
                Poll::Ready(Ok(())) => forth_done = true,
                Poll::Ready(Err(_)) => return Poll::Ready(()),
                Poll::Pending => {}
            }
        }
        if !back_done {
            match back.poll(cx, &mut response, &mut to_down, None) {
                Poll::Ready(Ok(())) => back_done = true,
                Poll::Ready(Err(_)) => return Poll::Ready(()),
                Poll::Pending => {}
            }
        }
        (passage.received, passage.sent) = (request.received, response.received);
        if forth_done && back_done {
            return Poll::Ready(());
        }
        loop {
            let total = passage.received + passage.sent;
            if total != moved {
                (moved, last) = (total, tokio::time::Instant::now());
            }
            let idle = proxy.idle_timeout.map(|limit| last + limit);
            let end = proxy.max_duration.map(|limit| begin + limit);
            let limit = idle.into_iter().chain(end).min();
            let wake = limit.map_or(next_report, |limit| limit.min(next_report));
            if timer.poll_at(cx, wake).is_pending() {
                return Poll::Pending;
            }
            if limit.is_some_and(|limit| limit <= wake) {
                return Poll::Ready(());
            }
            next_report = wake + REPORT;
            if let Some(denial) = authorize::revoked(conn, proxy) {
                (passage.denied, passage.cause) = denial;
                return Poll::Ready(());
            }
            let (received, sent) = (passage.received - reported.0, passage.sent - reported.1);
            if received + sent > 0 {
                reported = (passage.received, passage.sent);
                conn.worker.sink.tcp_progress(conn.worker.id, &passage.record(conn, proxy), received, sent);
            }
        }
    })
    .await;
}

/// Records a connection that no filter chain serves.
pub fn refuse(
    worker: &Worker,
    listener: &Arc<Listener>,
    sniffed: &Sniffed,
    destination: SocketAddr,
    remote: SocketAddr,
    flag: Flag,
    details: &str,
) {
    let record = Record {
        listener,
        filter_chain: "",
        access_logs: &listener.access_logs,
        stats: false,
        protocol: Protocol::Tcp,
        request: None,
        response: ResponseRecord { status: 0, head: None, grpc_status: None },
        route: None,
        cluster_name: "",
        cluster: None,
        endpoint: None,
        upstream_local: None,
        attempts: 0,
        flags: flag.into(),
        details,
        termination_details: "",
        transport_failure: "",
        cause: details,
        start: SystemTime::now(),
        duration: Duration::ZERO,
        upstream_time: None,
        bytes_received: 0,
        bytes_sent: 0,
        request_head_bytes: 0,
        response_head_bytes: 0,
        downstream_local: destination,
        downstream_remote: remote,
        sni: sniffed.server_name.as_deref(),
        mtls: false,
        downstream_principal: None,
        upstream_principal: None,
        peer: None,
    };
    worker.sink.record(worker.id, &record);
}
