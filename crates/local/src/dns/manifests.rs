//! The Service under which pods find the DNS server.

use std::net::{Ipv4Addr, SocketAddrV4};

use serde_json::{Value, json};

/// The Service `kube-dns` at `cluster_ip`, and the Endpoints and EndpointSlice that lead to where
/// the server listens.
#[must_use]
pub fn manifests(cluster_ip: Ipv4Addr, listens: SocketAddrV4) -> [Value; 3] {
    let port = |name: &str, protocol: &str, number: u16| json!({"name": name, "protocol": protocol, "port": number});
    let labels = json!({"k8s-app": "kube-dns", "kubernetes.io/name": "CoreDNS"});
    let service = json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "kube-dns", "namespace": "kube-system", "labels": labels},
        "spec": {
            "clusterIP": cluster_ip.to_string(),
            "ports": [port("dns", "UDP", 53), port("dns-tcp", "TCP", 53)],
        },
    });
    let slice = json!({
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": "kube-dns",
            "namespace": "kube-system",
            "labels": {"kubernetes.io/service-name": "kube-dns", "endpointslice.kubernetes.io/managed-by": "lateen"},
        },
        "addressType": "IPv4",
        "endpoints": [{"addresses": [listens.ip().to_string()], "conditions": {"ready": true}}],
        "ports": [port("dns", "UDP", listens.port()), port("dns-tcp", "TCP", listens.port())],
    });
    let endpoints = json!({
        "apiVersion": "v1",
        "kind": "Endpoints",
        "metadata": {
            "name": "kube-dns",
            "namespace": "kube-system",
            "labels": {"endpointslice.kubernetes.io/skip-mirror": "true"},
        },
        "subsets": [{"addresses": [{"ip": listens.ip().to_string()}],
            "ports": [port("dns", "UDP", listens.port()), port("dns-tcp", "TCP", listens.port())]}],
    });
    [service, slice, endpoints]
}
