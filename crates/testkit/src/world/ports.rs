//! The ports of every echo workload.

/// One port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Port {
    /// Its name in the Service, and the protocol that goes with it.
    pub name: &'static str,
    /// The port of the Service, where it has one.
    pub service: Option<u16>,
    /// The port of the container.
    pub container: u16,
    /// What a client speaks.
    pub scheme: &'static str,
    /// The server's flag for it.
    pub(super) flag: &'static str,
    /// Further flags that name it.
    pub(super) also: &'static [&'static str],
}

impl Port {
    /// Whether the server speaks first.
    #[must_use]
    pub fn server_first(&self) -> bool {
        self.also.contains(&"server-first")
    }

    /// The port called `name`.
    #[must_use]
    pub fn find(name: &str) -> Option<&'static Port> {
        PORTS.iter().find(|port| port.name == name)
    }
}

const fn port(
    name: &'static str,
    service: u16,
    container: u16,
    scheme: &'static str,
    flag: &'static str,
    also: &'static [&'static str],
) -> Port {
    let service = if service == 0 { None } else { Some(service) };
    Port { name, service, container, scheme, flag, also }
}

/// All of them. Those called `auto-` have no protocol in the Service: the mesh finds out.
pub const PORTS: [Port; 19] = [
    port("http", 80, 18080, "http", "port", &[]),
    port("http2", 85, 18085, "http", "port", &[]),
    port("grpc", 7070, 17070, "grpc", "grpc", &[]),
    port("tcp", 9090, 19090, "tcp", "tcp", &[]),
    port("https", 443, 18443, "https", "port", &["tls"]),
    port("tcp-server", 9091, 16060, "tcp", "tcp", &["server-first"]),
    port("auto-tcp", 9092, 19091, "tcp", "tcp", &[]),
    port("auto-tcp-server", 9093, 16061, "tcp", "tcp", &["server-first"]),
    port("auto-http", 81, 18081, "http", "port", &[]),
    port("auto-grpc", 7071, 17071, "grpc", "grpc", &[]),
    port("auto-https", 9443, 19443, "https", "port", &["tls"]),
    port("http-instance", 82, 18082, "http", "port", &["bind-ip"]),
    port("http-localhost", 84, 18084, "http", "port", &["bind-localhost"]),
    port("tcp-for-http", 86, 18086, "http", "port", &[]),
    port("tcp-proxy", 87, 18087, "http", "port", &["proxy-protocol"]),
    port("tcp-wl-only", 0, 19092, "tcp", "tcp", &[]),
    port("http-wl-only", 0, 18083, "http", "port", &[]),
    // Where probes ask.
    port("http-8080", 0, 8080, "http", "port", &[]),
    port("tcp-health-port", 0, 3333, "http", "port", &[]),
];
