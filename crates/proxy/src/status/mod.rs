//! What others ask the proxy on behalf of the pod: readiness (15021), the application's probes and merged metrics
//! (15020), the proxy's own metrics (15090).

mod app_metrics;
mod probe;

use std::future::Future;
use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use tokio::sync::Notify;

pub use app_metrics::scrape;
pub use probe::{ProbeError, Prober as AppProber};

use crate::config::{AppMetrics, Probers};
use crate::local_http::{self, Handler, Reached, Reply, text, typed};
use crate::readiness::Readiness;

/// Where the proxy's own metrics come from.
pub trait Metrics: Send + Sync + 'static {
    /// All of them, in Prometheus' text form.
    fn prometheus(&self) -> impl Future<Output = String> + Send;
}

/// What other parts of the process are asked to do.
#[derive(Default)]
pub struct Requests {
    /// End the process once open connections are finished.
    pub terminate: Notify,
    /// End the process at once.
    pub exit: Notify,
    /// Stop taking connections, let the open ones end.
    pub drain: Notify,
}

/// The Prometheus text format.
const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The server on port 15021.
pub struct ReadyServer(pub Arc<Readiness>);

impl Handler for ReadyServer {
    async fn handle(&self, request: Request<Bytes>, _reached: Reached) -> Reply {
        match request.uri().path() {
            "/healthz/ready" => ready(&self.0),
            path => local_http::not_found(path, "/healthz/ready"),
        }
    }
}

/// The server on port 15090.
pub struct MetricsServer<M>(pub Arc<M>);

impl<M: Metrics> Handler for MetricsServer<M> {
    async fn handle(&self, request: Request<Bytes>, _reached: Reached) -> Reply {
        match request.uri().path() {
            "/stats/prometheus" | "/metrics" => typed(StatusCode::OK, PROMETHEUS, self.0.prometheus().await),
            path => local_http::not_found(path, "/stats/prometheus"),
        }
    }
}

/// The server on port 15020.
pub struct StatusServer<M> {
    /// Readiness.
    pub readiness: Arc<Readiness>,
    /// The proxy's own metrics.
    pub metrics: Arc<M>,
    /// The application's probes.
    pub probers: Probers,
    /// The application's metrics.
    pub app_metrics: Option<AppMetrics>,
    /// Where the application is.
    pub app: IpAddr,
    /// Mark of the proxy's sockets.
    pub mark: Option<u32>,
    /// What others are asked to do.
    pub requests: Arc<Requests>,
    /// Asks the application.
    pub prober: AppProber,
}

const PATHS: &str =
    "/healthz/ready, /stats/prometheus, /app-health/<container>/{livez,readyz,startupz}, /drain, /quitquitquit";

impl<M: Metrics> Handler for StatusServer<M> {
    async fn handle(&self, request: Request<Bytes>, reached: Reached) -> Reply {
        let path = request.uri().path();
        match path {
            "/healthz/ready" => ready(&self.readiness),
            "/stats/prometheus" | "/metrics" => self.merged_metrics(&request).await,
            "/quitquitquit" => self.local_action(&request, reached, &self.requests.terminate),
            "/drain" => self.local_action(&request, reached, &self.requests.drain),
            _ if path.starts_with("/app-health/") || path.starts_with("/app-lifecycle/") => self.probe(&request).await,
            _ => local_http::not_found(path, PATHS),
        }
    }
}

impl<M: Metrics> StatusServer<M> {
    async fn merged_metrics(&self, request: &Request<Bytes>) -> Reply {
        let own = self.metrics.prometheus().await;
        let Some(app) = &self.app_metrics else { return typed(StatusCode::OK, PROMETHEUS, own) };
        match scrape(self.app, self.mark, app, request.headers()).await {
            Ok(scraped) => typed(StatusCode::OK, &scraped.content_type, scraped.after(own)),
            Err(error) => {
                tracing::warn!(%error, "cannot get the application's metrics");
                typed(StatusCode::OK, PROMETHEUS, own)
            }
        }
    }

    /// Something that only the pod itself may ask for.
    fn local_action(&self, request: &Request<Bytes>, reached: Reached, action: &Notify) -> Reply {
        if !reached.peer.ip().to_canonical().is_loopback() {
            return text(StatusCode::FORBIDDEN, "only the pod itself may ask for this\n");
        }
        if request.method() != Method::POST {
            return local_http::post_only();
        }
        action.notify_one();
        text(StatusCode::OK, "ok\n")
    }

    async fn probe(&self, request: &Request<Bytes>) -> Reply {
        let path = request.uri().path();
        let Some(prober) = self.probers.0.get(path) else {
            let known: Vec<&str> = self.probers.0.keys().map(String::as_str).collect();
            return local_http::not_found(path, &known.join(", "));
        };
        match self.prober.ask(prober, self.app, request.headers()).await {
            Ok(status) => text(status, Bytes::new()),
            Err(error) => {
                tracing::debug!(%error, path, "the application's probe failed");
                text(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n"))
            }
        }
    }
}

fn ready(readiness: &Readiness) -> Reply {
    match readiness.check() {
        Ok(()) => text(StatusCode::OK, Bytes::new()),
        Err(missing) => text(StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {missing}\n")),
    }
}
