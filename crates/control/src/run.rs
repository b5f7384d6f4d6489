//! Puts istiod together.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use axum::Router;
use kube::Client;
use lateen_xds::server::AdsServer;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

use crate::access::{AccessReviewer, SecretAccess};
use crate::admin::{self, Pages};
use crate::ads::{Caches, Clients, Discovery, Shared};
use crate::auth::{Authenticator, TokenReviewer};
use crate::ca::{self, CaError, CaServer, Live};
use crate::config::{Config, Listen};
use crate::keys::{Fetcher, Keeper, Net};
use crate::listener::Listener;
use crate::metrics::{self, Metrics};
use crate::state::{self, Published, State};
use crate::status::{self, Statuses};
use crate::tls::Serving;
use crate::webhook::{self, Injection};
use crate::{gateways, leader, root_cert, source};

/// Watch events that wait to be applied.
const EVENTS: usize = 1024;
/// Namespaces that wait for their root certificate.
const NAMESPACES: usize = 1024;
/// Fetched key sets that wait to be taken in.
const KEY_SETS: usize = 16;
/// Held by the istiod that writes statuses.
const LEASE: &str = "istio-status-leader";
/// Pause between attempts to reach the API server at start.
const RETRY: Duration = Duration::from_millis(250);
/// Time for open requests when istiod ends; discovery streams are cut then, and proxies go on
/// with what they have.
const GRACE: Duration = Duration::from_secs(1);

/// Runs istiod until the process is told to end, on the cluster of the kubeconfig, or else of the
/// pod that it runs in.
pub async fn run(config: Config) -> anyhow::Result<()> {
    // Another part of the program may have installed the same one.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let client = Client::try_default()
        .await
        .context("finding the Kubernetes API: there is neither a kubeconfig nor a ServiceAccount in this pod")?;
    let shutdown = CancellationToken::new();
    let _cancel = shutdown.clone().drop_guard();
    let serving = serve(config, client, shutdown.clone());
    tokio::pin!(serving);
    tokio::select! {
        done = &mut serving => return done,
        ended = terminated() => ended?,
    }
    tracing::info!("istiod ends; proxies keep their configuration");
    shutdown.cancel();
    serving.await
}

/// Runs istiod on a cluster until `shutdown`.
pub async fn serve(config: Config, client: Client, shutdown: CancellationToken) -> anyhow::Result<()> {
    let starting = async {
        let namespace = &config.namespace;
        let mesh = retry("the mesh configuration", || crate::mesh::trust_domain(&client, namespace));
        let trust_domain = mesh.await?;
        let authority = retry("the CA", || ca::load_or_create(&client, namespace, &trust_domain)).await?;
        anyhow::Ok((trust_domain, authority))
    };
    let (trust_domain, authority) = tokio::select! {
        started = starting => started?,
        () = shutdown.cancelled() => return Ok(()),
    };
    let live = Live::new(Arc::new(authority));
    let keeper = ca::Keeper {
        client: client.clone(),
        namespace: config.namespace.clone(),
        trust_domain: trust_domain.clone(),
        live: live.clone(),
        timing: config.ca,
    };
    let callers = Callers {
        authenticator: Arc::new(TokenReviewer::new(client.clone(), trust_domain)),
        access: Arc::new(AccessReviewer(client.clone())),
    };
    Istiod::new(config, live, callers).serve(client, keeper, shutdown).await
}

/// Tries until the API server answers.
async fn retry<T, E, F>(what: &str, attempt: impl Fn() -> F) -> Result<T, E>
where
    F: Future<Output = Result<T, E>>,
    E: Transient,
{
    loop {
        match attempt().await {
            Err(error) if error.is_transient() => {
                tracing::warn!(%error, "reading {what}; trying again");
                tokio::time::sleep(RETRY).await;
            }
            result => return result,
        }
    }
}

/// An error that may pass by itself.
trait Transient: std::fmt::Display {
    fn is_transient(&self) -> bool;
}

impl Transient for CaError {
    fn is_transient(&self) -> bool {
        matches!(self, CaError::Secret { .. })
    }
}

impl Transient for kube::Error {
    fn is_transient(&self) -> bool {
        true
    }
}

/// Who judges callers.
pub struct Callers {
    /// Tells who they are.
    pub authenticator: Arc<dyn Authenticator>,
    /// Tells whether they may read Secrets.
    pub access: Arc<dyn SecretAccess>,
}

/// The parts of istiod that need no Kubernetes.
pub struct Istiod {
    config: Config,
    ca: Live,
    callers: Callers,
    metrics: Arc<Metrics>,
    injection: Arc<Injection>,
    statuses: Arc<Statuses>,
    ready: Arc<AtomicBool>,
    started: Instant,
}

impl Istiod {
    /// istiod with this CA and these judges of callers.
    pub fn new(config: Config, ca: Live, callers: Callers) -> Self {
        let metrics = Arc::new(Metrics::default());
        metrics.set(&metrics::ISTIO_BUILD, &[("component", "pilot"), ("tag", &config.version)], 1.0);
        metrics.set(&metrics::PILOT_INFO, &[("version", &config.version)], 1.0);
        Istiod {
            config,
            ca,
            callers,
            metrics,
            injection: Arc::new(Injection::default()),
            statuses: Arc::default(),
            ready: Arc::new(AtomicBool::new(false)),
            started: Instant::now(),
        }
    }

