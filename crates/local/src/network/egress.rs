//! The way out: what pods send to addresses outside the cluster is taken by transparent sockets and
//! carried on by sockets of the host's own network.
//!
//! So the host needs no interface, rule, route or forwarding for it, whoever runs the cluster, and
//! nothing of it can be left behind.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::os::fd::AsRawFd;
use std::sync::Arc;

use ipnet::Ipv4Net;
use lateen_nft::{Chain, Expr, Family, Hook, HookKind, L4, Op, Rule, Ruleset, Table, priority};
use netlink_packet_route::route::{RouteScope, RouteType};
use netlink_packet_route::rule::RuleAction;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrIn, recvmsg, setsockopt, sockopt};
use rtnetlink::{RouteMessageBuilder, new_connection};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::Interest;
use tokio::net::{TcpListener, TcpSocket, TcpStream, UdpSocket};
use tokio::sync::Semaphore;

use super::{LOOPBACK, POD_NET, SERVICE_NET};
use crate::sandbox::outside::{Outside, Wanted};
use crate::services::relay::{self, CONNECTIONS, Ends, Flows};

/// The table of the rules that send packets to the transparent sockets.
const TABLE: &str = "lateen_egress";
/// Mark of such packets.
const MARK: u32 = 0x6c61;
/// Routing table in which every address is local.
const ROUTES: u32 = 100;
/// After translation of Services' addresses, before routing.
const AFTER_SERVICES: i32 = priority::DSTNAT + 50;
/// Connections that wait to be accepted.
const BACKLOG: i32 = 1024;
const DATAGRAM: usize = 65_535;

/// What is no address of another machine: loopback, the pods' gateway, multicast and what is reserved.
const NOWHERE: [(Ipv4Addr, u8); 5] = [
    (Ipv4Addr::new(0, 0, 0, 0), 8),
    (Ipv4Addr::new(127, 0, 0, 0), 8),
    (super::GATEWAY_NET.0, super::GATEWAY_NET.1),
    (Ipv4Addr::new(224, 0, 0, 0), 4),
    (Ipv4Addr::new(240, 0, 0, 0), 4),
];

/// Opens the way out; the result keeps it open.
pub(crate) async fn open(outside: Outside) -> Result<impl Future<Output = ()> + Send, String> {
    let failed = |e: io::Error| format!("make a transparent socket: {e}");
    let any = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0);
    let tcp = transparent(Type::STREAM, any).map_err(failed)?;
    tcp.listen(BACKLOG).map_err(failed)?;
    let tcp = TcpListener::from_std(tcp.into()).map_err(failed)?;
    let udp = transparent(Type::DGRAM, any).map_err(failed)?;
    setsockopt(&udp, sockopt::Ipv4OrigDstAddr, &true).map_err(|e| failed(e.into()))?;
    let udp = UdpSocket::from_std(udp.into()).map_err(failed)?;
    let port = |address: io::Result<SocketAddr>| address.map(|a| a.port()).map_err(failed);
    let rules = ruleset(port(tcp.local_addr())?, port(udp.local_addr())?);
    route_to_sockets().await.map_err(|e| format!("route packets to transparent sockets: {e}"))?;
    let applied = tokio::task::spawn_blocking(move || lateen_nft::apply(&rules)).await;
    applied.map_err(|e| e.to_string())?.map_err(|e| e.to_string())?;
    let connections = connections(tcp, outside.clone());
    Ok(async move {
        tokio::join!(connections, datagrams(udp, outside));
    })
}

/// A socket that may have an address which is not its machine's.
fn transparent(kind: Type, at: SocketAddrV4) -> io::Result<Socket> {
    let protocol = if kind == Type::DGRAM { Protocol::UDP } else { Protocol::TCP };
    let socket = Socket::new(Domain::IPV4, kind, Some(protocol))?;
    socket.set_nonblocking(true)?;
    socket.set_reuse_address(true)?;
    socket.set_ip_transparent_v4(true)?;
    socket.bind(&SocketAddr::from(at).into())?;
    Ok(socket)
}

fn ruleset(tcp: u16, udp: u16) -> Ruleset {
    let ours = [POD_NET, SERVICE_NET];
    let mut chain = Chain::base("prerouting", HookKind::Filter, Hook::Prerouting, AFTER_SERVICES);
    for (l4, port) in [(L4::Tcp, tcp), (L4::Udp, udp)] {
        let mut exprs = vec![Expr::L4Proto(l4), Expr::Iifname(Op::Eq, "pod-*".into())];
        for (address, prefix) in ours.iter().chain(&NOWHERE) {
            exprs.push(Expr::daddr(Op::Ne, Ipv4Net::new_assert(*address, *prefix)));
        }
        exprs.extend([Expr::Tproxy { v6: false, port }, Expr::SetMark(MARK), Expr::accept()]);
        chain.push(Rule::from(exprs));
    }
    Table::new(Family::Ip, TABLE).chain(chain).into()
}

