//! The application's own probes and metrics, which the pod's description redirects to the proxy.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;

use super::ConfigError;
use super::environment::invalid;

/// Probes by the path under which the kubelet asks for them, as in `/app-health/web/livez`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Probers(pub BTreeMap<String, Prober>);

/// One probe.
#[derive(Clone, Debug, PartialEq)]
pub struct Prober {
    /// What to ask the application.
    pub check: Check,
    /// How long it may take.
    pub timeout: Duration,
}

/// What to ask the application.
#[derive(Clone, Debug, PartialEq)]
pub enum Check {
    /// An HTTP request; any answer from 200 to 399 is good.
    Http {
        /// Port of the application.
        port: u16,
        /// Path and query.
        path: String,
        /// Host header, if it matters.
        host: Option<String>,
        /// Whether to use TLS (the certificate is not checked, as the kubelet doesn't).
        tls: bool,
        /// Further headers.
        headers: Vec<(String, String)>,
    },
    /// A connection.
    Tcp {
        /// Port of the application.
        port: u16,
    },
    /// gRPC's health service.
    Grpc {
        /// Port of the application.
        port: u16,
        /// Which service to ask about.
        service: String,
    },
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawProber {
    http_get: Option<RawHttp>,
    tcp_socket: Option<RawTcp>,
    grpc: Option<RawGrpc>,
    #[serde(default)]
    timeout_seconds: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawHttp {
    port: u16,
    #[serde(default)]
    path: String,
    host: Option<String>,
    #[serde(default)]
    scheme: String,
    #[serde(default)]
    http_headers: Vec<RawHeader>,
}

#[derive(Deserialize)]
struct RawHeader {
    name: String,
    #[serde(default)]
    value: String,
}

#[derive(Deserialize)]
struct RawTcp {
    port: u16,
}

#[derive(Deserialize)]
struct RawGrpc {
    port: u16,
    #[serde(default)]
    service: Option<String>,
}

const PROBERS: &str = "ISTIO_KUBE_APP_PROBERS";

impl Probers {
    /// Reads the injector's JSON; an empty text has none.
    pub fn parse(text: &str) -> Result<Probers, ConfigError> {
        if text.trim().is_empty() {
            return Ok(Probers::default());
        }
        let bad = || invalid(PROBERS, text, "description of probes");
        let raw: BTreeMap<String, RawProber> = serde_json::from_str(text).map_err(|_| bad())?;
        let probers = raw.into_iter().map(|(path, raw)| Some((path, prober(raw)?)));
        probers.collect::<Option<_>>().map(Probers).ok_or_else(bad)
    }
}

fn prober(raw: RawProber) -> Option<Prober> {
    let check = match (raw.http_get, raw.tcp_socket, raw.grpc) {
        (Some(http), None, None) => Check::Http {
            port: http.port,
            path: if http.path.starts_with('/') { http.path } else { format!("/{}", http.path) },
            host: http.host.filter(|h| !h.is_empty()),
            tls: http.scheme.eq_ignore_ascii_case("https"),
            headers: http.http_headers.into_iter().map(|h| (h.name, h.value)).collect(),
        },
        (None, Some(tcp), None) => Check::Tcp { port: tcp.port },
        (None, None, Some(grpc)) => Check::Grpc { port: grpc.port, service: grpc.service.unwrap_or_default() },
        _ => return None,
    };
    Some(Prober { check, timeout: Duration::from_secs(raw.timeout_seconds.max(1)) })
}

/// Where the application's own metrics are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppMetrics {
    /// Port.
    pub port: u16,
    /// Path.
    pub path: String,
}

#[derive(Deserialize)]
struct RawMetrics {
    #[serde(default)]
    scrape: String,
    #[serde(default)]
    path: String,
    #[serde(default)]
    port: String,
}

impl AppMetrics {
    /// Reads what the pod's `prometheus.io` annotations were; none when it isn't to be scraped.
    pub fn parse(text: &str) -> Result<Option<AppMetrics>, ConfigError> {
        const NAME: &str = "ISTIO_PROMETHEUS_ANNOTATIONS";
        if text.trim().is_empty() {
            return Ok(None);
        }
        let raw: RawMetrics = serde_json::from_str(text).map_err(|_| invalid(NAME, text, "JSON object"))?;
        if raw.scrape != "true" {
            return Ok(None);
        }
        let port = if raw.port.is_empty() { Ok(80) } else { raw.port.parse() };
        let port = port.map_err(|_| invalid(NAME, &raw.port, "port"))?;
        let path = if raw.path.is_empty() { "/metrics".to_owned() } else { raw.path };
        let path = if path.starts_with('/') { path } else { format!("/{path}") };
        Ok(Some(AppMetrics { port, path }))
    }
}
