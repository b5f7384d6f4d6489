//! istiod's own metrics, with Istio's names.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use parking_lot::Mutex;

/// Bounds of the duration histograms, in seconds.
const BUCKETS: [f64; 11] = [0.001, 0.01, 0.05, 0.1, 0.5, 1.0, 3.0, 5.0, 10.0, 20.0, 30.0];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// A metric that istiod has.
pub struct Metric {
    name: &'static str,
    kind: Kind,
    help: &'static str,
}

macro_rules! metrics {
    ($($id:ident = $kind:ident $name:literal $help:literal;)*) => {
        $(
            #[doc = $help]
            pub const $id: Metric = Metric { name: $name, kind: Kind::$kind, help: $help };
        )*
        const ALL: &[Metric] = &[$($id),*];
    };
}

metrics! {
    CITADEL_CSR_COUNT = Counter "citadel_server_csr_count" "The number of certificate requests received.";
    CITADEL_AUTHENTICATION_FAILURE_COUNT = Counter "citadel_server_authentication_failure_count" "The number of certificate requests whose caller could not be authenticated.";
    CITADEL_CSR_PARSING_ERR_COUNT = Counter "citadel_server_csr_parsing_err_count" "The number of certificate requests that could not be read.";
    CITADEL_CSR_SIGN_ERR_COUNT = Counter "citadel_server_csr_sign_err_count" "The number of certificate requests that could not be signed.";
    CITADEL_SUCCESS_CERT_ISSUANCE_COUNT = Counter "citadel_server_success_cert_issuance_count" "The number of certificates issued.";
    CITADEL_ROOT_CERT_EXPIRY_TIMESTAMP = Gauge "citadel_server_root_cert_expiry_timestamp" "When the root certificate expires, in seconds since 1970.";
    CITADEL_ROOT_CERT_EXPIRY_SECONDS = Gauge "citadel_server_root_cert_expiry_seconds" "The time until the root certificate expires.";
    CITADEL_CERT_CHAIN_EXPIRY_TIMESTAMP = Gauge "citadel_server_cert_chain_expiry_timestamp" "When the first certificate of the signing chain expires, in seconds since 1970.";
    CITADEL_CERT_CHAIN_EXPIRY_SECONDS = Gauge "citadel_server_cert_chain_expiry_seconds" "The time until the first certificate of the signing chain expires.";
    ISTIO_BUILD = Gauge "istio_build" "The version of this component.";
    ISTIOD_UPTIME_SECONDS = Gauge "istiod_uptime_seconds" "Time since istiod started.";
    PILOT_XDS = Gauge "pilot_xds" "Number of proxies connected by discovery.";
    PILOT_XDS_PUSHES = Counter "pilot_xds_pushes" "Discovery responses sent, by type.";
    PILOT_XDS_PUSH_TIME = Histogram "pilot_xds_push_time" "Time to make a discovery response, by type.";
    PILOT_XDS_CDS_REJECT = Gauge "pilot_xds_cds_reject" "Proxies that refuse their clusters.";
    PILOT_XDS_EDS_REJECT = Gauge "pilot_xds_eds_reject" "Proxies that refuse their endpoints.";
    PILOT_XDS_LDS_REJECT = Gauge "pilot_xds_lds_reject" "Proxies that refuse their listeners.";
    PILOT_XDS_RDS_REJECT = Gauge "pilot_xds_rds_reject" "Proxies that refuse their routes.";
    PILOT_TOTAL_XDS_REJECTS = Counter "pilot_total_xds_rejects" "Discovery responses refused by proxies, by type.";
    PILOT_TOTAL_XDS_INTERNAL_ERRORS = Counter "pilot_total_xds_internal_errors" "Discovery streams ended by an error of istiod.";
    PILOT_PROXY_CONVERGENCE_TIME = Histogram "pilot_proxy_convergence_time" "Time from a change of configuration to its response being sent to a proxy.";
    PILOT_PROXY_QUEUE_TIME = Histogram "pilot_proxy_queue_time" "Time from a published change to the start of a proxy's push.";
    PILOT_DEBOUNCE_TIME = Histogram "pilot_debounce_time" "Time that the first change of a push waited for others.";
    PILOT_PUSH_TRIGGERS = Counter "pilot_push_triggers" "Changes that led to a push, by type.";
    PILOT_INBOUND_UPDATES = Counter "pilot_inbound_updates" "Watch events received, by type.";
    PILOT_K8S_CFG_EVENTS = Counter "pilot_k8s_cfg_events" "Watch events of Istio's resources, by type and event.";
    PILOT_SERVICES = Gauge "pilot_services" "Services known.";
    PILOT_VIRT_SERVICES = Gauge "pilot_virt_services" "VirtualServices known.";
    PILOT_INFO = Gauge "pilot_info" "The version of istiod.";
    PILOT_JWKS_FETCH_SUCCESS = Counter "pilot_jwks_resolver_network_fetch_success_total" "Key sets fetched.";
    PILOT_JWKS_FETCH_FAIL = Counter "pilot_jwks_resolver_network_fetch_fail_total" "Failed attempts to fetch a key set.";
    SIDECAR_INJECTION_REQUESTS = Counter "sidecar_injection_requests_total" "Pods sent to the injection webhook.";
    SIDECAR_INJECTION_SUCCESS = Counter "sidecar_injection_success_total" "Pods injected.";
    SIDECAR_INJECTION_FAILURE = Counter "sidecar_injection_failure_total" "Pods that could not be injected.";
    SIDECAR_INJECTION_SKIP = Counter "sidecar_injection_skip_total" "Pods that are not to be injected.";
    GALLEY_VALIDATION_PASSED = Counter "galley_validation_passed" "Resources found valid.";
    GALLEY_VALIDATION_FAILED = Counter "galley_validation_failed" "Resources refused.";
    STATUS_WRITES = Counter "lateen_status_writes_total" "Statuses of objects written, by type.";
    STATUS_WRITE_FAILURES = Counter "lateen_status_write_failures_total" "Statuses of objects that could not be written, by type.";
    WEBHOOK_PATCH_ATTEMPTS = Counter "webhook_patch_attempts_total" "Attempts to write the CA into a webhook configuration.";
    WEBHOOK_PATCH_FAILURES = Counter "webhook_patch_failures_total" "Failed attempts to write the CA into a webhook configuration.";
}

