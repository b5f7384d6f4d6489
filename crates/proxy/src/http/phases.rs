//! The way of one request, from its head to its record. Every request takes it, whatever version brought it:
//! receive, route, authorize, cross-origin rules, faults, rewrite, forward, respond, record.

use lateen_proxy_core::Flag;
use lateen_proxy_core::fault::{Abort, CorsVerdict};
use lateen_proxy_core::http::Hcm;
use lateen_proxy_core::route::{Action, Forward, Redirect};
use lateen_proxy_core::virtual_host::RouteResult;

use super::authorize::{Notes, Passage};
use super::body::Body;
use super::edits::Edits;
use super::exchange::Exchange;
use super::forward::{self, Plan};
use super::head::{Length, Request};
use super::local::{self, Local};
use super::reply::Reply;
use super::target::Refusal;
use super::timer::Timer;
use super::{authorize, cors, decorate, mirror};
use crate::listener::Conn;
use crate::record::Protocol;

/// A request as a codec hands it over.
pub struct Incoming<'a> {
    /// Its head.
    pub head: &'a dyn Request,
    /// Its protocol.
    pub protocol: Protocol,
    /// Length of its body.
    pub length: Length,
    /// Bytes of its head.
    pub head_bytes: u64,
    /// The protocol that the client wants to change to.
    pub upgrade: Option<&'a str>,
    /// The client waits for `100 Continue` before it sends the body.
    pub expects_continue: bool,
    /// It is refused whatever the routes say.
    pub refuse: Option<Refusal>,
}

/// Serves one request.
pub async fn serve(
    conn: &Conn,
    hcm: &Hcm,
    incoming: Incoming<'_>,
    body: &mut Body<'_>,
    reply: &mut Reply<'_>,
    timer: &mut Timer,
) {
    let tables = conn.worker.view.tables();
    let notes = Notes::default();
    let mut x = Exchange::new(conn, hcm, &tables, incoming.head, incoming.protocol);
    x.head_bytes = incoming.head_bytes;
    x.expects_continue = incoming.expects_continue;
    match &incoming.refuse {
        Some(Refusal::Status(status, reason)) => {
            let (flag, cause) = (Flag::DownstreamProtocolError, (*reason).to_owned());
            return local::refuse(&mut x, body, reply, *status, flag, "http1.codec_error", cause).await;
        }
        Some(Refusal::Redirect(to)) => {
            x.details = "path_normalization_failed";
            return local::send(&mut x, body, reply, Local::redirect(307, to.clone())).await;
        }
        None => {}
    }
    if let Some(reason) = &hcm.filters.refuse {
        let cause = format!("request refused: {reason}");
        return local::refuse(&mut x, body, reply, 500, Flag::NoFilterConfigFound, "filter_not_supported", cause).await;
    }
    let mut edits = Edits::default();
    decorate::request_id(&mut x, &mut edits);
    decorate::connection(&mut x, &mut edits);
    let tell = decorate::downstream_peer(&mut x, &mut edits);
    let mut routed = route(&mut x);
    match authorize::passes(&mut x, &incoming, &notes, body, reply).await {
        Passage::Closed => return,
        Passage::Open => {}
        Passage::Rerouted => routed = route(&mut x),
    }
    if x.host.is_some_and(|host| host.require_tls) && !decorate::came_by_https(&x) {
        x.details = "direct_response";
        let to = format!("https://{}{}", x.head.authority(), x.head.path());
        return local::send(&mut x, body, reply, Local::redirect(301, to)).await;
    }
    if let Err((status, cause)) = routed {
        return local::refuse(&mut x, body, reply, status, Flag::NoRouteFound, "route_not_found", cause).await;
    }
    if cross_origin(&mut x, body, reply).await {
        return;
    }
    if faults(&mut x, body, reply).await {
        return;
    }
    match x.route.map(|route| &route.action) {
        Some(Action::Forward(target)) => {
            proxy(&mut x, target, &incoming, tell, edits, body, reply, timer).await;
        }
        Some(Action::Redirect(redirect)) => self::redirect(&mut x, redirect, body, reply).await,
        Some(Action::Respond { status, body: text }) => {
            x.details = "direct_response";
            let response = respond(*status, text);
            local::send(&mut x, body, reply, response).await;
        }
        Some(Action::Refuse) | None => {
            let cause = "this route is not for forwarding requests".to_owned();
            local::refuse(&mut x, body, reply, 404, Flag::NoRouteFound, "non_forwarding_action", cause).await;
        }
    }
}

/// Finds the route.
fn route(x: &mut Exchange<'_>) -> Result<(), (u16, String)> {
    let tables = x.tables;
    let Some(table) = x.hcm.route_table(tables) else {
        let name = x.hcm.route_table_name(tables);
        return Err((404, format!("route table {name} has not arrived from the control plane yet")));
    };
    (x.table, x.host, x.route) = (Some(table), None, None);
    let random = x.conn.worker.random();
    match table.route(x.head, random) {
        RouteResult::Found { host, route } => {
            (x.host, x.route) = (Some(host), Some(route));
            Ok(())
        }
        RouteResult::NoHost => {
            Err((404, format!("no virtual host of route table {} has the name {}", table.name, x.head.authority())))
        }
        RouteResult::NoRoute { host } => {
            x.host = Some(host);
            Err((404, format!("no route of virtual host {} matches {} {}", host.name, x.head.method(), x.head.path())))
        }
    }
}

