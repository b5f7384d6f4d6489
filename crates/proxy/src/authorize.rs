//! What authorization is told about a connection, and its verdict about byte streams.

use std::net::IpAddr;
use std::sync::Arc;

use lateen_proxy_core::RequestHead;
use lateen_proxy_core::chain::TcpProxy;
use lateen_proxy_core::rbac::{self, Check, Denial, Outcome, Peer, Request, Verdict};

use crate::listener::Conn;

/// What is known about a connection, or a request on it.
pub fn request<'a>(conn: &'a Conn, head: Option<&'a dyn RequestHead>, remote: IpAddr) -> Request<'a> {
    let peer = conn.tls.as_ref().map(|tls| match &tls.peer {
        Some(names) => Peer { uris: &names.uris, dns: &names.dns, subject: &names.subject },
        None => Peer::default(),
    });
    Request {
        head,
        destination: conn.destination,
        direct: conn.remote.ip(),
        remote,
        server_name: conn.sni.as_deref().unwrap_or_default(),
        peer,
        claims: None,
    }
}

/// Decides; verdicts are counted under the prefix of `manager`, or that of the filter.
pub fn decide<'r>(
    conn: &Conn,
    checks: &'r [Check],
    request: &Request<'_>,
    manager: Option<&Arc<str>>,
) -> Result<(), Denial<'r>> {
    let worker = &conn.worker;
    rbac::decide(checks, request, |verdict| {
        worker.sink.authorized(worker.id, manager, verdict);
        tell(verdict);
    })
}

/// Whether the byte stream may pass.
pub fn stream<'r>(conn: &Conn, checks: &'r [Check]) -> Result<(), Denial<'r>> {
    if checks.is_empty() {
        return Ok(());
    }
    decide(conn, checks, &request(conn, None, conn.remote.ip()), None)
}

/// Whether rules that came since it was opened deny a byte stream.
pub fn revoked(conn: &Conn, proxy: &Arc<TcpProxy>) -> Option<(String, String)> {
    let current = conn.proxy().filter(|current| !Arc::ptr_eq(current, proxy))?;
    let request = request(conn, None, conn.remote.ip());
    let denial = rbac::decide(&current.checks, &request, |_| {}).err()?;
    Some((denial.details.to_owned(), denial.cause))
}

/// Writes down what rules say that are only tried, in Envoy's words.
fn tell(verdict: &Verdict<'_>) {
    if let Some(Outcome { allowed, policy, .. }) = verdict.tried {
        let said = if allowed { "allowed" } else { "denied" };
        let policy = policy.map_or("none", |name| name);
        tracing::debug!(target: "rbac", "shadow {said}, matched policy {policy}");
    }
}