#[derive(Default)]
struct Series {
    value: f64,
    buckets: [u64; BUCKETS.len()],
    count: u64,
}

type Labels = Vec<(&'static str, String)>;

/// The values of all metrics.
///
/// One lock: istiod counts pushes and requests, thousands a second at the most.
#[derive(Default)]
pub struct Metrics {
    series: Mutex<BTreeMap<&'static str, BTreeMap<Labels, Series>>>,
}

impl Metrics {
    /// Counts one.
    pub fn add(&self, metric: &Metric, labels: &[(&'static str, &str)]) {
        self.update(metric, labels, |series| series.value += 1.0);
    }

    /// Moves a gauge up or down.
    pub fn shift(&self, metric: &Metric, labels: &[(&'static str, &str)], by: f64) {
        self.update(metric, labels, |series| series.value += by);
    }

    /// Sets a gauge.
    pub fn set(&self, metric: &Metric, labels: &[(&'static str, &str)], value: f64) {
        self.update(metric, labels, |series| series.value = value);
    }

    /// Adds a duration to a histogram.
    pub fn observe(&self, metric: &Metric, labels: &[(&'static str, &str)], took: std::time::Duration) {
        let seconds = took.as_secs_f64();
        self.update(metric, labels, |series| {
            series.value += seconds;
            series.count += 1;
            for (bound, count) in BUCKETS.iter().zip(&mut series.buckets) {
                *count += u64::from(seconds <= *bound);
            }
        });
    }

    fn update(&self, metric: &Metric, labels: &[(&'static str, &str)], f: impl FnOnce(&mut Series)) {
        let labels: Labels = labels.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        f(self.series.lock().entry(metric.name).or_default().entry(labels).or_default());
    }

    /// The text that Prometheus reads.
    pub fn render(&self) -> String {
        let all = self.series.lock();
        let mut text = String::new();
        for metric in ALL {
            let Some(family) = all.get(metric.name) else { continue };
            let kind = match metric.kind {
                Kind::Counter => "counter",
                Kind::Gauge => "gauge",
                Kind::Histogram => "histogram",
            };
            let _ = writeln!(text, "# HELP {} {}\n# TYPE {} {kind}", metric.name, metric.help, metric.name);
            for (labels, series) in family {
                write_series(&mut text, metric, labels, series);
            }
        }
        text
    }
}

fn write_series(text: &mut String, metric: &Metric, labels: &Labels, series: &Series) {
    let name = metric.name;
    if metric.kind != Kind::Histogram {
        let _ = writeln!(text, "{name}{} {}", label_text(labels, None), series.value);
        return;
    }
    for (bound, count) in BUCKETS.iter().zip(series.buckets) {
        let _ = writeln!(text, "{name}_bucket{} {count}", label_text(labels, Some(&bound.to_string())));
    }
    let _ = writeln!(text, "{name}_bucket{} {}", label_text(labels, Some("+Inf")), series.count);
    let _ = writeln!(text, "{name}_sum{} {}", label_text(labels, None), series.value);
    let _ = writeln!(text, "{name}_count{} {}", label_text(labels, None), series.count);
}

fn label_text(labels: &Labels, le: Option<&str>) -> String {
    let mut parts: Vec<String> = labels
        .iter()
        .map(|(name, value)| {
            let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            format!("{name}=\"{value}\"")
        })
        .collect();
    parts.extend(le.map(|le| format!("le=\"{le}\"")));
    if parts.is_empty() { String::new() } else { format!("{{{}}}", parts.join(",")) }
}