/// Applies cross-origin rules; true when they answered the request.
async fn cross_origin(x: &mut Exchange<'_>, body: &Body<'_>, reply: &mut Reply<'_>) -> bool {
    let Some(rules) = x.route.and_then(|route| route.cors.as_deref()).filter(|_| x.hcm.filters.cors) else {
        return false;
    };
    let origin = x.head.header("origin").map(|origin| origin.into_owned()).unwrap_or_default();
    match rules.decide(x.head) {
        CorsVerdict::Pass => false,
        CorsVerdict::Allow => {
            x.cors = cors::response(rules, &origin);
            false
        }
        verdict => {
            x.details = "cors_preflight";
            let mut response = Local::empty(200);
            if verdict == CorsVerdict::AnswerPreflight {
                let headers = cors::preflight(rules, &origin);
                response.headers.extend(headers.into_iter().map(|(name, value)| (name.into(), value)));
            }
            local::send(x, body, reply, response).await;
            true
        }
    }
}

/// Injects faults; true when one answered the request.
async fn faults(x: &mut Exchange<'_>, body: &Body<'_>, reply: &mut Reply<'_>) -> bool {
    let Some(own) = &x.hcm.filters.fault else { return false };
    let Some(fault) = x.route.and_then(|route| route.fault.as_deref()).or(own.as_deref()) else { return false };
    let worker = &x.conn.worker;
    let injection = fault.decide(x.head, (worker.random(), worker.random()));
    if let Some(delay) = injection.delay {
        x.flags.set(Flag::DelayInjected);
        tokio::time::sleep(delay).await;
    }
    let Some(abort) = injection.abort else { return false };
    x.fail(Flag::FaultInjected, "fault_filter_abort");
    x.cause = "fault filter abort".to_owned();
    let response = match abort {
        Abort::Http(status) => Local::text(status, "fault filter abort"),
        Abort::Grpc(status) => {
            x.grpc = true;
            Local { grpc: Some(status), ..Local::text(200, "fault filter abort") }
        }
    };
    local::send(x, body, reply, response).await;
    true
}

async fn redirect(x: &mut Exchange<'_>, redirect: &Redirect, body: &Body<'_>, reply: &mut Reply<'_>) {
    let Some(route) = x.route else { return };
    x.details = "direct_response";
    let location = redirect.location(&route.matcher, x.head);
    local::send(x, body, reply, Local::redirect(redirect.status, location)).await;
}

fn respond(status: u16, text: &[u8]) -> Local {
    if text.is_empty() {
        return Local::empty(status);
    }
    Local::text(status, String::from_utf8_lossy(text).into_owned())
}

/// Sends the request on.
#[allow(clippy::too_many_arguments)]
async fn proxy<'t>(
    x: &mut Exchange<'t>,
    target: &'t Forward,
    incoming: &Incoming<'t>,
    tell: bool,
    mut edits: Edits<'t>,
    body: &mut Body<'_>,
    reply: &mut Reply<'_>,
    timer: &mut Timer,
) {
    let tables = x.tables;
    let chosen = target.target.choose(x.head, x.conn.worker.random(), |name| tables.cluster_id(name));
    x.cluster_name = chosen.cluster.map_or("", |id| tables.cluster_name(id));
    let Some(cluster) = chosen.cluster.and_then(|id| tables.cluster(id)) else {
        let cause = format!("cluster {} of the route doesn't exist: does its Service or subset?", x.cluster_name);
        let status = target.cluster_not_found;
        return local::refuse(x, body, reply, status, Flag::NoClusterFound, "cluster_not_found", cause).await;
    };
    x.cluster = Some(cluster);
    let upgrade = incoming.upgrade.filter(|protocol| allows_upgrade(x.hcm, target, protocol));
    if incoming.upgrade.is_some() && upgrade.is_none() {
        let cause = "this protocol upgrade is not allowed here".to_owned();
        return local::refuse(x, body, reply, 403, Flag::DownstreamProtocolError, "upgrade_failed", cause).await;
    }
    if !x.hcm.proxy_100_continue && proceed(x, reply).await.is_err() {
        x.fail(Flag::DownstreamConnectionTermination, "downstream_remote_disconnect");
        return x.record(None);
    }
    decorate::routed(x, target, chosen, &mut edits);
    decorate::upstream_peer(x, &mut edits);
    if !target.mirrors.is_empty() && upgrade.is_none() {
        mirror::start(x, target, &edits, incoming.length, body);
    }
    let plan = Plan { forward: target, cluster, chosen, length: incoming.length, upgrade, tell };
    forward::forward(x, &plan, edits, body, reply, timer).await;
}

/// Has the client send the body, if it waits to be asked.
pub async fn proceed(x: &mut Exchange<'_>, reply: &mut Reply<'_>) -> std::io::Result<()> {
    if std::mem::take(&mut x.expects_continue) { reply.proceed().await } else { Ok(()) }
}

fn allows_upgrade(hcm: &Hcm, target: &Forward, protocol: &str) -> bool {
    let own = target.upgrades.iter().find(|(known, _)| known.eq_ignore_ascii_case(protocol));
    own.map_or_else(|| hcm.allows_upgrade(protocol), |(_, enabled)| *enabled)
}
