//! May the request pass? The answer to those that may not.

use lateen_proxy_core::RequestHead;
use lateen_proxy_core::rbac::{Denial, client_address};
use lateen_proxy_core::route::Action;

use super::body::Body;
use super::exchange::Exchange;
use super::local::{self, Local};
use super::reply::Reply;
use crate::authorize::{decide, request};

/// What clients are told.
const DENIED: &str = "RBAC: access denied";
/// Tells clients in the mesh which policy denied.
const CAUSE: &str = "x-lateen-cause";

/// Whether the rules let the request pass; one that they don't is answered here.
pub async fn passes(x: &mut Exchange<'_>, body: &Body<'_>, reply: &mut Reply<'_>) -> bool {
    let Err(denial) = verdict(x) else { return true };
    name_destination(x);
    x.details = denial.details;
    denial.flag.into_iter().for_each(|flag| x.flags.set(flag));
    let mut response = Local::text(denial.status, DENIED);
    if x.conn.is_mtls() {
        // Names come from the control plane; a line break in one would end the header.
        response.headers.push((CAUSE, denial.cause.replace(char::is_control, " ").into_bytes()));
    }
    x.cause = denial.cause;
    local::send(x, body, reply, response).await;
    false
}

fn verdict<'t>(x: &Exchange<'t>) -> Result<(), Denial<'t>> {
    let hcm = x.hcm;
    let checks = &hcm.filters.checks;
    if checks.is_empty() {
        return Ok(());
    }
    let head: &dyn RequestHead = x.head;
    let remote = client_address(hcm, head, x.conn.remote.ip());
    decide(x.conn, checks, &request(x.conn, Some(head), remote), Some(&hcm.stat_prefix))
}

/// Where the request would have gone, for the log and the metrics.
fn name_destination(x: &mut Exchange<'_>) {
    let Some(Action::Forward(target)) = x.route.map(|route| &route.action) else { return };
    let tables = x.tables;
    let chosen = target.target.choose(x.head, x.conn.worker.random(), |name| tables.cluster_id(name));
    x.cluster_name = chosen.cluster.map_or("", |id| tables.cluster_name(id));
    x.cluster = chosen.cluster.and_then(|id| tables.cluster(id));
}
