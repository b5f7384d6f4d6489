//! From an accepted socket to the filter chain that serves it.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use lateen_proxy_core::chain::{FilterChain, Terminal};
use lateen_proxy_core::listener::Listener;
use lateen_proxy_core::{ConnInfo, Flag};
use tokio::net::{TcpListener, TcpStream};

use super::{Accepted, Conn, proxy_protocol};
use crate::buffer::Inbuf;
use crate::io::{Io, Stream};
use crate::sniff::{Sniffed, sniff};
use crate::tls::TlsInfo;
use crate::worker::Worker;
use crate::{http, sockopt, tcp};

/// Pause after the kernel refused to accept, which it does when files run out.
const PAUSE: Duration = Duration::from_millis(50);

/// Accepts connections for the listener `name` until it is stopped.
pub async fn accept(worker: Rc<Worker>, name: Arc<str>, socket: TcpListener) {
    loop {
        match socket.accept().await {
            Ok((stream, remote)) => {
                let tables = worker.view.tables();
                let Some(listener) = tables.listener(&name) else { continue };
                tokio::task::spawn_local(serve(worker.clone(), listener.clone(), stream, remote));
            }
            Err(error) => {
                tracing::warn!(listener = %name, %error, "can't accept a connection");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// Serves one connection. Each stage is a future of its own on the heap: one that rests between requests holds no room for
/// the others.
async fn serve(worker: Rc<Worker>, bound: Arc<Listener>, stream: TcpStream, direct: SocketAddr) {
    let Some((conn, stream, inbuf)) = Box::pin(admit(worker, bound, stream, direct)).await else { return };
    match conn.chain.terminal.clone() {
        Terminal::Http(hcm) => http::serve(conn, hcm, stream, inbuf).await,
        Terminal::Tcp(proxy) => Box::pin(tcp::serve(conn, proxy, stream, inbuf)).await,
        Terminal::Close(why) => {
            tracing::debug!(listener = %conn.listener.name, remote = %conn.remote, %why, "connection closed");
        }
    }
}

/// Finds out what a connection is, and ends TLS on it; `None` when it isn't served.
async fn admit(
    worker: Rc<Worker>,
    bound: Arc<Listener>,
    stream: TcpStream,
    direct: SocketAddr,
) -> Option<(Rc<Conn>, Stream, Inbuf)> {
    let open = worker.opened();
    let _ = stream.set_nodelay(true);
    let local = stream.local_addr().ok()?;
    let destination = original(&worker, &bound, &stream, direct, local).unwrap_or(local);
    let tables = worker.view.tables();
    let listener = tables.by_destination(&bound, destination).clone();
    drop(tables);
    let stream = Stream::from(Io::from(stream));
    let mut inbuf = Inbuf::default();
    let remote = match client(&listener, &stream, &mut inbuf).await {
        Ok(client) => client.unwrap_or(direct),
        Err(error) => {
            tracing::debug!(listener = %listener.name, %direct, %error, "connection dropped");
            return None;
        }
    };
    let sniffed = match sniff(&stream, &mut inbuf, &listener.sniff, destination.port()).await {
        Ok(sniffed) => sniffed,
        Err(error) => {
            tracing::debug!(listener = %listener.name, %remote, %error, "connection dropped");
            return None;
        }
    };
    let Some(chain) = chain(&listener, &sniffed, destination, (direct, remote)) else {
        if !(inbuf.is_empty() && sniffed.ended) {
            let flag = Flag::NoRouteFound;
            tcp::refuse(&worker, &listener, &sniffed, destination, remote, flag, "filter_chain_not_found");
        }
        return None;
    };
    let sni = sniffed.server_name.as_deref().map(Arc::from);
    match secure(&worker, &chain, &sniffed, stream, inbuf).await {
        Ok((stream, inbuf, tls)) => {
            let accepted = Accepted { worker, listener, chain, destination, remote, tls, sni, open };
            Some((Rc::new(accepted.into()), stream, inbuf))
        }
        Err(error) => {
            tracing::debug!(listener = %listener.name, %remote, %error, "connection dropped");
            let flag = Flag::DownstreamProtocolError;
            tcp::refuse(&worker, &listener, &sniffed, destination, remote, flag, &error.to_string());
            None
        }
    }
}

/// Who the client is, where a load balancer in front says so.
async fn client(listener: &Listener, stream: &Stream, inbuf: &mut Inbuf) -> io::Result<Option<SocketAddr>> {
    if listener.proxy_protocol { proxy_protocol::read(stream, inbuf).await } else { Ok(None) }
}

fn original(
    worker: &Worker,
    listener: &Listener,
    stream: &TcpStream,
    remote: SocketAddr,
    local: SocketAddr,
) -> Option<SocketAddr> {
    if !listener.original_dst {
        return None;
    }
    match &worker.options.original_dst {
        Some(hook) => hook(remote, local),
        None => sockopt::original_dst(stream),
    }
}

fn chain(
    listener: &Listener,
    sniffed: &Sniffed,
    destination: SocketAddr,
    (direct, remote): (SocketAddr, SocketAddr),
) -> Option<Arc<FilterChain>> {
    let protocols: Vec<&str> = sniffed.protocols.iter().map(String::as_str).collect();
    let info = ConnInfo {
        destination,
        source: remote,
        direct_source: direct,
        transport: sniffed.transport,
        server_name: sniffed.server_name.as_deref(),
        application_protocols: &protocols,
    };
    listener.filter_chain(&info).cloned()
}

/// Ends TLS here when the chain says so.
async fn secure(
    worker: &Worker,
    chain: &FilterChain,
    sniffed: &Sniffed,
    stream: Stream,
    inbuf: Inbuf,
) -> Result<(Stream, Inbuf, Option<TlsInfo>), crate::tls::TlsError> {
    let Some(tls) = &chain.tls else { return Ok((stream, inbuf, None)) };
    let io = stream.into_io(inbuf.bytes());
    let (io, info) = worker.tls.accept(tls, &sniffed.protocols, chain.handshake_timeout, io).await?;
    Ok((Stream::from(io), Inbuf::default(), Some(info)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Room for one connection in the runtime's task, whatever it is doing; what it does for a while is on the heap.
    fn task<F: Future, A, B, C, D>(_: impl Fn(A, B, C, D) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn an_idle_connection_is_small() {
        let size = task(serve);
        assert!(size <= 2048, "{size} bytes for each connection");
    }
}
