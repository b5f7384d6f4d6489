//! Istio's standard labels.

use std::borrow::Cow;
use std::fmt::Write;

use lateen_proxy_core::listener::Direction;

use super::identity::Identity;
use crate::record::{Protocol, Record};

const UNKNOWN: &str = "unknown";

/// One side of the traffic.
#[derive(Default)]
struct Side<'a> {
    workload: &'a str,
    namespace: &'a str,
    principal: &'a str,
    app: &'a str,
    version: &'a str,
    cluster: &'a str,
    canonical_name: &'a str,
    canonical_revision: &'a str,
}

fn own<'a>(identity: &'a Identity, record: &Record<'_>) -> Side<'a> {
    let proven = match record.listener.direction {
        Direction::Inbound => record.mtls,
        Direction::Outbound | Direction::Gateway => record.upstream_principal.is_some(),
    };
    Side {
        workload: &identity.workload,
        namespace: &identity.namespace,
        principal: if proven { &identity.principal } else { "" },
        app: &identity.app,
        version: &identity.version,
        cluster: &identity.cluster,
        canonical_name: &identity.canonical_name,
        canonical_revision: &identity.canonical_revision,
    }
}

/// The other side: as it told us, else as discovery knows it.
fn other<'a>(record: &Record<'a>, principal: Option<&'a str>) -> Side<'a> {
    let principal = principal.unwrap_or_default();
    if let Some(peer) = record.peer {
        return Side {
            workload: &peer.workload,
            namespace: &peer.namespace,
            principal,
            app: &peer.app,
            version: &peer.version,
            cluster: &peer.cluster,
            canonical_name: &peer.canonical_name,
            canonical_revision: &peer.canonical_revision,
        };
    }
    let inbound = record.listener.direction == Direction::Inbound;
    match record.endpoint.and_then(|endpoint| endpoint.workload.as_ref()) {
        Some(workload) if !inbound => Side {
            workload: &workload.name,
            namespace: &workload.namespace,
            principal,
            // The label `app` is not told by discovery; the canonical name is what it stands for.
            app: &workload.canonical_name,
            version: &workload.canonical_revision,
            cluster: &workload.cluster,
            canonical_name: &workload.canonical_name,
            canonical_revision: &workload.canonical_revision,
        },
        _ => Side { principal, ..Side::default() },
    }
}

/// The host that stands for the service where no service is known: what the workload itself asked for. What others ask
/// for is not used, as they could make up any number of names.
pub(super) fn fallback_host<'a>(record: &Record<'a>) -> &'a str {
    let known = record.cluster.is_some_and(|cluster| cluster.service().is_some());
    match record.request {
        Some(request) if !known && record.listener.direction == Direction::Outbound => request.authority,
        _ => "",
    }
}

/// Full name, name and namespace of the service.
fn service<'a>(record: &Record<'a>) -> (&'a str, &'a str, &'a str) {
    if let Some(service) = record.cluster.and_then(|cluster| cluster.config.service()) {
        return (&service.host, &service.name, &service.namespace);
    }
    let host = fallback_host(record);
    let name = match record.cluster_name {
        cluster @ ("PassthroughCluster" | "BlackHoleCluster" | "InboundPassthroughCluster") => cluster,
        "InboundPassthroughClusterIpv4" | "InboundPassthroughClusterIpv6" => "InboundPassthroughCluster",
        _ => host,
    };
    (host, name, "")
}

/// The labels of a record, as Prometheus writes them.
pub(super) fn labels(record: &Record<'_>, identity: &Identity) -> String {
    let inbound = record.listener.direction == Direction::Inbound;
    let (source, destination) = if inbound {
        (other(record, record.downstream_principal), own(identity, record))
    } else {
        (own(identity, record), other(record, record.upstream_principal))
    };
    let (service, service_name, service_namespace) = service(record);
    let mut out = Labels(String::with_capacity(1024));
    out.add("reporter", if inbound { "destination" } else { "source" });
    out.side("source", &source);
    out.side("destination", &destination);
    out.add("destination_service", service);
    out.add("destination_service_name", service_name);
    out.add("destination_service_namespace", service_namespace);
    out.add("request_protocol", protocol(record));
    if record.protocol != Protocol::Tcp {
        out.add("response_code", &record.response.status.to_string());
    }
    if let (Some(status), true) = (record.response.grpc_status, record.request.is_some_and(|r| r.grpc)) {
        out.add("grpc_response_status", &status.to_string());
    }
    out.add("response_flags", &record.flags.to_string());
    let policy = match (inbound, record.mtls) {
        (true, true) => "mutual_tls",
        (true, false) => "none",
        (false, _) => UNKNOWN,
    };
    out.add("connection_security_policy", policy);
    out.0
}

fn protocol(record: &Record<'_>) -> &'static str {
    match record.request {
        None => "tcp",
        Some(request) if request.grpc => "grpc",
        Some(_) => "http",
    }
}

struct Labels(String);

impl Labels {
    fn add(&mut self, name: &str, value: &str) {
        let comma = if self.0.is_empty() { "" } else { "," };
        let value = if value.is_empty() { UNKNOWN } else { value };
        let _ = write!(self.0, "{comma}{name}=\"{}\"", escaped(value));
    }

    fn side(&mut self, side: &str, of: &Side<'_>) {
        for (name, value) in [
            ("workload", of.workload),
            ("canonical_service", of.canonical_name),
            ("canonical_revision", of.canonical_revision),
            ("workload_namespace", of.namespace),
            ("principal", of.principal),
            ("app", of.app),
            ("version", of.version),
            ("cluster", of.cluster),
        ] {
            self.add(&format!("{side}_{name}"), value);
        }
    }
}

/// A label's value with quotes, backslashes and line ends escaped.
pub(super) fn escaped(value: &str) -> Cow<'_, str> {
    if !value.contains(['"', '\\', '\n']) {
        return Cow::Borrowed(value);
    }
    Cow::Owned(value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"))
}
