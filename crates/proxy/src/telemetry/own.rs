//! Figures about the proxy itself, under the names that Envoy and Istio's agent use.

use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

use lateen_proxy_core::Tables;
use parking_lot::Mutex;

use super::labels::escaped;
use crate::certs::CertStore;
use crate::readiness::Readiness;
use crate::xds_client::Stream;

/// What the process knows about itself.
pub struct ProcessStats {
    started: Instant,
    parts: Mutex<Parts>,
    /// DNS queries answered.
    pub dns_requests: AtomicU64,
    /// DNS queries passed on.
    pub dns_upstream_requests: AtomicU64,
    /// DNS queries that the other server failed to answer.
    pub dns_upstream_failures: AtomicU64,
}

#[derive(Default)]
struct Parts {
    readiness: Option<Arc<Readiness>>,
    stream: Option<Arc<Stream>>,
    certs: Option<Arc<CertStore>>,
}

impl ProcessStats {
    /// From now on.
    pub fn new() -> ProcessStats {
        let zero = AtomicU64::default;
        ProcessStats {
            started: Instant::now(),
            parts: Mutex::default(),
            dns_requests: zero(),
            dns_upstream_requests: zero(),
            dns_upstream_failures: zero(),
        }
    }

    /// Names the parts of the process that have something to tell.
    pub fn watch(&self, readiness: Arc<Readiness>, stream: Arc<Stream>, certs: Arc<CertStore>) {
        *self.parts.lock() = Parts { readiness: Some(readiness), stream: Some(stream), certs: Some(certs) };
    }

    /// Seconds since the start.
    pub fn uptime(&self) -> u64 {
        self.started.elapsed().as_secs()
    }

    pub(super) fn write(&self, out: &mut String, tables: &Tables, log_lines_dropped: u64) {
        let mut out = Writer(out);
        out.one("envoy_server_uptime", "gauge", self.uptime());
        out.one("envoy_server_memory_physical_size", "gauge", resident_bytes());
        let listeners = tables.listeners().count() as u64;
        out.one("envoy_listener_manager_total_listeners_active", "gauge", listeners);
        out.one("envoy_cluster_manager_active_clusters", "gauge", tables.clusters().count() as u64);
        self.write_parts(&mut out);
        for (name, value) in [
            ("istio_agent_dns_requests_total", &self.dns_requests),
            ("istio_agent_dns_upstream_requests_total", &self.dns_upstream_requests),
            ("istio_agent_dns_upstream_failures_total", &self.dns_upstream_failures),
        ] {
            out.one(name, "counter", value.load(Relaxed));
        }
        out.one("lateen_access_log_lines_dropped_total", "counter", log_lines_dropped);
        clusters(&mut out, tables);
        let version = env!("CARGO_PKG_VERSION");
        out.head("istio_build", "gauge");
        let _ = writeln!(out.0, "istio_build{{component=\"proxy\",tag=\"{version}\"}} 1");
    }

    fn write_parts(&self, out: &mut Writer<'_>) {
        let parts = self.parts.lock();
        if let Some(readiness) = &parts.readiness {
            // 0 is live, 1 draining, 2 not ready yet.
            let state = if readiness.is_draining() { 1 } else { 2 * u64::from(readiness.check().is_err()) };
            out.one("envoy_server_state", "gauge", state);
        }
        if let Some(stream) = &parts.stream {
            let connected = u64::from(stream.connected.load(Relaxed));
            out.one("envoy_control_plane_connected_state", "gauge", connected);
            out.one("istio_agent_num_outgoing_connects_total", "counter", stream.connects.load(Relaxed));
            out.one("istio_agent_istiod_connection_failures", "counter", stream.failures.load(Relaxed));
        }
        let identity = parts.certs.as_ref().and_then(|certs| certs.identity());
        if let Some(identity) = identity {
            let end = identity.not_after.duration_since(std::time::SystemTime::now()).unwrap_or_default();
            out.head("istio_agent_cert_expiry_seconds", "gauge");
            let _ = writeln!(out.0, "istio_agent_cert_expiry_seconds{{resource_name=\"default\"}} {}", end.as_secs());
        }
    }
}

impl Default for ProcessStats {
    fn default() -> ProcessStats {
        ProcessStats::new()
    }
}

fn clusters(out: &mut Writer<'_>, tables: &Tables) {
    type Figure = fn(&lateen_proxy_core::cluster::Cluster) -> u64;
    let figures: [(&str, Figure); 5] = [
        ("envoy_cluster_upstream_cx_active", |c| c.state.connections.load(Relaxed).into()),
        ("envoy_cluster_upstream_rq_active", |c| c.state.requests.load(Relaxed).into()),
        ("envoy_cluster_upstream_rq_pending_active", |c| c.state.pending.load(Relaxed).into()),
        ("envoy_cluster_membership_total", |c| c.endpoints.iter().count() as u64),
        ("envoy_cluster_membership_healthy", |c| c.endpoints.iter().filter(|e| e.healthy).count() as u64),
    ];
    for (name, figure) in figures {
        out.head(name, "gauge");
        for cluster in tables.clusters() {
            let _ = writeln!(out.0, "{name}{{cluster_name=\"{}\"}} {}", escaped(&cluster.name), figure(cluster));
        }
    }
}

struct Writer<'a>(&'a mut String);

impl Writer<'_> {
    fn head(&mut self, name: &str, kind: &str) {
        let _ = writeln!(self.0, "# TYPE {name} {kind}");
    }

    fn one(&mut self, name: &str, kind: &str, value: u64) {
        self.head(name, kind);
        let _ = writeln!(self.0, "{name} {value}");
    }
}

/// Resident memory of the process; 0 where it cannot be read.
fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or_default() * 1024
}
