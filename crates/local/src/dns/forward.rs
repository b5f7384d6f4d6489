//! Questions about foreign names, asked of the host's name servers.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hickory_proto::op::Message;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::sandbox::outside::Outside;
use crate::services::relay;

/// How long one name server may take.
const PATIENCE: Duration = Duration::from_secs(2);
/// Questions under way at the same time.
const AT_ONCE: usize = 256;

/// Why a question stayed without answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is nobody to ask.
    #[error("no name server to ask: the host names none in /etc/resolv.conf, or the cluster has no way out")]
    NoServers,
    /// Too many questions wait.
    #[error("{AT_ONCE} questions to name servers wait already; try again")]
    Busy,
    /// None of the servers answered.
    #[error("no answer from name server {server}: {error}")]
    Failed {
        /// The last one asked.
        server: SocketAddr,
        /// What went wrong with it.
        error: io::Error,
    },
}

/// The name servers for foreign names.
#[derive(Clone)]
pub struct Upstreams {
    servers: Arc<[SocketAddr]>,
    slots: Arc<Semaphore>,
    /// The network to ask in, where it is not our own.
    outside: Option<Outside>,
}

impl Upstreams {
    /// Ask these servers, in this order.
    #[must_use]
    pub fn new(servers: impl Into<Arc<[SocketAddr]>>) -> Self {
        Self { servers: servers.into(), slots: Arc::new(Semaphore::new(AT_ONCE)), outside: None }
    }

    /// Ask in the host's network, where also name servers on its loopback address answer.
    #[must_use]
    pub(crate) fn through(self, outside: Outside) -> Self {
        Self { outside: Some(outside), ..self }
    }

    /// The servers named by the text of a `resolv.conf`.
    #[must_use]
    pub fn parse_resolv_conf(text: &str) -> Vec<SocketAddr> {
        text.lines()
            .filter_map(|line| line.trim().strip_prefix("nameserver"))
            .filter_map(|rest| rest.split_whitespace().next()?.parse().ok())
            .map(|ip: std::net::IpAddr| SocketAddr::new(ip, 53))
            .collect()
    }

    /// The first answer to `query` (in wire form) that a server gives.
    pub async fn ask(&self, query: &[u8], tcp: bool) -> Result<Vec<u8>, Error> {
        let _slot = self.slots.try_acquire().map_err(|_| Error::Busy)?;
        let mut last = Err(Error::NoServers);
        for server in self.servers.iter().copied() {
            let asked = async {
                if tcp {
                    ask_tcp(self.connect(server).await?, query).await
                } else {
                    ask_udp(self.datagrams_to(server).await?, query).await
                }
            };
            let answer = timeout(PATIENCE, asked).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
            match answer {
                Ok(answer) => return Ok(answer),
                Err(error) => last = Err(Error::Failed { server, error }),
            }
        }
        last
    }

    async fn connect(&self, server: SocketAddr) -> io::Result<TcpStream> {
        match &self.outside {
            Some(outside) => outside.connect(server).await,
            None => TcpStream::connect(server).await,
        }
    }

    async fn datagrams_to(&self, server: SocketAddr) -> io::Result<UdpSocket> {
        match &self.outside {
            Some(outside) => outside.datagrams_to(server).await,
            None => relay::connected(server).await,
        }
    }
}

async fn ask_udp(socket: UdpSocket, query: &[u8]) -> io::Result<Vec<u8>> {
    socket.send(query).await?;
    let mut buffer = vec![0; 4096];
    loop {
        let length = socket.recv(&mut buffer).await?;
        if answers(query, &buffer[..length]) {
            buffer.truncate(length);
            return Ok(buffer);
        }
    }
}

async fn ask_tcp(mut stream: TcpStream, query: &[u8]) -> io::Result<Vec<u8>> {
    let length = u16::try_from(query.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    stream.write_all(&[&length.to_be_bytes()[..], query].concat()).await?;
    let mut answer = vec![0; usize::from(stream.read_u16().await?)];
    stream.read_exact(&mut answer).await?;
    if answers(query, &answer) { Ok(answer) } else { Err(io::ErrorKind::InvalidData.into()) }
}

/// Whether `answer` belongs to `query`: same id, same question.
fn answers(query: &[u8], answer: &[u8]) -> bool {
    match (Message::from_vec(query), Message::from_vec(answer)) {
        (Ok(query), Ok(answer)) => query.metadata.id == answer.metadata.id && query.queries == answer.queries,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_servers_are_read_from_resolv_conf() {
        let text = "# nameserver 1.1.1.1\nsearch x\nnameserver 10.0.0.2 # main\nnameserver ::1\nnameserver bad\n";
        let servers = Upstreams::parse_resolv_conf(text);
        assert_eq!(servers, ["10.0.0.2:53".parse().unwrap(), "[::1]:53".parse().unwrap()]);
    }

    #[tokio::test]
    async fn without_servers_the_answer_is_a_clear_error_at_once() {
        let error = Upstreams::new([]).ask(&[], false).await.unwrap_err();
        assert!(error.to_string().contains("resolv.conf"));
    }
}
