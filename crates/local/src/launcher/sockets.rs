//! Sockets of the host's network, made for the cluster in its sandbox.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::fd::OwnedFd;

use socket2::{Domain, Protocol, Socket, Type};

use crate::sandbox::outside::Wanted;

/// Connections that wait to be accepted.
const BACKLOG: i32 = 1024;

/// Makes a socket. The launcher keeps none of them: each ends with the cluster.
pub(super) fn make(wanted: Wanted) -> io::Result<OwnedFd> {
    let (udp, v6) = match wanted {
        Wanted::Listen { udp, at } => (udp, at.is_ipv6()),
        Wanted::Connect { udp, v6 } => (udp, v6),
    };
    let domain = if v6 { Domain::IPV6 } else { Domain::IPV4 };
    let (kind, protocol) = if udp { (Type::DGRAM, Protocol::UDP) } else { (Type::STREAM, Protocol::TCP) };
    let socket = Socket::new(domain, kind, Some(protocol))?;
    socket.set_nonblocking(true)?;
    match wanted {
        Wanted::Listen { at, .. } => {
            if v6 {
                socket.set_only_v6(true)?;
            }
            if !udp {
                // Connections of a former listener that still end are no hindrance.
                socket.set_reuse_address(true)?;
            }
            socket.bind(&at.into())?;
            if !udp {
                socket.listen(BACKLOG)?;
            }
        }
        // Datagram sockets of the runtime must have an address before they are polled.
        Wanted::Connect { udp: true, v6 } => {
            let any = if v6 { (Ipv6Addr::UNSPECIFIED, 0).into() } else { (Ipv4Addr::UNSPECIFIED, 0).into() };
            socket.bind(&std::net::SocketAddr::into(any))?;
        }
        Wanted::Connect { .. } => {}
    }
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{SocketAddr, TcpListener, TcpStream};

    #[test]
    fn a_listener_accepts_until_its_last_copy_is_closed() {
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let listener = make(Wanted::Listen { udp: false, at: free }).unwrap();
        TcpStream::connect(free).unwrap();
        let taken = make(Wanted::Listen { udp: false, at: free }).unwrap_err();
        assert_eq!(taken.kind(), io::ErrorKind::AddrInUse);
        drop(listener);
        assert!(TcpStream::connect(free).is_err());
    }

    #[test]
    fn datagrams_have_sockets_of_their_own() {
        let at: SocketAddr = "127.0.0.1:0".parse().unwrap();
        assert!(make(Wanted::Listen { udp: true, at }).is_ok());
        assert!(make(Wanted::Connect { udp: true, v6: false }).is_ok());
    }
}