/// Makes marked packets local, whatever their destination.
async fn route_to_sockets() -> Result<(), rtnetlink::Error> {
    let (connection, handle, _) = new_connection().map_err(|e| rtnetlink::Error::NamespaceError(e.to_string()))?;
    let connection = tokio::spawn(connection);
    let route = RouteMessageBuilder::<Ipv4Addr>::new()
        .destination_prefix(Ipv4Addr::UNSPECIFIED, 0)
        .output_interface(LOOPBACK)
        .scope(RouteScope::Host)
        .kind(RouteType::Local)
        .table_id(ROUTES);
    let routed = handle.route().add(route.build()).execute().await;
    let rule = handle.rule().add().v4().fw_mark(MARK).table_id(ROUTES).action(RuleAction::ToTable);
    let ruled = rule.execute().await;
    connection.abort();
    routed.and(ruled)
}

/// Whether a destination is another machine's. Pods may also connect to the sockets directly.
fn is_outside(to: SocketAddrV4) -> bool {
    let within = |(net, prefix): &(Ipv4Addr, u8)| Ipv4Net::new_assert(*net, *prefix).contains(to.ip());
    ![POD_NET, SERVICE_NET].iter().chain(&NOWHERE).any(within)
}

fn destination(client: &TcpStream) -> Option<SocketAddrV4> {
    match client.local_addr() {
        Ok(SocketAddr::V4(to)) if is_outside(to) => Some(to),
        _ => None,
    }
}

async fn connections(listener: TcpListener, outside: Outside) {
    let slots = Arc::new(Semaphore::new(CONNECTIONS));
    relay::accept(listener, slots, move |client| {
        let outside = outside.clone();
        async move {
            if let Some(to) = destination(&client) {
                relay::carry(client, outside.connect(to.into())).await;
            }
        }
    })
    .await;
}

async fn datagrams(socket: UdpSocket, outside: Outside) {
    let flows = Flows::default();
    let mut buffer = vec![0; DATAGRAM];
    loop {
        let received = socket.async_io(Interest::READABLE, || receive(&socket, &mut buffer)).await;
        match received {
            Ok(Some((length, client, to))) if is_outside(to) => {
                let outside = outside.clone();
                flows.send((client, to), &buffer[..length], move || async move {
                    let back = transparent(Type::DGRAM, to)?;
                    let back = Arc::new(UdpSocket::from_std(back.into())?);
                    Ok(Ends { forth: outside.datagrams_to(to.into()).await?, back, client: client.into() })
                });
            }
            Ok(_) => {}
            Err(error) => relay::not_received(&error).await,
        }
    }
}

/// A datagram's length, where it comes from and where it was going.
fn receive(socket: &UdpSocket, buffer: &mut [u8]) -> io::Result<Option<(usize, SocketAddrV4, SocketAddrV4)>> {
    let mut space = nix::cmsg_space!(nix::libc::sockaddr_in);
    let mut slices = [io::IoSliceMut::new(buffer)];
    let flags = MsgFlags::MSG_DONTWAIT;
    let message = recvmsg::<SockaddrIn>(socket.as_raw_fd(), &mut slices, Some(&mut space), flags)?;
    let to = message.cmsgs()?.find_map(|control| match control {
        ControlMessageOwned::Ipv4OrigDstAddr(to) => {
            let ip = Ipv4Addr::from(u32::from_be(to.sin_addr.s_addr));
            Some(SocketAddrV4::new(ip, u16::from_be(to.sin_port)))
        }
        _ => None,
    });
    let from = message.address.map(SocketAddrV4::from);
    Ok(from.zip(to).map(|(from, to)| (message.bytes, from, to)))
}

impl Outside {
    /// Connects to an address as a program on the host would.
    pub(crate) async fn connect(&self, to: SocketAddr) -> io::Result<TcpStream> {
        let fd = self.socket(Wanted::Connect { udp: false, v6: to.is_ipv6() }).await?;
        let socket = TcpSocket::from_std_stream(fd.into());
        socket.connect(to).await
    }

    /// A socket that sends datagrams to an address as a program on the host would.
    pub(crate) async fn datagrams_to(&self, to: SocketAddr) -> io::Result<UdpSocket> {
        let fd = self.socket(Wanted::Connect { udp: true, v6: to.is_ipv6() }).await?;
        let socket = UdpSocket::from_std(fd.into())?;
        socket.connect(to).await?;
        Ok(socket)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_pods_send_elsewhere_is_taken() {
        let text = ruleset(1111, 2222).render();
        for part in [
            "iifname pod-* ip daddr != 10.244.0.0/16 ip daddr != 10.96.0.0/16",
            "meta l4proto tcp iifname",
            "tproxy ip to :1111 meta mark set",
            "meta l4proto udp iifname",
            "tproxy ip to :2222 meta mark set",
        ] {
            assert!(text.contains(part), "no {part:?} in\n{text}");
        }
    }

    #[test]
    fn what_is_no_other_machine_is_not_carried() {
        for (address, expect) in [
            ("198.51.100.7:80", true),
            ("192.168.1.1:53", true),
            ("10.244.0.1:80", false),
            ("10.96.0.10:53", false),
            ("127.0.0.1:80", false),
            ("240.240.0.1:80", false),
            ("224.0.0.251:5353", false),
        ] {
            assert_eq!(is_outside(address.parse().unwrap()), expect, "{address}");
        }
    }
}
