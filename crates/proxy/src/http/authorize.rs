//! May the request pass? The answer to those that may not.

use std::cell::OnceCell;
use std::time::{SystemTime, UNIX_EPOCH};

use lateen_proxy_core::external::{Answer, Changes, Denied, External};
use lateen_proxy_core::jwt::{JwtAuthn, Status};
use lateen_proxy_core::rbac::{Check, Course, Denial, client_address, unanswered, unreadable};
use lateen_proxy_core::route::Action;
use lateen_proxy_core::{Flag, RequestHead};

use super::amended::Amended;
use super::body::Body;
use super::exchange::Exchange;
use super::external;
use super::head::{Length, Request};
use super::local::{self, Local};
use super::phases::{Incoming, proceed};
use super::reply::Reply;
use crate::authorize::{Tellers, request};
use crate::record::Tokens;
use crate::signatures::Checked;

/// What clients are told.
const DENIED: &str = "RBAC: access denied";
/// Tells clients in the mesh which policy denied.
const CAUSE: &str = "x-lateen-cause";
/// Tells servers that an external authorizer would have been asked.
const FAILED_OPEN: &str = "x-envoy-auth-failure-mode-allowed";
/// Longest address that is repeated to clients.
const MAX_URI: usize = 256;

/// What checks leave for the rest of the way; lives as long as the request.
#[derive(Default)]
pub struct Notes<'h> {
    head: OnceCell<Amended<'h>>,
    details: OnceCell<String>,
}

/// What the checks say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Passage {
    /// The request doesn't pass, and is answered.
    Closed,
    /// It passes.
    Open,
    /// It passes, and may have another route than before.
    Rerouted,
}

/// Why a request doesn't pass.
enum Refusal<'t> {
    Denied(Denial<'t>),
    Token {
        status: Status,
        strip: bool,
    },
    /// An external authorizer says so.
    External(Denied),
    /// An external authorizer must see more of the body than it may.
    TooLong,
    /// The client broke off.
    Gone,
}

/// Whether the checks let the request pass; one that they don't is answered here. What they change in it shows in its
/// head from then on.
pub async fn passes<'t>(
    x: &mut Exchange<'t>,
    incoming: &Incoming<'t>,
    notes: &'t Notes<'t>,
    body: &mut Body<'_>,
    reply: &mut Reply<'_>,
) -> Passage {
    if x.hcm.filters.checks.is_empty() {
        return Passage::Open;
    }
    let size = match incoming.length {
        Length::Known(length) => Some(length),
        Length::None => Some(0),
        Length::Unknown => None,
    };
    let mut way = Way { x, head: incoming.head, size, amended: None, reroute: false };
    let refused = way.walk(body, reply).await.err();
    let Way { amended, reroute, .. } = way;
    if let Some(amended) = amended {
        x.head = notes.head.get_or_init(|| amended);
    }
    match refused {
        None if reroute => Passage::Rerouted,
        None => Passage::Open,
        Some(Refusal::Gone) => {
            x.fail(Flag::DownstreamConnectionTermination, "downstream_remote_disconnect");
            x.record(None);
            Passage::Closed
        }
        Some(refusal) => {
            name_destination(x);
            let response = answer(x, refusal, notes);
            local::send(x, body, reply, response).await;
            Passage::Closed
        }
    }
}

/// The way of a request through the checks.
struct Way<'w, 't> {
    x: &'w mut Exchange<'t>,
    head: &'t dyn Request,
    /// Length of its body, when known.
    size: Option<u64>,
    amended: Option<Amended<'t>>,
    reroute: bool,
}

