//! One proxy's stream.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use futures::StreamExt as _;
use lateen_api::discovery::Node;
use lateen_api::type_url;
use lateen_mesh::SpiffeId;
use lateen_xds::server::{Event, Limits, Request, RequestStream, Response, Session};
use tokio::sync::{mpsc, watch};
use tonic::Status;

use super::catalog::{Proxy, ProxyCatalog};
use super::clients::{ClientGuard, ClientStatus};
use super::secrets::Permission;
use super::service::Shared;
use crate::metrics::{self, Metric};
use crate::state::Published;

/// Order in which types are sent, so that what is referred to comes first.
const ORDER: &[&str] = &[
    type_url::CLUSTER,
    type_url::ENDPOINT,
    type_url::LISTENER,
    type_url::ROUTE,
    type_url::SECRET,
    type_url::NAME_TABLE,
];

/// Who opens a stream.
pub(super) struct Caller<'a> {
    /// What it says about itself.
    pub(super) node: &'a Node,
    /// Who it is proven to be.
    pub(super) identity: Option<SpiffeId>,
    /// Where it calls from.
    pub(super) address: String,
    /// Whether it speaks the incremental protocol.
    pub(super) delta: bool,
}

/// One proxy's stream and what it was sent.
pub(super) struct Connection {
    shared: Arc<Shared>,
    published: watch::Receiver<Arc<Published>>,
    current: Arc<Published>,
    session: Session,
    proxy: Proxy,
    secrets: Permission,
    guard: ClientGuard,
    _gauge: Gauge,
    sender: mpsc::Sender<Result<Response, Status>>,
}

impl Connection {
    pub(super) fn open(
        shared: Arc<Shared>,
        from: Caller<'_>,
        sender: mpsc::Sender<Result<Response, Status>>,
    ) -> Result<Self, Status> {
        let Caller { node, identity, address, delta } = from;
        let mut published = shared.published.clone();
        let current = published.borrow_and_update().clone();
        let mut proxy = Proxy::new(node, identity.clone(), &current.snapshot, &shared.caches)?;
        let status = ClientStatus {
            connection: String::new(),
            proxy: proxy.name().to_owned(),
            proxy_type: proxy.kind().to_owned(),
            cluster_id: proxy.cluster_id().to_owned(),
            version: proxy.version().to_owned(),
            address,
            connected: SystemTime::now(),
            types: Default::default(),
        };
        tracing::info!(proxy = status.proxy, delta, "proxy connected");
        let gauge = Gauge::up(shared.clone(), status.version.clone());
        let guard = shared.clients.add(status);
        let mut session = Session::new(delta, ORDER, Limits::default());
        proxy.advance(current.version, &current, &shared.caches, &mut session);
        let secrets = Permission::new(shared.access.clone(), identity);
        Ok(Connection { shared, published, current, session, proxy, secrets, guard, _gauge: gauge, sender })
    }

    /// Serves until the client leaves.
    pub(super) async fn run(mut self, first: Request, mut requests: RequestStream) -> Result<(), Status> {
        self.request(first)?;
        loop {
            let review = self.review().await;
            self.respond().await?;
            tokio::select! {
                () = at(review), if review.is_some() => {}
                request = requests.next() => match request {
                    Some(request) => self.request(request?)?,
                    None => return Ok(()),
                },
                changed = self.published.changed() => {
                    changed.map_err(|_| Status::unavailable("istiod is shutting down"))?;
                    self.publish();
                }
            }
        }
    }

    /// Finds out whether a proxy that asks for credentials may have them, and answers when to do so again.
    async fn review(&mut self) -> Option<tokio::time::Instant> {
        if !self.session.types().any(|url| &**url == type_url::SECRET) {
            return None;
        }
        if self.secrets.review(self.proxy.name()).await {
            self.proxy.grant_secrets(self.secrets.is_granted());
            self.session.changed_all(type_url::SECRET);
        }
        self.secrets.due()
    }

    fn request(&mut self, request: Request) -> Result<(), Status> {
        let type_url = request.type_url.clone();
        let event = self.session.on_request(request);
        let event = event.map_err(|error| Status::resource_exhausted(error.to_string()))?;
        if let Event::Nacked { message, names, .. } = &event {
            let labels = [("type", short(&type_url))];
            self.shared.metrics.add(&metrics::PILOT_TOTAL_XDS_REJECTS, &labels);
            tracing::warn!(proxy = self.proxy.name(), type_url, message, ?names, "proxy refused configuration");
        }
        self.show();
        Ok(())
    }

    /// Takes a newer publication: notes what may have changed for this proxy.
    fn publish(&mut self) {
        let next = self.published.borrow_and_update().clone();
        let waited = next.at.elapsed();
        self.shared.metrics.observe(&metrics::PILOT_PROXY_QUEUE_TIME, &[], waited);
        self.proxy.advance(self.current.version, &next, &self.shared.caches, &mut self.session);
        self.current = next;
    }

    /// Sends everything that is due.
    async fn respond(&mut self) -> Result<(), Status> {
        let version = self.current.version.to_string();
        loop {
            let start = Instant::now();
            let mut catalog = ProxyCatalog::new(&mut self.proxy, &self.current);
            let Some(response) = self.session.next_response(&mut catalog, &version) else {
                return Ok(());
            };
            self.count(&response.type_url, start);
            self.follow_up(&response);
            self.show();
            let sent = self.sender.send(Ok(response)).await;
            sent.map_err(|_| Status::cancelled("the client left"))?;
        }
    }

    /// A stock Envoy that gets a cluster anew waits for its endpoints, but doesn't ask for them.
    fn follow_up(&mut self, response: &Response) {
        if &*response.type_url == type_url::CLUSTER && !self.proxy.is_lateen() {
            for entry in &response.resources {
                self.session.resend(type_url::ENDPOINT, &entry.name);
            }
        }
    }

    fn count(&self, type_url: &str, start: Instant) {
        let metrics = &self.shared.metrics;
        let labels = [("type", short(type_url))];
        metrics.add(&metrics::PILOT_XDS_PUSHES, &labels);
        metrics.observe(&metrics::PILOT_XDS_PUSH_TIME, &labels, start.elapsed());
        metrics.observe(&metrics::PILOT_PROXY_CONVERGENCE_TIME, &[], self.current.since.elapsed());
    }

    fn show(&self) {
        let of = |url: &Arc<str>| Some((url.clone(), self.session.status(url)?));
        self.guard.update(self.session.types().filter_map(of).collect());
    }
}

/// Waits for a moment, or for ever.
async fn at(moment: Option<tokio::time::Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

/// Istio's abbreviation of a type.
fn short(type_url: &str) -> &'static str {
    match type_url {
        type_url::CLUSTER => "cds",
        type_url::ENDPOINT => "eds",
        type_url::LISTENER => "lds",
        type_url::ROUTE => "rds",
        type_url::SECRET => "sds",
        type_url::NAME_TABLE => "nds",
        _ => "other",
    }
}

/// Counts this connection in `pilot_xds` while it lives.
struct Gauge {
    shared: Arc<Shared>,
    version: String,
}

const CONNECTED: &Metric = &metrics::PILOT_XDS;

impl Gauge {
    fn up(shared: Arc<Shared>, version: String) -> Self {
        shared.metrics.shift(CONNECTED, &[("version", &version)], 1.0);
        Gauge { shared, version }
    }
}

impl Drop for Gauge {
    fn drop(&mut self) {
        self.shared.metrics.shift(CONNECTED, &[("version", &self.version)], -1.0);
    }
}
