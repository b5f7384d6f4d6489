//! The DNS server's sockets.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hickory_proto::op::{Message, Query, ResponseCode};
use parking_lot::RwLock;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::answer::{Decision, datagram_limit, decide, failure};
use super::forward::Upstreams;
use super::zone::Zone;

/// Connections at the same time.
const CONNECTIONS: usize = 128;
/// How long a connection may be silent.
const IDLE: Duration = Duration::from_secs(10);

/// The present zone, shared between who builds it and who answers from it.
#[derive(Clone, Default)]
pub struct Zones(Arc<RwLock<Arc<Zone>>>);

impl Zones {
    /// Answer from this zone from now on.
    pub fn publish(&self, zone: Zone) {
        *self.0.write() = Arc::new(zone);
    }

    /// The present zone.
    #[must_use]
    pub fn now(&self) -> Arc<Zone> {
        Arc::clone(&self.0.read())
    }
}

/// Both sockets of the server, on one address.
pub struct Sockets {
    udp: UdpSocket,
    tcp: TcpListener,
}

impl Sockets {
    /// Bind both; port 0 takes a free one, the same for both.
    pub async fn bind(address: SocketAddr) -> io::Result<Self> {
        let mut tries = 0;
        loop {
            let udp = UdpSocket::bind(address).await?;
            match TcpListener::bind(udp.local_addr()?).await {
                Ok(tcp) => return Ok(Self { udp, tcp }),
                // Free for datagrams needn't be free for connections.
                Err(error) if error.kind() == io::ErrorKind::AddrInUse && address.port() == 0 && tries < 32 => {
                    tries += 1;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// The address they are bound to.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.udp.local_addr()
    }
}

/// Answer on `sockets` until the result is dropped.
#[must_use]
pub fn serve(sockets: Sockets, zones: Zones, upstreams: Upstreams) -> JoinSet<()> {
    let resolver = Resolver { zones, upstreams };
    let mut tasks = JoinSet::new();
    tasks.spawn(serve_udp(Arc::new(sockets.udp), resolver.clone()));
    tasks.spawn(serve_tcp(sockets.tcp, resolver));
    tasks
}

#[derive(Clone)]
struct Resolver {
    zones: Zones,
    upstreams: Upstreams,
}

/// An answer, or a question that others must answer first.
enum First {
    Ready(Message),
    Ask(Box<Message>, Box<Decision>),
}

impl Resolver {
    /// What can be said without waiting. `None` for what is no DNS message at all.
    fn first(&self, bytes: &[u8]) -> Option<First> {
        let query = Message::from_vec(bytes).ok()?;
        Some(match decide(&self.zones.now(), &query) {
            Decision::Answer(answer) => First::Ready(answer),
            other => First::Ask(Box::new(query), Box::new(other)),
        })
    }

    /// The answer in wire form once others have been asked.
    async fn ask(&self, query: &Message, bytes: &[u8], what: Decision, tcp: bool) -> Option<Vec<u8>> {
        let (name, result) = match what {
            Decision::Answer(answer) => return answer.to_vec().ok(),
            Decision::Forward => {
                let name = query.queries.first().map(|q| q.name().to_ascii());
                (name.unwrap_or_default(), self.upstreams.ask(bytes, tcp).await)
            }
            Decision::Chase(start, question) => {
                let name = question.name().to_ascii();
                let foreign = foreign_query(question).to_vec().ok()?;
                match self.upstreams.ask(&foreign, tcp).await {
                    Ok(found) => return joined(start, &found)?.to_vec().ok(),
                    Err(error) => (name, Err(error)),
                }
            }
        };
        match result {
            Ok(answer) => Some(answer),
            Err(error) => {
                tracing::warn!(name, %error, "cannot resolve a name outside the cluster");
                failure(query, ResponseCode::ServFail).to_vec().ok()
            }
        }
    }
}

fn foreign_query(question: Query) -> Message {
    let mut query = Message::query();
    query.metadata.recursion_desired = true;
    query.add_query(question);
    query
}

fn joined(mut start: Message, found: &[u8]) -> Option<Message> {
    let found = Message::from_vec(found).ok()?;
    start.add_answers(found.answers);
    start.metadata.response_code = found.metadata.response_code;
    Some(start)
}

/// `answer` in wire form, cut to what a datagram may carry.
fn datagram(answer: &Message, limit: usize) -> Option<Vec<u8>> {
    let bytes = answer.to_vec().ok()?;
    if bytes.len() <= limit {
        return Some(bytes);
    }
    answer.truncate().to_vec().ok()
}

async fn serve_udp(socket: Arc<UdpSocket>, resolver: Resolver) {
    let mut buffer = vec![0; 4096];
    loop {
        let (length, peer) = match socket.recv_from(&mut buffer).await {
            Ok(received) => received,
            Err(error) => {
                // A client's closed port comes back as an error here; it is no reason to end.
                tracing::debug!(%error, "DNS datagram not received");
                continue;
            }
        };
        match resolver.first(&buffer[..length]) {
            None => {}
            Some(First::Ready(answer)) => {
                let limit = Message::from_vec(&buffer[..length]).map_or(512, |q| datagram_limit(&q));
                if let Some(bytes) = datagram(&answer, limit) {
                    let _ = socket.send_to(&bytes, peer).await;
                }
            }
            Some(First::Ask(query, what)) => {
                let (socket, resolver) = (Arc::clone(&socket), resolver.clone());
                let bytes = buffer[..length].to_vec();
                tokio::spawn(async move {
                    if let Some(answer) = resolver.ask(&query, &bytes, *what, false).await {
                        let _ = socket.send_to(&answer, peer).await;
                    }
                });
            }
        }
    }
}

async fn serve_tcp(listener: TcpListener, resolver: Resolver) {
    let slots = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((stream, _)) => {
                let resolver = resolver.clone();
                tokio::spawn(async move {
                    let _ = serve_connection(stream, &resolver).await;
                    drop(slot);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "DNS connection not accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn serve_connection(mut stream: TcpStream, resolver: &Resolver) -> io::Result<()> {
    loop {
        let mut bytes = vec![0; usize::from(timeout(IDLE, stream.read_u16()).await??)];
        timeout(IDLE, stream.read_exact(&mut bytes)).await??;
        let answer = match resolver.first(&bytes) {
            None => return Ok(()),
            Some(First::Ready(answer)) => answer.to_vec().ok(),
            Some(First::Ask(query, what)) => resolver.ask(&query, &bytes, *what, true).await,
        };
        let Some(answer) = answer else { return Ok(()) };
        let length = u16::try_from(answer.len()).map_err(|_| io::ErrorKind::InvalidData)?;
        stream.write_all(&[&length.to_be_bytes()[..], &answer].concat()).await?;
    }
}

#[cfg(test)]
#[path = "server_tests.rs"]
mod tests;
