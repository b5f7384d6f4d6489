//! Socket options that the standard library doesn't know.

use std::io;
use std::net::SocketAddr;

use lateen_proxy_core::cluster::Keepalive;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpSocket, TcpStream};

/// Marks the packets of a socket, so that capture rules know the proxy by it.
pub fn set_mark(socket: &TcpSocket, mark: u32) -> io::Result<()> {
    SockRef::from(socket).set_mark(mark)
}

/// Sets keep-alive.
pub fn set_keepalive(socket: &TcpSocket, keepalive: &Keepalive) -> io::Result<()> {
    let mut settings = TcpKeepalive::new();
    if let Some(time) = keepalive.time {
        settings = settings.with_time(time);
    }
    if let Some(interval) = keepalive.interval {
        settings = settings.with_interval(interval);
    }
    if let Some(probes) = keepalive.probes {
        settings = settings.with_retries(probes);
    }
    SockRef::from(socket).set_tcp_keepalive(&settings)
}

/// Leaves the choice of the source port to the moment of connecting: otherwise a source address has only as many
/// connections as there are ports.
pub fn bind_late(socket: &TcpSocket) -> io::Result<()> {
    nix::sys::socket::setsockopt(socket, nix::sys::socket::sockopt::IpBindAddressNoPort, &true).map_err(io::Error::from)
}

/// Where a redirected connection was meant to go.
pub fn original_dst(stream: &TcpStream) -> Option<SocketAddr> {
    let socket = SockRef::from(stream);
    let found = match stream.local_addr().ok()? {
        SocketAddr::V4(_) => socket.original_dst_v4(),
        SocketAddr::V6(_) => socket.original_dst_v6(),
    };
    found.ok()?.as_socket()
}
