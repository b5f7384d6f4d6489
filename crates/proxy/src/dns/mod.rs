//! The DNS proxy on port 15053: knows the mesh's names, passes everything else on to the pod's own nameservers.

mod answer;
mod table;
mod upstream;

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use lateen_api::nds::NameTable;
use parking_lot::Mutex;
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::Semaphore;

pub use table::{Found, LookupTable};

use crate::config::Config;
use crate::resolv_conf::ResolvConf;
use crate::telemetry::Telemetry;
use crate::xds_client::NameTables;
use answer::Reaction;
use upstream::Upstream;

/// Queries passed on at once; more are refused.
const MAX_FORWARDED: usize = 1024;
/// TCP connections at once.
const MAX_CONNECTIONS: usize = 64;
/// How long a TCP connection may be quiet.
const TCP_IDLE: Duration = Duration::from_secs(10);
/// Largest query over UDP.
const MAX_QUERY: usize = 4096;

/// The DNS proxy.
pub struct DnsProxy {
    namespace: String,
    domain: String,
    search: Vec<String>,
    table: Mutex<Arc<LookupTable>>,
    upstream: Upstream,
    forwarded: Arc<Semaphore>,
    telemetry: Arc<Telemetry>,
}

impl NameTables for DnsProxy {
    fn replace(&self, table: NameTable) {
        let table = LookupTable::new(&table, &self.namespace, &self.domain, &self.search);
        *self.table.lock() = Arc::new(table);
    }
}

impl DnsProxy {
    /// With no names yet; `resolv` is what the pod used before its queries were captured.
    pub fn new(config: &Config, resolv: ResolvConf, telemetry: Arc<Telemetry>) -> DnsProxy {
        DnsProxy {
            namespace: config.pod.namespace.clone(),
            domain: config.domain.clone(),
            upstream: Upstream::new(&resolv.nameservers, config.dns_timeout, config.mark),
            search: resolv.search,
            table: Mutex::default(),
            forwarded: Arc::new(Semaphore::new(MAX_FORWARDED)),
            telemetry,
        }
    }

    /// The names it answers for.
    pub fn table(&self) -> Arc<LookupTable> {
        self.table.lock().clone()
    }

    /// Opens the ports on loopback and serves from then on.
    pub fn open(self: Arc<Self>, port: u16) -> io::Result<()> {
        self.clone().open_on((Ipv4Addr::LOCALHOST, port).into())?;
        // A pod without IPv6 has no such address.
        if let Err(error) = self.open_on((Ipv6Addr::LOCALHOST, port).into()) {
            tracing::debug!(%error, "no DNS over IPv6");
        }
        Ok(())
    }

    fn open_on(self: Arc<Self>, address: SocketAddr) -> io::Result<()> {
        let udp = std::net::UdpSocket::bind(address)?;
        udp.set_nonblocking(true)?;
        let tcp = std::net::TcpListener::bind(address)?;
        tcp.set_nonblocking(true)?;
        tokio::spawn(self.clone().serve_udp(Arc::new(UdpSocket::from_std(udp)?)));
        tokio::spawn(self.serve_tcp(TcpListener::from_std(tcp)?));
        Ok(())
    }

    async fn serve_udp(self: Arc<Self>, socket: Arc<UdpSocket>) {
        let mut buffer = vec![0; MAX_QUERY];
        loop {
            let Ok((len, client)) = socket.recv_from(&mut buffer).await else { continue };
            let query = &buffer[..len];
            match self.react(query, true) {
                Reaction::Answer(answer) => drop(socket.send_to(&answer, client).await),
                Reaction::Ignore => {}
                Reaction::Forward => {
                    let (this, socket, query) = (self.clone(), socket.clone(), query.to_vec());
                    tokio::spawn(async move {
                        if let Some(answer) = this.forward(&query, false).await {
                            let _ = socket.send_to(&answer, client).await;
                        }
                    });
                }
            }
        }
    }

    async fn serve_tcp(self: Arc<Self>, listener: TcpListener) {
        let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        loop {
            let Ok(permit) = room.clone().acquire_owned().await else { continue };
            match listener.accept().await {
                Ok((stream, _)) => {
                    let this = self.clone();
                    tokio::spawn(async move {
                        let _ = this.serve_stream(stream).await;
                        drop(permit);
                    });
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        }
    }

    async fn serve_stream(&self, mut stream: TcpStream) -> io::Result<()> {
        loop {
            let read = tokio::time::timeout(TCP_IDLE, upstream::read_framed(&mut stream));
            let query = read.await.map_err(|_| io::ErrorKind::TimedOut)??;
            let answer = match self.react(&query, false) {
                Reaction::Answer(answer) => Some(answer),
                Reaction::Ignore => return Ok(()),
                Reaction::Forward => self.forward(&query, true).await,
            };
            let Some(answer) = answer else { return Ok(()) };
            upstream::write_framed(&mut stream, &answer).await?;
        }
    }

    fn react(&self, query: &[u8], udp: bool) -> Reaction {
        self.telemetry.process().dns_requests.fetch_add(1, Relaxed);
        answer::react(query, &self.table(), udp, fastrand::shuffle)
    }

    async fn forward(&self, query: &[u8], tcp: bool) -> Option<Vec<u8>> {
        let process = self.telemetry.process();
        process.dns_upstream_requests.fetch_add(1, Relaxed);
        let answer = match self.forwarded.try_acquire() {
            Ok(_permit) => self.upstream.ask(query, tcp).await,
            Err(_) => None,
        };
        if answer.is_none() {
            process.dns_upstream_failures.fetch_add(1, Relaxed);
        }
        answer.or_else(|| answer::server_failure(query))
    }
}

#[cfg(test)]
mod tests;
