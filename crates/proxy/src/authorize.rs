//! What authorization is told about a connection, and its verdict about byte streams.

use std::net::IpAddr;
use std::sync::Arc;

use lateen_proxy_core::chain::TcpProxy;
use lateen_proxy_core::external::{Answer, External};
use lateen_proxy_core::rbac::{self, Check, Course, Denial, Outcome, Peer, Request, Unasked, Verdict};
use lateen_proxy_core::{Flag, RequestHead};

use crate::http::external::ask_about_stream;
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
    }
}

/// Connections whose verdicts are told.
pub trait Tellers {
    /// Tells verdicts to statistics and the log, under the prefix of `manager`, or that of the filter.
    fn teller<'r>(&self, manager: Option<&Arc<str>>) -> impl FnMut(&Verdict<'r>);
}

impl Tellers for Conn {
    fn teller<'r>(&self, manager: Option<&Arc<str>>) -> impl FnMut(&Verdict<'r>) {
        move |verdict| {
            self.worker.sink.authorized(self.worker.id, manager, verdict);
            tell(verdict);
        }
    }
}

/// Whether the byte stream may pass.
pub async fn stream<'r>(conn: &Conn, checks: &'r [Check]) -> Result<(), Denial<'r>> {
    let mut course = Course::default();
    for check in checks {
        match check {
            Check::Rules(rbac) => {
                course.rules(rbac, &request(conn, None, conn.remote.ip()), &mut conn.teller(None))?;
            }
            Check::External(external) if course.asks(external) => ask(conn, external).await?,
            Check::External(_) | Check::Tokens(_) => {}
            Check::Unreadable(why) => return Err(rbac::unreadable(why)),
        }
    }
    Ok(())
}

async fn ask(conn: &Conn, external: &External) -> Result<(), Denial<'static>> {
    let tables = conn.worker.view.tables();
    match Box::pin(ask_about_stream(conn, &tables, external)).await {
        Answer::Allowed(_) => Ok(()),
        Answer::Denied(_) => Err(Denial {
            status: 403,
            flag: Some(Flag::UnauthorizedExternalService),
            details: "ext_authz_denied",
            cause: "an external authorizer denied it".to_owned(),
        }),
        Answer::Failed(why) if external.fail_open => {
            tracing::warn!(target: "ext_authz", "a connection passes unasked: {why}");
            Ok(())
        }
        Answer::Failed(why) => Err(rbac::unanswered(403, &why)),
    }
}

/// Whether rules that came since it was opened deny a byte stream. External authorizers are asked only once.
pub fn revoked(conn: &Conn, proxy: &Arc<TcpProxy>) -> Option<(String, String)> {
    let current = conn.proxy().filter(|current| !Arc::ptr_eq(current, proxy))?;
    let request = request(conn, None, conn.remote.ip());
    let denial = rbac::decide(&current.checks, &request, Unasked::Passed, |_| {}).err()?;
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
