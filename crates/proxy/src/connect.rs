//! Connecting to endpoints.

use std::fmt::Display;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use lateen_proxy_core::cluster::Cluster;
use lateen_proxy_core::endpoint::{Address, Endpoint, Transport};
use tokio::net::{TcpSocket, TcpStream, UnixStream};

use crate::io::Io;
use crate::sockopt;
use crate::tls::{TlsError, TlsInfo};
use crate::worker::Worker;

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Nothing listens there.
    #[error("connection refused by {0}")]
    Refused(String),
    /// It took too long.
    #[error("no connection to {address} within {limit:?}")]
    Timeout {
        /// Where to.
        address: String,
        /// The limit.
        limit: Duration,
    },
    /// The kernel says no.
    #[error("no connection to {address}: {error}")]
    Io {
        /// Where to.
        address: String,
        /// Why.
        error: io::Error,
    },
    /// The connection stands, but not TLS on it.
    #[error("{address}: {error}")]
    Tls {
        /// Where to.
        address: String,
        /// Why.
        error: TlsError,
    },
    /// This very proxy would be connected to.
    #[error("{0} is this proxy itself: the request would go round in circles")]
    Loop(String),
    /// Addresses that names stand for come from resolution.
    #[error("{0} is a name that was not resolved")]
    Unresolved(String),
}

/// A new connection.
pub struct Connected {
    /// The stream.
    pub io: Io,
    /// What the handshake told; `None` without TLS.
    pub tls: Option<TlsInfo>,
    /// Own address.
    pub local: Option<SocketAddr>,
}

/// What to ask for in TLS.
#[derive(Debug, Clone, Default)]
pub struct Ask<'a> {
    /// Application protocols in place of the configured ones.
    pub alpn: Option<&'a [Arc<str>]>,
    /// The request's host, for configurations that take the server name from it.
    pub host: Option<&'a str>,
}

/// Connects within the cluster's time limit.
pub async fn connect(
    worker: &Worker,
    cluster: &Cluster,
    endpoint: &Endpoint,
    ask: &Ask<'_>,
) -> Result<Connected, ConnectError> {
    let limit = cluster.connect_timeout;
    match tokio::time::timeout(limit, attempt(worker, cluster, endpoint, ask)).await {
        Ok(result) => result,
        Err(_) => Err(ConnectError::Timeout { address: endpoint.address.to_string(), limit }),
    }
}

async fn attempt(
    worker: &Worker,
    cluster: &Cluster,
    endpoint: &Endpoint,
    ask: &Ask<'_>,
) -> Result<Connected, ConnectError> {
    let (io, ip, local) = match &endpoint.address {
        Address::Socket(address) => {
            let mut reached = reach(worker, cluster, *address).await;
            for further in &endpoint.further {
                if reached.is_ok() {
                    break;
                }
                // Where none is reached, the preferred address tells why.
                reached = reach(worker, cluster, *further).await.or(reached);
            }
            let (stream, address) = reached?;
            let local = stream.local_addr().ok();
            (Io::from(stream), address.ip(), local)
        }
        Address::Pipe(path) => {
            let stream = UnixStream::connect(&**path).await.map_err(|error| failed(&endpoint.address, error))?;
            (Io::from(stream), IpAddr::from([127, 0, 0, 1]), None)
        }
        Address::Name(name, _) => return Err(ConnectError::Unresolved(name.to_string())),
    };
    let Transport::Tls(tls) = &endpoint.transport else { return Ok(Connected { io, tls: None, local }) };
    let alpn = ask.alpn.unwrap_or(&tls.common.alpn);
    let sni = tls.sni.as_deref().or(ask.host.filter(|_| tls.sni_from_host));
    let connecting = worker.tls.connect(tls, alpn, sni, ip, io);
    let (io, info) =
        connecting.await.map_err(|error| ConnectError::Tls { address: endpoint.address.to_string(), error })?;
    Ok(Connected { io, tls: Some(info), local })
}

fn failed(address: &impl Display, error: io::Error) -> ConnectError {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => ConnectError::Refused(address.to_string()),
        _ => ConnectError::Io { address: address.to_string(), error },
    }
}

async fn reach(
    worker: &Worker,
    cluster: &Cluster,
    address: SocketAddr,
) -> Result<(TcpStream, SocketAddr), ConnectError> {
    if worker.is_own(address) {
        return Err(ConnectError::Loop(address.to_string()));
    }
    let stream = tcp(worker, cluster, address).await.map_err(|error| failed(&address, error))?;
    Ok((stream, address))
}

async fn tcp(worker: &Worker, cluster: &Cluster, address: SocketAddr) -> io::Result<TcpStream> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_nodelay(true)?;
    if let Some(mark) = worker.options.mark {
        sockopt::set_mark(&socket, mark)?;
    }
    if let Some(keepalive) = &cluster.keepalive {
        sockopt::set_keepalive(&socket, keepalive)?;
    }
    if let Some(source) = cluster.bind.iter().find(|source| source.is_ipv4() == address.is_ipv4()) {
        sockopt::bind_late(&socket)?;
        socket.bind(*source)?;
    }
    socket.connect(address).await
}
