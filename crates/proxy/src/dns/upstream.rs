//! Queries that the mesh cannot answer go to the pod's own nameservers.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use nix::sys::socket::{setsockopt, sockopt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, UdpSocket};
use tokio::time::timeout;

use super::answer;

/// The port on which DNS is served.
const DNS_PORT: u16 = 53;
/// Largest UDP answer that is read.
const MAX_UDP: usize = 64 << 10;

/// The pod's nameservers.
#[derive(Clone, Debug)]
pub(super) struct Upstream {
    pub(super) servers: Vec<SocketAddr>,
    pub(super) timeout: Duration,
    pub(super) mark: Option<u32>,
}

impl Upstream {
    pub(super) fn new(servers: &[IpAddr], timeout: Duration, mark: Option<u32>) -> Upstream {
        let servers = servers.iter().map(|ip| SocketAddr::new(*ip, DNS_PORT)).collect();
        Upstream { servers, timeout, mark }
    }

    /// Asks one server after the other; `None` when none answered.
    pub(super) async fn ask(&self, query: &[u8], tcp: bool) -> Option<Vec<u8>> {
        for server in &self.servers {
            let attempt =
                async { if tcp { self.ask_tcp(*server, query).await } else { self.ask_udp(*server, query).await } };
            match timeout(self.timeout, attempt).await {
                Ok(Ok(answer)) => return Some(answer),
                Ok(Err(error)) => tracing::debug!(%server, %error, "a nameserver failed"),
                Err(_) => tracing::debug!(%server, "a nameserver did not answer in time"),
            }
        }
        None
    }

    /// With an id and a port of our own, so that nobody else can answer.
    async fn ask_udp(&self, server: SocketAddr, query: &[u8]) -> io::Result<Vec<u8>> {
        let any: IpAddr = if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        let socket = UdpSocket::bind((any, 0)).await?;
        if let Some(mark) = self.mark {
            setsockopt(&socket, sockopt::Mark, &mark)?;
        }
        socket.connect(server).await?;
        let (question, id) = with_id(query, fastrand::u16(..));
        socket.send(&question).await?;
        let mut buffer = vec![0; MAX_UDP];
        loop {
            let len = socket.recv(&mut buffer).await?;
            let received = &buffer[..len];
            if received.starts_with(&id) && answer::answers(&question, received) {
                return Ok(with_id_of(received, query));
            }
        }
    }

    async fn ask_tcp(&self, server: SocketAddr, query: &[u8]) -> io::Result<Vec<u8>> {
        let socket = if server.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        if let Some(mark) = self.mark {
            setsockopt(&socket, sockopt::Mark, &mark)?;
        }
        let mut stream = socket.connect(server).await?;
        write_framed(&mut stream, query).await?;
        read_framed(&mut stream).await
    }
}

fn with_id(query: &[u8], id: u16) -> (Vec<u8>, [u8; 2]) {
    let id = id.to_be_bytes();
    let mut copy = query.to_vec();
    if let Some(place) = copy.get_mut(..2) {
        place.copy_from_slice(&id);
    }
    (copy, id)
}

fn with_id_of(answer: &[u8], query: &[u8]) -> Vec<u8> {
    let id = query.get(..2).map_or(0, |id| u16::from_be_bytes([id[0], id[1]]));
    with_id(answer, id).0
}

/// Reads a message as TCP carries it: its length first.
pub(super) async fn read_framed(stream: &mut (impl AsyncReadExt + Unpin)) -> io::Result<Vec<u8>> {
    let len = stream.read_u16().await?;
    let mut message = vec![0; usize::from(len)];
    stream.read_exact(&mut message).await?;
    Ok(message)
}

/// Writes a message as TCP carries it.
pub(super) async fn write_framed(stream: &mut (impl AsyncWriteExt + Unpin), message: &[u8]) -> io::Result<()> {
    let len = u16::try_from(message.len()).map_err(|_| io::Error::other("message too long"))?;
    let mut framed = Vec::with_capacity(message.len() + 2);
    framed.extend_from_slice(&len.to_be_bytes());
    framed.extend_from_slice(message);
    stream.write_all(&framed).await
}
