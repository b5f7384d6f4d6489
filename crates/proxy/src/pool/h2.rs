//! Shared HTTP/2 connections.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::client::SendRequest;
use lateen_proxy_core::cluster::Cluster;
use lateen_proxy_core::endpoint::Endpoint;

use super::{AcquireError, Counted, Facts, Upstream, facts};
use crate::connect::Connected;
use crate::gather::gather;

/// Window of a stream. Small windows make h2 end connections that carry many small frames.
const STREAM_WINDOW: u32 = 1 << 20;
/// Window of a connection.
const CONNECTION_WINDOW: u32 = 16 << 20;

/// A shared connection.
#[derive(Clone)]
pub struct Client {
    send: SendRequest<Bytes>,
    facts: Rc<Facts>,
    open: Rc<Cell<bool>>,
    idle_limit: Option<Duration>,
    /// When it gets no further streams.
    end: Option<Instant>,
    /// Streams that it may still get.
    left: Rc<Cell<u32>>,
}

impl Client {
    /// Whether it may get another stream, which is counted.
    fn take_stream(&self) -> bool {
        let left = self.left.get();
        let usable = self.open.get() && left > 0 && self.end.is_none_or(|end| Instant::now() < end);
        if usable && left != u32::MAX {
            self.left.set(left - 1);
        }
        usable
    }
}

/// A stream on the connection at hand, when there is one that works.
pub async fn reuse(slot: &RefCell<Option<Client>>) -> Option<Upstream> {
    let client = slot.borrow().clone()?;
    if client.take_stream()
        && let Ok(send) = client.send.clone().ready().await
    {
        return Some(Upstream::H2(send, client.facts));
    }
    let mut slot = slot.borrow_mut();
    if slot.as_ref().is_some_and(|current| Rc::ptr_eq(&current.open, &client.open)) {
        *slot = None;
    }
    None
}

/// Lets go of a connection that was idle for too long; whether there still is one.
pub fn sweep(slot: &RefCell<Option<Client>>, idle: Duration) -> bool {
    let mut slot = slot.borrow_mut();
    let now = Instant::now();
    let old = |client: &Client| client.end.is_some_and(|end| now >= end);
    // Streams under way keep the connection open until they end.
    slot.take_if(|client| !client.open.get() || old(client) || client.idle_limit.is_some_and(|limit| idle >= limit));
    slot.is_some()
}

/// Begins HTTP/2 on a new connection.
pub async fn open(
    slot: &RefCell<Option<Client>>,
    connected: Connected,
    cluster: &Cluster,
    endpoint: &Endpoint,
    count: Counted,
) -> Result<Upstream, AcquireError> {
    let failed = |error| AcquireError::H2(endpoint.address.to_string(), error);
    let facts = facts(&connected);
    let (io, outlet) = gather(connected.io);
    let handshake = h2::client::Builder::new()
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .initial_max_send_streams(cluster.max_concurrent_streams.min(1024) as usize)
        .max_header_list_size(256 << 10)
        .enable_push(false)
        .handshake::<_, Bytes>(io);
    let (send, connection) = outlet.through(handshake).await.map_err(failed)?;
    let open = Rc::new(Cell::new(true));
    let alive = open.clone();
    tokio::task::spawn_local(async move {
        // Its end is what matters; streams are told of errors themselves.
        let _ = outlet.through(connection).await;
        alive.set(false);
        drop(count);
    });
    let client = Client {
        send: send.clone(),
        facts: facts.clone(),
        open,
        idle_limit: cluster.idle_timeout,
        end: cluster.max_connection_duration.map(|limit| Instant::now() + limit),
        left: Rc::new(Cell::new(match cluster.max_requests_per_connection {
            0 => u32::MAX,
            // The request that it is opened for is one of them.
            limit => limit - 1,
        })),
    };
    *slot.borrow_mut() = Some(client);
    let send = send.ready().await.map_err(failed)?;
    Ok(Upstream::H2(send, facts))
}
