//! A sidecar or gateway.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use super::{AppError, Identified, shutdown, start_server};
use crate::admin::{AdminParts, AdminServer};
use crate::config::Config;
use crate::dns::DnsProxy;
use crate::local_http::{bind_any, bind_loopback};
use crate::logging::LogLevel;
use crate::pages;
use crate::readiness::Readiness;
use crate::record::Sink;
use crate::resolv_conf::ResolvConf;
use crate::state::State;
use crate::status::{AppProber, MetricsServer, ReadyServer, Requests, StatusServer};
use crate::telemetry::{Identity, Telemetry};
use crate::worker::{self, WorkerOptions};
use crate::xds_client::{self, Configuration, NameTables, Stream};

/// The parts of one proxy process.
pub(super) struct Proxy {
    identified: Identified,
    log: LogLevel,
    state: Arc<State>,
    telemetry: Arc<Telemetry>,
    stream: Arc<Stream>,
    dns: Option<Arc<DnsProxy>>,
    configuration: Arc<Configuration>,
    pub(super) readiness: Arc<Readiness>,
    pub(super) requests: Arc<Requests>,
}

impl Proxy {
    pub(super) fn new(config: Config, log: LogLevel) -> Proxy {
        let identified = Identified::new(Arc::new(config));
        let config = &identified.config;
        let state = State::new();
        let readiness = Arc::new(Readiness::new(identified.certs.clone()));
        let telemetry = Arc::new(Telemetry::new(config.workers, Identity::of(config), state.clone()));
        let stream = Arc::new(Stream::default());
        telemetry.process().watch(readiness.clone(), stream.clone(), identified.certs.clone());
        let resolv = || ResolvConf::read();
        let dns = config.dns_capture.then(|| Arc::new(DnsProxy::new(config, resolv(), telemetry.clone())));
        let names = dns.clone().map(|dns| dns as Arc<dyn NameTables>);
        let configuration =
            Arc::new(Configuration::new(state.clone(), readiness.clone(), names, identified.certs.clone()));
        let requests = Arc::default();
        Proxy { identified, log, state, telemetry, stream, dns, configuration, readiness, requests }
    }

    /// The configuration of the process.
    pub(super) fn config(&self) -> &Config {
        &self.identified.config
    }

    /// Serves until told to end.
    pub(super) async fn run(self) -> Result<(), AppError> {
        let config = self.config();
        tracing::info!(node = config.node.id, workers = config.workers, "proxy starts");
        self.open_ports()?;
        self.identified.keep_certificate_fresh();
        let discovery = self.identified.control_plane(&config.control.discovery);
        let node = config.node.clone();
        tokio::spawn(xds_client::run(discovery, node, self.configuration.clone(), self.stream.clone()));
        tokio::spawn(xds_client::resolve_names(self.configuration.clone()));
        let workers = self.start_workers()?;
        tokio::spawn(pages::give_back_when_settled(self.readiness.clone(), self.state.clone()));
        shutdown::serve_until_told(&self, workers).await?;
        self.telemetry.flush();
        Ok(())
    }

    /// The data path.
    fn start_workers(&self) -> Result<worker::Handle, AppError> {
        let config = self.config();
        let options = WorkerOptions {
            threads: config.workers,
            mark: config.mark,
            metadata: config.peer_metadata(),
            container_ports: config.container_ports.clone().into(),
            addresses: config.pod.ips.clone(),
            original_dst: None,
        };
        let sink: Arc<dyn Sink> = self.telemetry.clone();
        let certs = self.identified.certs.clone();
        worker::start(self.state.clone(), certs, sink, options).map_err(AppError::Runtime)
    }

    /// The proxy's own ports.
    fn open_ports(&self) -> Result<(), AppError> {
        let (config, ports) = (self.config(), self.config().ports);
        start_server("readiness", ports.ready, bind_any, ReadyServer(self.readiness.clone()))?;
        start_server("metrics", ports.metrics, bind_any, MetricsServer(self.telemetry.clone()))?;
        let status = StatusServer {
            readiness: self.readiness.clone(),
            metrics: self.telemetry.clone(),
            probers: config.probers.clone(),
            app_metrics: config.app_metrics.clone(),
            app: config.pod.ips.first().copied().unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)),
            mark: config.mark,
            requests: self.requests.clone(),
            prober: AppProber::new(self.identified.provider.clone(), config.mark)?,
        };
        start_server("status", ports.status, bind_any, status)?;
        start_server("admin", ports.admin, bind_loopback, AdminServer(self.admin_parts()))?;
        if let Some(dns) = &self.dns {
            dns.clone().open(ports.dns).map_err(|error| AppError::Port("DNS", ports.dns, error))?;
        }
        Ok(())
    }

    fn admin_parts(&self) -> AdminParts {
        AdminParts {
            config: self.identified.config.clone(),
            configuration: self.configuration.clone(),
            state: self.state.clone(),
            certs: self.identified.certs.clone(),
            telemetry: self.telemetry.clone(),
            readiness: self.readiness.clone(),
            requests: self.requests.clone(),
            log: self.log.clone(),
        }
    }
}
