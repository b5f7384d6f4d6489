//! Application protocols and how a port declares them.

use serde::{Deserialize, Serialize};

/// What is spoken on a port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Protocol {
    /// Not declared: found out from the first bytes.
    #[default]
    Auto,
    /// HTTP/1.1
    Http,
    /// HTTP/2 without TLS.
    Http2,
    /// gRPC
    Grpc,
    /// gRPC-Web
    GrpcWeb,
    /// HTTP in TLS that the mesh does not terminate.
    Https,
    /// TLS that the mesh does not terminate.
    Tls,
    /// Any other TCP.
    Tcp,
    /// MongoDB
    Mongo,
    /// Redis
    Redis,
    /// MySQL
    MySql,
    /// UDP; never proxied.
    Udp,
}

/// Ports whose protocols have the server speak first, so that nothing can be found out from the client.
const SERVER_FIRST: [u16; 4] = [25, 53, 3306, 27017];

impl Protocol {
    /// A protocol by its name, as in `protocol:` of a Gateway or ServiceEntry; unknown names are [`Protocol::Auto`].
    pub fn parse(name: &str) -> Self {
        match name.to_ascii_lowercase().as_str() {
            "http" | "http1" => Self::Http,
            "http2" | "kubernetes.io/h2c" => Self::Http2,
            "grpc" => Self::Grpc,
            "grpc-web" => Self::GrpcWeb,
            "https" | "kubernetes.io/wss" => Self::Https,
            "kubernetes.io/ws" => Self::Http,
            "tls" => Self::Tls,
            "tcp" => Self::Tcp,
            "mongo" => Self::Mongo,
            "redis" => Self::Redis,
            "mysql" => Self::MySql,
            "udp" => Self::Udp,
            _ => Self::Auto,
        }
    }

    /// The protocol of a Kubernetes service port: `appProtocol` if known, else the name's prefix, else by number.
    pub fn of_service_port(port: u16, name: &str, app_protocol: Option<&str>, transport: &str) -> Self {
        if transport.eq_ignore_ascii_case("UDP") {
            return Self::Udp;
        }
        let declared = app_protocol.map_or(Self::Auto, Self::parse);
        if declared != Self::Auto {
            return declared;
        }
        match Self::of_port_name(name) {
            Self::Auto if SERVER_FIRST.contains(&port) => Self::Tcp,
            protocol => protocol,
        }
    }

    fn of_port_name(name: &str) -> Self {
        let name = name.to_ascii_lowercase();
        if name == "grpc-web" || name.starts_with("grpc-web-") {
            return Self::GrpcWeb;
        }
        Self::parse(name.split('-').next().unwrap_or_default())
    }

    /// Is it HTTP that the proxy understands.
    pub fn is_http(self) -> bool {
        matches!(self, Self::Http | Self::Http2 | Self::Grpc | Self::GrpcWeb)
    }

    /// Is it always HTTP/2.
    pub fn is_http2(self) -> bool {
        matches!(self, Self::Http2 | Self::Grpc | Self::GrpcWeb)
    }

    /// Is it TLS that the proxy passes on.
    pub fn is_tls(self) -> bool {
        matches!(self, Self::Https | Self::Tls)
    }

    /// Is it found out from the first bytes.
    pub fn is_auto(self) -> bool {
        self == Self::Auto
    }

    /// Is it proxied as a plain stream.
    pub fn is_tcp(self) -> bool {
        matches!(self, Self::Tcp | Self::Mongo | Self::Redis | Self::MySql) || self.is_tls()
    }
}

/// A port of a service.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Port {
    /// Number that clients use.
    pub number: u16,
    /// Name, unique in the service; may be empty.
    pub name: String,
    /// What is spoken.
    pub protocol: Protocol,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_says_its_protocol() {
        use Protocol::*;
        for (port, name, app, transport, expect) in [
            (80, "http", None, "TCP", Http),
            (80, "http-web", None, "TCP", Http),
            (80, "", None, "TCP", Auto),
            (80, "web", None, "TCP", Auto),
            (80, "tcp-x", Some("http"), "TCP", Http),
            (80, "http", Some("kubernetes.io/h2c"), "TCP", Http2),
            (80, "http", Some("unheard-of"), "TCP", Http),
            (443, "x", Some("kubernetes.io/wss"), "TCP", Https),
            (80, "grpc-web", None, "TCP", GrpcWeb),
            (80, "grpc-web-x", None, "TCP", GrpcWeb),
            (80, "grpc-x", None, "TCP", Grpc),
            (3306, "db", None, "TCP", Tcp),
            (3306, "http", None, "TCP", Http),
            (53, "dns", None, "UDP", Udp),
            (80, "HTTP2", None, "", Http2),
        ] {
            assert_eq!(Protocol::of_service_port(port, name, app, transport), expect, "{port} {name} {app:?}");
        }
    }
}
