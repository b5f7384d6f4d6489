use std::fmt;

use lateen_mesh::Hostname;

/// The cluster for traffic that keeps its original destination.
pub const PASSTHROUGH: &str = "PassthroughCluster";
/// The cluster for traffic that goes nowhere.
pub const BLACK_HOLE: &str = "BlackHoleCluster";
/// The cluster for inbound traffic to ports without a service.
pub const INBOUND_PASSTHROUGH: &str = "InboundPassthroughCluster";

/// Name of the cluster of a service port, optionally of a subset: `outbound|80|v1|web.default.svc.cluster.local`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClusterName {
    /// Service port.
    pub port: u16,
    /// Subset; empty for all endpoints.
    pub subset: String,
    /// Host of the service.
    pub host: Hostname,
}

impl ClusterName {
    /// The name from its parts.
    pub fn outbound(port: u16, subset: &str, host: &Hostname) -> Self {
        Self { port, subset: subset.to_owned(), host: host.clone() }
    }

    /// Reads a name; `None` if it is not that of a service port.
    pub fn parse(name: &str) -> Option<Self> {
        let parts: Vec<&str> = name.split('|').collect();
        match parts.as_slice() {
            ["outbound", port, subset, host] if !host.is_empty() => {
                Some(Self { port: port.parse().ok()?, subset: (*subset).to_owned(), host: Hostname::new(host) })
            }
            _ => None,
        }
    }

    /// The server name that the mesh's own TLS sends: `outbound_.80_.v1_.web.default.svc.cluster.local`.
    pub fn sni(&self) -> String {
        format!("outbound_.{}_.{}_.{}", self.port, self.subset, self.host)
    }
}

impl fmt::Display for ClusterName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "outbound|{}|{}|{}", self.port, self.subset, self.host)
    }
}

/// Name of the cluster for a port of the workload.
pub fn inbound(port: u16) -> String {
    format!("inbound|{port}||")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_written_and_read() {
        let name = ClusterName::outbound(80, "v1", &Hostname::new("web.default.svc.cluster.local"));
        assert_eq!(name.to_string(), "outbound|80|v1|web.default.svc.cluster.local");
        assert_eq!(ClusterName::parse(&name.to_string()), Some(name.clone()));
        assert_eq!(name.sni(), "outbound_.80_.v1_.web.default.svc.cluster.local");
        for other in ["inbound|80||", "outbound|x||h", "outbound|80||", "PassthroughCluster"] {
            assert_eq!(ClusterName::parse(other), None, "{other}");
        }
    }
}
