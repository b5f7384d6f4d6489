//! Plain words for errors made by the mesh.

use lateen_proxy_core::cluster::Cluster;
use lateen_proxy_core::endpoint::{Address, Endpoint};
use lateen_proxy_core::listener::Direction;

use crate::connect::ConnectError;
use crate::listener::Conn;
use crate::pool::AcquireError;

/// Why there is no way to an endpoint.
pub fn acquire(conn: &Conn, cluster: &Cluster, endpoint: &Endpoint, error: &AcquireError) -> String {
    match error {
        AcquireError::Connect(ConnectError::Refused(_)) => refused(conn, cluster, endpoint),
        AcquireError::Connect(ConnectError::Tls { .. }) => {
            format!("{error} (cluster {}); do both sides agree on mutual TLS?", cluster.name)
        }
        AcquireError::Full(full) => format!("{full} of cluster {}", cluster.name),
        _ => format!("{error} (cluster {})", cluster.name),
    }
}

/// Nothing listens at the endpoint's port: most often the Service names another port than the container's.
fn refused(conn: &Conn, cluster: &Cluster, endpoint: &Endpoint) -> String {
    let inbound = conn.listener.direction == Direction::Inbound;
    let declared = if inbound { &*conn.worker.options.container_ports } else { &*endpoint.container_ports };
    let Address::Socket(address) = &endpoint.address else {
        return format!("connection refused by {}", endpoint.address);
    };
    let port = address.port();
    let service = cluster.service().map(|service| &*service.name);
    match (declared, service) {
        ([], _) => format!("connection refused by {address}; nothing listens there (cluster {})", cluster.name),
        (ports, _) if ports.contains(&port) => {
            format!(
                "connection refused by {address}; port {port} is declared by a container, but nothing listens on it"
            )
        }
        (ports, Some(service)) => format!(
            "connection refused by {address}; no container behind Service `{service}` declares port {port}; did you \
             mean `targetPort: {}`?",
            alternatives(ports)
        ),
        (ports, None) => format!(
            "connection refused by {address}; no container declares port {port}; did you mean port {}?",
            alternatives(ports)
        ),
    }
}

fn alternatives(ports: &[u16]) -> String {
    let mut texts: Vec<String> = ports.iter().take(4).map(u16::to_string).collect();
    let last = texts.pop().unwrap_or_default();
    if texts.is_empty() { last } else { format!("{} or {last}", texts.join(", ")) }
}

/// No endpoint is fit.
pub fn no_endpoint(cluster: &Cluster) -> String {
    let known = cluster.endpoints.iter().count();
    if known == 0 {
        format!("cluster {} has no endpoints: does the Service select any ready pod?", cluster.name)
    } else {
        format!("none of the {known} endpoints of cluster {} is healthy", cluster.name)
    }
}
