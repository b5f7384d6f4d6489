//! The pages of istiod: metrics, version, readiness, and what it knows (`/debug`).

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Instant, SystemTime};

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::get;
use lateen_api::type_url;
use serde_json::{Value, json};

use crate::ads::Clients;
use crate::auth::Authenticator;
use crate::ca::{Authority, Live};
use crate::config::Config;
use crate::listener::Peer;
use crate::metrics::{self, Metrics};
use crate::state::Published;

const TEXT: [(header::HeaderName, &str); 1] = [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];

/// Everything that the pages show.
pub struct Pages {
    /// Configuration of istiod.
    pub config: Config,
    /// Its metrics.
    pub metrics: Arc<Metrics>,
    /// The connected proxies.
    pub clients: Arc<Clients>,
    /// The CA.
    pub ca: Live,
    /// Says who asks, where that matters.
    pub authenticator: Arc<dyn Authenticator>,
    /// What is served to proxies.
    pub published: tokio::sync::watch::Receiver<Arc<Published>>,
    /// Whether proxies and the API server may be sent here.
    pub ready: Arc<AtomicBool>,
    /// When istiod started.
    pub started: Instant,
}

/// Pages of the health port.
pub fn health(pages: Arc<Pages>) -> Router {
    Router::new().route("/ready", get(ready)).with_state(pages.clone()).merge(debug(pages))
}

/// Pages of the monitoring port.
pub fn monitoring(pages: Arc<Pages>) -> Router {
    Router::new()
        .route("/metrics", get(metrics_page))
        .route("/version", get(version))
        .route("/ready", get(ready))
        .with_state(pages.clone())
        .merge(debug(pages))
}

async fn ready(State(pages): State<Arc<Pages>>) -> Response {
    if pages.ready.load(Ordering::Acquire) {
        (StatusCode::OK, "ready\n").into_response()
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "istiod has not read all configuration yet\n").into_response()
    }
}

async fn version(State(pages): State<Arc<Pages>>) -> String {
    pages.config.version.clone()
}

async fn metrics_page(State(pages): State<Arc<Pages>>) -> Response {
    let metrics = &pages.metrics;
    metrics.set(&metrics::ISTIOD_UPTIME_SECONDS, &[], pages.started.elapsed().as_secs_f64());
    set_expiry(metrics, &pages.ca.now().signer);
    let rejects = [
        (type_url::CLUSTER, &metrics::PILOT_XDS_CDS_REJECT),
        (type_url::ENDPOINT, &metrics::PILOT_XDS_EDS_REJECT),
        (type_url::LISTENER, &metrics::PILOT_XDS_LDS_REJECT),
        (type_url::ROUTE, &metrics::PILOT_XDS_RDS_REJECT),
    ];
    for (url, metric) in rejects {
        metrics.set(metric, &[], pages.clients.rejecting(url) as f64);
    }
    (TEXT, metrics.render()).into_response()
}

fn set_expiry(metrics: &metrics::Metrics, signer: &Authority) {
    let ends = [
        (
            signer.root_not_after(),
            &metrics::CITADEL_ROOT_CERT_EXPIRY_TIMESTAMP,
            &metrics::CITADEL_ROOT_CERT_EXPIRY_SECONDS,
        ),
        (
            signer.not_after(),
            &metrics::CITADEL_CERT_CHAIN_EXPIRY_TIMESTAMP,
            &metrics::CITADEL_CERT_CHAIN_EXPIRY_SECONDS,
        ),
    ];
    for (end, timestamp, seconds) in ends {
        let since = end.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        metrics.set(timestamp, &[], since.as_secs_f64());
        let left = end.duration_since(SystemTime::now()).unwrap_or_default();
        metrics.set(seconds, &[], left.as_secs_f64());
    }
}

fn debug(pages: Arc<Pages>) -> Router {
    Router::new()
        .route("/debug", get(list))
        .route("/debug/list", get(list))
        .route("/debug/syncz", get(syncz))
        .route("/debug/adsz", get(adsz))
        .route("/debug/connections", get(connections))
        .route("/debug/{page}", get(state_page))
        .route_layer(from_fn_with_state(pages.clone(), authorize))
        .with_state(pages)
}

/// From another machine, only those of istiod's own namespace may look: the pages tell all.
async fn authorize(State(pages): State<Arc<Pages>>, request: Request, next: Next) -> Response {
    let peer = request.extensions().get::<Peer>().copied();
    let local = peer.is_none_or(|peer| is_loopback(peer.address.ip()));
    if local || is_operator(&pages, request.headers()).await {
        return next.run(request).await;
    }
    let text = "debug pages need a token of a ServiceAccount in istiod's namespace; \
                or use kubectl port-forward\n";
    (StatusCode::UNAUTHORIZED, text).into_response()
}

fn is_loopback(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}

async fn is_operator(pages: &Pages, headers: &HeaderMap) -> bool {
    let token = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let Some(token) = token.and_then(|value| value.strip_prefix("Bearer ")) else { return false };
    let identity = pages.authenticator.authenticate(token).await;
    identity.is_ok_and(|identity| identity.namespace == pages.config.namespace)
}

async fn list() -> Json<Value> {
    let own = ["/debug/adsz", "/debug/connections", "/debug/syncz"];
    let state = crate::pages::PAGES.iter().map(|page| format!("/debug/{page}"));
    Json(own.into_iter().map(str::to_owned).chain(state).map(Value::from).collect())
}

async fn syncz(State(pages): State<Arc<Pages>>) -> Json<Value> {
    Json(pages.clients.syncz(&pages.config.pod_name))
}

async fn adsz(State(pages): State<Arc<Pages>>) -> Json<Value> {
    let version = pages.published.borrow().version;
    Json(pages.clients.adsz(version))
}

async fn connections(State(pages): State<Arc<Pages>>) -> Json<Value> {
    Json(pages.clients.connections())
}

async fn state_page(
    State(pages): State<Arc<Pages>>,
    axum::extract::Path(page): axum::extract::Path<String>,
) -> Response {
    let published = pages.published.borrow().clone();
    match crate::pages::page(&page, &published.snapshot) {
        Some(value) => Json(value).into_response(),
        None => {
            let error = json!({ "error": format!("no page /debug/{page}; see /debug/list") });
            (StatusCode::NOT_FOUND, Json(error)).into_response()
        }
    }
}
