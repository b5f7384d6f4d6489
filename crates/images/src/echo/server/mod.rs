//! The echo server: every port of the command line, each with its protocol.

mod connection;
mod grpc;
mod http;
mod order;
mod tcp;
mod tls;

use std::{
    collections::BTreeMap,
    fmt::Write,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use rustls::ServerConfig;
use tokio::{net::TcpListener, task::JoinSet};

use super::{
    lines::Lines,
    options::{Bind, Kind, Options, Port},
};
use crate::serve;
use connection::Connection;

/// The greeting of a server that speaks first.
pub(super) const GREETING: &str = "server-first-protocol\n";

/// What all connections share.
struct Server {
    options: Options,
    hostname: String,
    /// For ports with HTTP, for gRPC, and for bytes.
    tls: Option<[Arc<ServerConfig>; 3]>,
    requests: BTreeMap<u16, AtomicU64>,
}

/// Listens on every port and serves until SIGTERM.
pub(super) async fn run(options: Options) -> Result<(), String> {
    let tls = options.ports.iter().any(|port| port.tls).then(|| tls::configs(&options)).transpose()?;
    let requests = options.ports.iter().map(|port| (port.number, AtomicU64::new(0))).collect();
    let server = Arc::new(Server { options, hostname: hostname(), tls, requests });
    let mut serving = JoinSet::new();
    for port in &server.options.ports {
        let address = address(port)?;
        let listener = listen(&address).await?;
        println!("{:?} server is listening on {address}{}", port.kind, if port.tls { ", TLS" } else { "" });
        serving.spawn(serve_port(server.clone(), port.clone(), listener));
    }
    if let Some(port) = server.options.metrics {
        let listener = listen(&format!(":{port}")).await?;
        let server = server.clone();
        serving.spawn(serve::serve(listener, move |request, _| {
            let answer = http::metrics(&server, request.uri().path());
            async move { answer }
        }));
    }
    while let Some(ended) = serving.join_next().await {
        ended.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
    }
    Ok(())
}

async fn serve_port(server: Arc<Server>, port: Port, listener: TcpListener) -> std::io::Result<()> {
    serve::accept(listener, move |stream, peer, stopped| {
        connection::serve(server.clone(), port.clone(), stream, peer, stopped)
    })
    .await
}

async fn listen(address: &str) -> Result<TcpListener, String> {
    serve::listen(address).await.map_err(|error| format!("can't listen on {address}: {error}"))
}

fn address(port: &Port) -> Result<String, String> {
    let number = port.number;
    match port.bind {
        Bind::All => Ok(format!(":{number}")),
        Bind::Localhost => Ok(format!("127.0.0.1:{number}")),
        Bind::Instance => {
            let ip: std::net::IpAddr = std::env::var("INSTANCE_IP").ok().and_then(|ip| ip.parse().ok()).ok_or_else(|| {
                format!("--bind-ip={number} needs the pod's address in the environment: set INSTANCE_IP from status.podIP")
            })?;
            Ok(SocketAddr::new(ip, number).to_string())
        }
    }
}

fn hostname() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default().trim().to_owned()
}

impl Server {
    /// Counts a request, or a connection of bytes.
    fn count(&self, port: &Port) {
        if let Some(counter) = self.requests.get(&port.number) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The lines about this server that every protocol's answer has.
    fn describe(&self, lines: &mut Lines, port: &Port, connection: &Connection) {
        lines.field("ServiceVersion", &self.options.version);
        lines.field("ServicePort", port.number);
        lines.field("Cluster", &self.options.cluster);
        lines.field("IstioVersion", &self.options.istio_version);
        lines.field("Namespace", &self.options.namespace);
        lines.field("IP", connection.peer.ip());
        lines.optional("ProxyProtocol", connection.proxy_protocol);
        if let Some(tls) = &connection.tls {
            lines.field("Alpn", &tls.alpn);
            lines.field("Sni", &tls.server_name);
            if let Some((subject, serial)) = tls.client() {
                lines.field("ClientCertSubject", subject);
                lines.field("ClientCertSerialNumber", serial);
            }
        }
    }

    /// The counters, as Prometheus reads them.
    fn metrics(&self) -> String {
        let mut text = String::from("# TYPE istio_echo_requests_total counter\n");
        for port in &self.options.ports {
            let protocol = match port.kind {
                Kind::Http => "http",
                Kind::Grpc => "grpc",
                Kind::Tcp => "tcp",
            };
            let count = self.requests.get(&port.number).map_or(0, |counter| counter.load(Ordering::Relaxed));
            let number = port.number;
            let _ = writeln!(text, "istio_echo_requests_total{{protocol=\"{protocol}\",port=\"{number}\"}} {count}");
        }
        text
    }
}