    /// Watches, serves and registers until `shutdown`.
    async fn serve(self, client: Client, keeper: ca::Keeper, shutdown: CancellationToken) -> anyhow::Result<()> {
        let (event_sender, events) = mpsc::channel(EVENTS);
        let (namespace_sender, namespaces) = mpsc::channel(NAMESPACES);
        let mut background = JoinSet::new();
        let watches = source::watch_all(&client, &event_sender);
        background.spawn(keeper.run());
        let Config { namespace, pod_name, .. } = &self.config;
        let (leads, election) = leader::elect(client.clone(), namespace, LEASE, pod_name, shutdown.clone());
        let election = tokio::spawn(election);
        background.spawn(root_cert::distribute(client.clone(), self.ca.follow(), leads.clone(), namespaces));
        let servers = self.start(events, Some(namespace_sender), &mut background, &shutdown).await?;
        let metrics = self.metrics.clone();
        background.spawn(webhook::keep_registered(client.clone(), self.ca.follow(), leads.clone(), metrics));
        let published = || servers.published.clone();
        background.spawn(status::judge(published(), self.statuses.clone(), leads.clone()));
        background.spawn(gateways::report(published(), self.statuses.clone(), leads.clone()));
        background.spawn(gateways::deploy(client.clone(), published(), self.injection.clone(), leads.clone()));
        background.spawn(status::write(self.statuses.clone(), client, leads, self.metrics.clone()));
        tracing::info!(version = self.config.version, "istiod is serving");
        shutdown.cancelled().await;
        // Gives the Lease back, so that the next istiod need not wait for its end.
        let _ = tokio::time::timeout(GRACE, election).await;
        // Discovery streams have no end of their own.
        if tokio::time::timeout(GRACE, servers.tasks.join_all()).await.is_err() {
            tracing::debug!("listeners did not end in time");
        }
        drop(watches);
        Ok(())
    }

    /// Starts everything that serves, fed by `events`.
    pub async fn start(
        &self,
        events: mpsc::Receiver<source::Event>,
        namespaces: Option<mpsc::Sender<String>>,
        background: &mut JoinSet<()>,
        shutdown: &CancellationToken,
    ) -> anyhow::Result<Servers> {
        let (state, published) = State::new(
            &self.config,
            state::Followers { injection: self.injection.clone(), namespaces, statuses: self.statuses.clone() },
            self.metrics.clone(),
            self.ready.clone(),
        );
        let (key_sender, fetched) = mpsc::channel(KEY_SETS);
        let fetcher = Fetcher::new(Net { blocked: self.config.keys_blocked.clone() })?;
        let keeper = Keeper::new(fetcher, self.config.keys_interval, key_sender, self.metrics.clone());
        background.spawn(state.run(events, keeper, fetched));
        let clients = Arc::new(Clients::default());
        let shared = Arc::new(Shared {
            published: published.clone(),
            caches: Caches::default(),
            clients: clients.clone(),
            metrics: self.metrics.clone(),
            access: self.callers.access.clone(),
        });
        let pages = Arc::new(Pages {
            config: self.config.clone(),
            metrics: self.metrics.clone(),
            clients,
            ca: self.ca.clone(),
            authenticator: self.callers.authenticator.clone(),
            published: published.clone(),
            ready: self.ready.clone(),
            started: self.started,
        });
        let names = self.config.server_names();
        let serving = Arc::new(Serving::new(&self.ca.now().signer, &names)?);
        background.spawn(serving.clone().rotate(self.ca.clone(), names));
        let (tasks, addresses) = self.listen(&serving, self.grpc(shared), pages, shutdown).await?;
        Ok(Servers { tasks, addresses, published })
    }

    fn grpc(&self, shared: Arc<Shared>) -> Router {
        let discovery = Arc::new(Discovery::new(shared, self.callers.authenticator.clone()));
        let ca = CaServer::new(self.ca.clone(), self.callers.authenticator.clone(), self.metrics.clone());
        Routes::new(AdsServer::new(discovery)).add_service(ca).prepare().into_axum_router()
    }

    async fn listen(
        &self,
        serving: &Arc<Serving>,
        grpc: Router,
        pages: Arc<Pages>,
        shutdown: &CancellationToken,
    ) -> anyhow::Result<(JoinSet<()>, Listen)> {
        let tls = serving.server_config()?;
        let listen = &self.config.listen;
        let webhooks = webhook::router(self.injection.clone(), self.metrics.clone());
        let listeners = [
            Listener::bind(listen.grpc, None, grpc.clone()).await?,
            Listener::bind(listen.tls_grpc, Some(tls.clone()), grpc).await?,
            Listener::bind(listen.webhook, Some(tls), webhooks).await?,
            Listener::bind(listen.monitoring, None, admin::monitoring(pages.clone())).await?,
            Listener::bind(listen.health, None, admin::health(pages)).await?,
        ];
        let [grpc, tls_grpc, webhook, monitoring, health] = listeners.each_ref().map(Listener::address);
        let addresses =
            Listen { grpc: grpc?, tls_grpc: tls_grpc?, webhook: webhook?, monitoring: monitoring?, health: health? };
        let mut tasks = JoinSet::new();
        for listener in listeners {
            tasks.spawn(listener.serve(shutdown.clone()));
        }
        Ok((tasks, addresses))
    }
}

/// istiod's listeners at work.
pub struct Servers {
    tasks: JoinSet<()>,
    published: watch::Receiver<Arc<Published>>,
    /// Where they listen.
    pub addresses: Listen,
}

async fn terminated() -> std::io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}
