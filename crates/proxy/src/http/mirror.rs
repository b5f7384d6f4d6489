//! Copies of requests, for mirrors. Whatever becomes of a copy, the request that it was made of never notices: it is
//! sent by a task of its own, nobody waits for its answer, and a worker has only so many under way.

use std::rc::Rc;
use std::sync::Arc;

use lateen_proxy_core::http::Hcm;
use lateen_proxy_core::route::{Chosen, Forward, Mirror, Target, split_port};

use super::body::Body;
use super::edits::Edits;
use super::exchange::Exchange;
use super::forward::{self, Plan};
use super::head::{Length, Written};
use super::reply::Reply;
use super::tee::Tap;
use super::timer::Timer;
use crate::listener::Conn;
use crate::record::Protocol;
use crate::state::Current;

/// Copies that one worker may have under way.
const MAX_UNDER_WAY: usize = 1000;

/// Starts the copies that a route asks for. `edits` are those of the request, `length` is that of its body.
pub fn start(x: &Exchange<'_>, forward: &Forward, edits: &Edits<'_>, length: Length, body: &mut Body<'_>) {
    let worker = &x.conn.worker;
    for mirror in &forward.mirrors {
        if !mirror.fraction.hits(worker.random()) {
            continue;
        }
        let Some(hcm) = x.conn.manager() else { return };
        if Rc::strong_count(&worker.copies) > MAX_UNDER_WAY {
            tracing::debug!(cluster = x.cluster_name, "too many mirrored requests under way: one is left out");
            return;
        }
        let tap = (!body.is_over()).then(|| body.tap());
        let copy = Copy {
            conn: x.conn.aside(),
            hcm,
            tables: worker.view.tables(),
            forward: mirror.forward.clone(),
            head: head_of(x, mirror, edits),
            protocol: x.protocol,
            length,
            tap,
            under_way: worker.copies.clone(),
        };
        tokio::task::spawn_local(copy.send());
    }
}

/// A copy on its way.
struct Copy {
    conn: Conn,
    hcm: Arc<Hcm>,
    tables: Current,
    forward: Arc<Forward>,
    head: Written,
    protocol: Protocol,
    length: Length,
    /// Its body; `None` when there is none.
    tap: Option<Tap>,
    /// Counts it.
    under_way: Rc<()>,
}

impl Copy {
    async fn send(self) {
        let Copy { conn, hcm, tables, forward, head, protocol, length, tap, under_way } = self;
        let Target::Single(id) = forward.target else { return };
        let Some(cluster) = tables.cluster(id) else {
            tracing::debug!(cluster = tables.cluster_name(id), "a mirror's cluster doesn't exist");
            return;
        };
        let mut x = Exchange::new(&conn, &hcm, &tables, &head, protocol);
        x.recorded = false;
        x.cluster_name = tables.cluster_name(id);
        x.cluster = Some(cluster);
        let chosen = Chosen { cluster: Some(id), weighted: None };
        let plan = Plan { forward: &forward, cluster, chosen, length, upgrade: None, tell: false };
        let mut body = tap.map_or_else(Body::empty, Body::of_tap);
        forward::forward(&mut x, &plan, Edits::default(), &mut body, &mut Reply::Nobody, &mut Timer::default()).await;
        if !x.cause.is_empty() {
            tracing::debug!(cluster = x.cluster_name, status = x.status, cause = x.cause, "a mirrored request failed");
        }
        drop(under_way);
    }
}

/// The head of a request as it was sent on.
fn head_of(x: &Exchange<'_>, mirror: &Mirror, edits: &Edits<'_>) -> Written {
    let mut headers = Vec::new();
    edits.each(x.head, &mut |name, value| headers.push((name.into(), value.into())));
    let authority = edits.authority.as_deref().unwrap_or(x.head.authority());
    Written {
        method: edits.method.as_deref().unwrap_or(x.head.method()).into(),
        path: edits.path.as_deref().unwrap_or(x.head.path()).into(),
        authority: if mirror.keep_host { authority.into() } else { shadow(authority) },
        scheme: x.conn.scheme(),
        headers,
    }
}

/// The name under which Envoy sends copies unless told otherwise: `host-shadow:port`.
fn shadow(authority: &str) -> Box<str> {
    match split_port(authority) {
        (host, Some(port)) => format!("{host}-shadow:{port}").into(),
        (host, None) => format!("{host}-shadow").into(),
    }
}
