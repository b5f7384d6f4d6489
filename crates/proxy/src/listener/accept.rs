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

async fn serve(worker: Rc<Worker>, bound: Arc<Listener>, stream: TcpStream, direct: SocketAddr) {
    let open = worker.opened();
    let _ = stream.set_nodelay(true);
    let Ok(local) = stream.local_addr() else { return };
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
            return;
        }
    };
    let sniffed = match sniff(&stream, &mut inbuf, &listener.sniff, destination.port()).await {
        Ok(sniffed) => sniffed,
        Err(error) => {
            tracing::debug!(listener = %listener.name, %remote, %error, "connection dropped");
            return;
        }
    };
    let Some(chain) = chain(&listener, &sniffed, destination, (direct, remote)) else {
        if inbuf.is_empty() && sniffed.ended {
            return;
        }
        tcp::refuse(&worker, &listener, &sniffed, destination, remote, Flag::NoRouteFound, "filter_chain_not_found");
        return;
    };
    let sni = sniffed.server_name.as_deref().map(Arc::from);
    let accepted = match secure(&worker, &chain, &sniffed, stream, inbuf).await {
        Ok(accepted) => accepted,
        Err(error) => {
            tracing::debug!(listener = %listener.name, %remote, %error, "connection dropped");
            let flag = Flag::DownstreamProtocolError;
            tcp::refuse(&worker, &listener, &sniffed, destination, remote, flag, &error.to_string());
            return;
        }
    };
    let (stream, inbuf, tls) = accepted;
    let accepted = Accepted { worker, listener, chain, destination, remote, tls, sni, open };
    dispatch(accepted.into(), stream, inbuf).await;
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

async fn dispatch(conn: Conn, stream: Stream, inbuf: Inbuf) {
    match conn.chain.terminal.clone() {
        Terminal::Http(hcm) => http::serve(conn, hcm, stream, inbuf).await,
        Terminal::Tcp(proxy) => tcp::serve(conn, proxy, stream, inbuf).await,
        Terminal::Close(why) => {
            tracing::debug!(listener = %conn.listener.name, remote = %conn.remote, %why, "connection closed");
        }
    }
}
