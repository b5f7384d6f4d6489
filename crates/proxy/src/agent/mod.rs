//! `lateen proxy agent -- envoy ...`: a stock Envoy in the place of our data plane. The agent makes the key, gets the
//! certificate, serves both to Envoy over a local socket, and relays discovery with the pod's credentials.

mod bootstrap;
mod envoy;
mod relay;
mod sds;
mod unix;

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::Arc;

use tokio::process::Child;
use tokio::signal::unix::{SignalKind, signal};

use crate::app::{AppError, Identified, start_server};
use crate::config::Config;
use crate::local_http::bind_any;
use crate::readiness::Readiness;
use crate::status::{AppProber, MetricsServer, ReadyServer, Requests, StatusServer};
use envoy::Admin;

/// Why an agent cannot run.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// The part that agent and proxy share.
    #[error(transparent)]
    App(#[from] AppError),
    /// Nothing to start.
    #[error("say what to start: lateen proxy agent -- envoy")]
    NoCommand,
    /// Envoy does not start.
    #[error("cannot start {program}: {error}; is Envoy installed in the image?")]
    Start {
        /// The program.
        program: String,
        /// Why.
        error: io::Error,
    },
    /// A file or socket for Envoy cannot be made.
    #[error("cannot make {path}: {error}")]
    File {
        /// The file.
        path: String,
        /// Why.
        error: io::Error,
    },
    /// Envoy ended by itself.
    #[error("Envoy ended by itself ({0}); see its log above")]
    Ended(std::process::ExitStatus),
    /// Envoy cannot be waited for.
    #[error("cannot wait for Envoy: {0}")]
    Wait(#[source] io::Error),
}

const SECRETS_SOCKET: &str = "var/run/secrets/workload-spiffe-uds/socket";
const DISCOVERY_SOCKET: &str = "etc/istio/proxy/XDS";
const BOOTSTRAP: &str = "etc/istio/proxy/envoy-rev.json";

/// Runs Envoy until told to end.
pub(crate) async fn run(config: Config, command: &[String]) -> Result<(), AgentError> {
    let parts = Identified::new(Arc::new(config));
    let config = parts.config.clone();
    let readiness = Arc::new(Readiness::new(parts.certs.clone()));
    let requests = Arc::new(Requests::default());
    let admin = Admin((Ipv4Addr::LOCALHOST, config.ports.admin).into());
    servers(&parts, &readiness, &requests, admin)?;
    parts.keep_certificate_fresh();
    let secrets = config.root.join(SECRETS_SOCKET);
    let discovery = config.root.join(DISCOVERY_SOCKET);
    let relay = relay::Relay(parts.control_plane(&config.control.discovery));
    tokio::spawn(unix::serve(named(&secrets, unix::bind(&secrets))?, sds::Secrets(parts.certs.clone())));
    tokio::spawn(unix::serve(named(&discovery, unix::bind(&discovery))?, relay));
    let bootstrap = bootstrap::bootstrap(&config, &secrets, &discovery);
    let path = config.root.join(BOOTSTRAP);
    named(&path, fs::write(&path, format!("{bootstrap:#}")))?;
    let child = envoy::start(command, &config, &path)?;
    tokio::spawn(admin.watch(readiness.clone()));
    supervise(&config, child, admin, &readiness, &requests).await
}

fn named<T>(path: &Path, result: io::Result<T>) -> Result<T, AgentError> {
    result.map_err(|error| AgentError::File { path: path.display().to_string(), error })
}

/// Envoy has the administration port itself.
fn servers(
    parts: &Identified,
    readiness: &Arc<Readiness>,
    requests: &Arc<Requests>,
    admin: Admin,
) -> Result<(), AppError> {
    let (config, ports) = (&parts.config, parts.config.ports);
    start_server("readiness", ports.ready, bind_any, ReadyServer(readiness.clone()))?;
    start_server("metrics", ports.metrics, bind_any, MetricsServer(Arc::new(admin)))?;
    let status = StatusServer {
        readiness: readiness.clone(),
        metrics: Arc::new(admin),
        probers: config.probers.clone(),
        app_metrics: config.app_metrics.clone(),
        app: config.pod.ips.first().copied().unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        mark: config.mark,
        requests: requests.clone(),
        prober: AppProber::new(parts.provider.clone(), config.mark)?,
    };
    start_server("status", ports.status, bind_any, status)
}

async fn supervise(
    config: &Config,
    mut child: Child,
    admin: Admin,
    readiness: &Readiness,
    requests: &Requests,
) -> Result<(), AgentError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(AppError::Runtime)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(AppError::Runtime)?;
    let finish = loop {
        tokio::select! {
            status = child.wait() => return Err(AgentError::Ended(status.map_err(AgentError::Wait)?)),
            _ = terminate.recv() => break true,
            () = requests.terminate.notified() => break true,
            _ = interrupt.recv() => break false,
            () = requests.exit.notified() => break false,
            () = requests.drain.notified() => {
                readiness.drain();
                admin.drain().await;
            }
        }
    };
    if finish {
        tracing::info!("told to end: letting Envoy's connections finish");
        readiness.drain();
        admin.drain().await;
        tokio::time::sleep(config.drain.termination).await;
    }
    envoy::end(child).await.map_err(AgentError::Wait)?;
    Ok(())
}