impl<'t> Way<'_, 't> {
    async fn walk(&mut self, body: &mut Body<'_>, reply: &mut Reply<'_>) -> Result<(), Refusal<'t>> {
        let hcm = self.x.hcm;
        let mut course = Course::default();
        for check in &hcm.filters.checks {
            match check {
                Check::Rules(rbac) => {
                    let head = self.head();
                    let remote = client_address(hcm, head, self.x.conn.remote.ip());
                    let request = request(self.x.conn, Some(head), remote);
                    let mut tell = self.x.conn.teller(Some(&hcm.stat_prefix));
                    course.rules(rbac, &request, &mut tell).map_err(Refusal::Denied)?;
                }
                Check::Tokens(tokens) => self.authenticate(tokens)?,
                Check::External(external) if course.asks(external) => {
                    Box::pin(self.ask(external, body, reply)).await?;
                }
                Check::External(_) => {}
                Check::Unreadable(why) => return Err(Refusal::Denied(unreadable(why))),
            }
        }
        Ok(())
    }

    /// Asks an external authorizer, and makes the changes that it wants.
    async fn ask(
        &mut self,
        external: &External,
        body: &mut Body<'_>,
        reply: &mut Reply<'_>,
    ) -> Result<(), Refusal<'t>> {
        let limit = external.body.filter(|_| !body.is_over());
        let mut shown = None;
        if let Some(limit) = limit {
            proceed(self.x, reply).await.map_err(|_| Refusal::Gone)?;
            let read = external::shown(body, limit.max).await.map_err(|_| Refusal::Gone)?;
            if read.partial && !limit.partial {
                return Err(Refusal::TooLong);
            }
            shown = Some(read);
        }
        let head: &dyn Request = match &self.amended {
            Some(amended) => amended,
            None => self.head,
        };
        match external::ask(self.x, external, head, self.size, shown.as_ref()).await {
            Answer::Allowed(changes) => {
                self.reroute |= external.clear_route;
                self.allowed(*changes);
                Ok(())
            }
            Answer::Denied(denied) => Err(Refusal::External(denied)),
            Answer::Failed(why) if external.fail_open => {
                tracing::warn!(target: "ext_authz", "a request passes unasked: {why}");
                if external.tell_fail_open {
                    self.amended().set(FAILED_OPEN, b"true".to_vec());
                }
                Ok(())
            }
            Answer::Failed(why) => Err(Refusal::Denied(unanswered(external.status, &why))),
        }
    }

    fn allowed(&mut self, changes: Changes) {
        let Changes { removed, set, added, response } = changes;
        self.x.response_headers.extend(response);
        if removed.is_empty() && set.is_empty() && added.is_empty() {
            return;
        }
        let amended = self.amended();
        removed.iter().for_each(|name| amended.remove(name));
        set.into_iter().for_each(|(name, value)| amended.set(&name, value));
        added.into_iter().for_each(|(name, value)| amended.add(&name, value));
    }

    fn amended(&mut self) -> &mut Amended<'t> {
        self.amended.get_or_insert_with(|| Amended::new(self.head))
    }

    fn head(&self) -> &dyn RequestHead {
        match &self.amended {
            Some(amended) => amended,
            None => self.head,
        }
    }

    fn authenticate(&mut self, tokens: &JwtAuthn) -> Result<(), Refusal<'t>> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let passed = tokens.authenticate(self.head(), now, &Checked);
        let outcome = match &passed {
            Ok(_) if tokens.bypasses(self.head()) => Tokens::Bypassed,
            Ok(_) => Tokens::Allowed,
            Err(_) => Tokens::Denied,
        };
        let worker = &self.x.conn.worker;
        worker.sink.authenticated(worker.id, &self.x.hcm.stat_prefix, outcome);
        let passed = passed.map_err(|status| Refusal::Token { status, strip: tokens.strip_failure })?;
        self.reroute |= passed.clear_route;
        if passed != Default::default() {
            self.amended().authenticated(passed);
        }
        Ok(())
    }
}

fn answer<'t>(x: &mut Exchange<'t>, refusal: Refusal<'t>, notes: &'t Notes<'t>) -> Local {
    match refusal {
        Refusal::Denied(denial) => {
            x.details = denial.details;
            denial.flag.into_iter().for_each(|flag| x.flags.set(flag));
            let failed = denial.flag.is_some();
            let mut response = if failed { Local::empty(denial.status) } else { Local::text(denial.status, DENIED) };
            if x.conn.is_mtls() {
                // Names come from the control plane; a line break in one would end the header.
                response.headers.push((CAUSE.into(), denial.cause.replace(char::is_control, " ").into_bytes()));
            }
            x.cause = denial.cause;
            response
        }
        Refusal::External(denied) => {
            x.fail(Flag::UnauthorizedExternalService, "ext_authz_denied");
            x.cause = "an external authorizer denied it".to_owned();
            let text = !denied.headers.iter().any(|(name, _)| name == "content-type") && !denied.body.is_empty();
            let mut response = Local { status: denied.status, body: denied.body, ..Local::default() };
            if text {
                response.headers.push(("content-type".into(), b"text/plain".to_vec()));
            }
            response.headers.extend(denied.headers.into_iter().map(|(name, value)| (name.into(), value)));
            response
        }
        Refusal::TooLong | Refusal::Gone => {
            x.details = "request_payload_too_large";
            x.cause = "the body is longer than what an external authorizer may see of it".to_owned();
            Local::text(413, "Payload Too Large")
        }
        Refusal::Token { status, strip } => {
            x.details = notes.details.get_or_init(|| status.details());
            x.cause = format!("the request's token is refused: {status}");
            if strip {
                return Local::empty(status.http());
            }
            let mut response = Local::text(status.http(), status.to_string());
            response.headers.push(("www-authenticate".into(), status.challenge(&uri(x.head)).into_bytes()));
            response
        }
    }
}

/// What was asked for, as clients are told.
fn uri(head: &dyn Request) -> String {
    let told = head.header("x-forwarded-proto").filter(|scheme| matches!(&**scheme, b"http" | b"https"));
    let scheme = told.map_or(head.scheme().into(), |told| String::from_utf8_lossy(&told).into_owned());
    let path: String = head.path().chars().take(MAX_URI).collect();
    format!("{scheme}://{}{path}", head.authority())
}

/// Where the request would have gone, for the log and the metrics.
fn name_destination(x: &mut Exchange<'_>) {
    let Some(Action::Forward(target)) = x.route.map(|route| &route.action) else { return };
    let tables = x.tables;
    let chosen = target.target.choose(x.head, x.conn.worker.random(), |name| tables.cluster_id(name));
    x.cluster_name = chosen.cluster.map_or("", |id| tables.cluster_name(id));
    x.cluster = chosen.cluster.and_then(|id| tables.cluster(id));
}
