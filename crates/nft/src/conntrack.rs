//! Forgetting tracked connections whose translation is out of date, in the network namespace of the calling thread.
//!
//! A datagram "connection" goes on as long as datagrams follow each other, wherever new ones would be sent.

use std::io;
use std::net::{IpAddr, SocketAddr};

use netlink_sys::{Socket, SocketAddr as Address, protocols::NETLINK_NETFILTER};
use nix::libc;

use crate::Error;
use crate::expr::L4;

const SUBSYSTEM: u16 = 1;
const GET: u16 = SUBSYSTEM << 8 | 1;
const DELETE: u16 = SUBSYSTEM << 8 | 2;
const REQUEST: u16 = 1;
const ACK: u16 = 4;
const DUMP: u16 = 0x300;
/// Netlink header and the family header of netfilter.
const HEADER: usize = 20;
const TUPLE_ORIGINAL: u16 = 1;
const TUPLE_REPLY: u16 = 2;
const ZONE: u16 = 18;
const TUPLE_IP: u16 = 1;
const TUPLE_PROTO: u16 = 2;
/// Largest answer of the kernel in one piece.
const BUFFER: usize = 64 * 1024;

/// A connection as it is tracked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flow {
    /// Where its first packet was sent.
    pub destination: SocketAddr,
    /// Who answers: another address when the destination was translated.
    pub answers: SocketAddr,
}

/// Forgets the connections of this protocol and address family that `select` picks; says how many.
pub fn forget(l4: L4, v6: bool, select: impl Fn(&Flow) -> bool) -> Result<usize, Error> {
    let family = if v6 { libc::AF_INET6 } else { libc::AF_INET } as u8;
    let mut socket = Socket::new(NETLINK_NETFILTER).map_err(Error::Socket)?;
    socket.bind_auto().map_err(Error::Socket)?;
    socket.connect(&Address::new(0, 0)).map_err(Error::Socket)?;
    let mut chosen = Vec::new();
    exchange(&socket, &message(GET, REQUEST | DUMP, family, &[]), |attributes| {
        if let Some((protocol, flow)) = parse(attributes)
            && protocol == l4.number()
            && select(&flow)
        {
            chosen.push(key(attributes));
        }
    })?;
    for key in &chosen {
        match exchange(&socket, &message(DELETE, REQUEST | ACK, family, key), |_| {}) {
            // It may have ended by itself.
            Err(Error::Socket(error)) if error.raw_os_error() == Some(libc::ENOENT) => {}
            other => other?,
        }
    }
    Ok(chosen.len())
}

fn message(kind: u16, flags: u16, family: u8, attributes: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER + attributes.len());
    bytes.extend_from_slice(&((HEADER + attributes.len()) as u32).to_ne_bytes());
    bytes.extend_from_slice(&kind.to_ne_bytes());
    bytes.extend_from_slice(&flags.to_ne_bytes());
    bytes.extend_from_slice(&[0; 8]);
    bytes.extend_from_slice(&[family, 0, 0, 0]);
    bytes.extend_from_slice(attributes);
    bytes
}

/// Sends a request and shows the attributes of every answer until the last one.
fn exchange(socket: &Socket, request: &[u8], mut each: impl FnMut(&[u8])) -> Result<(), Error> {
    socket.send(request, 0).map_err(Error::Socket)?;
    let mut buffer = Vec::with_capacity(BUFFER);
    loop {
        buffer.clear();
        socket.recv(&mut buffer, 0).map_err(Error::Socket)?;
        let mut rest = buffer.as_slice();
        while rest.len() >= HEADER {
            let len = u32::from_ne_bytes([rest[0], rest[1], rest[2], rest[3]]) as usize;
            let kind = u16::from_ne_bytes([rest[4], rest[5]]);
            let Some(whole) = rest.get(..len).filter(|whole| whole.len() >= HEADER) else { break };
            if kind == libc::NLMSG_DONE as u16 {
                return Ok(());
            }
            if kind == libc::NLMSG_ERROR as u16 {
                let code = i32::from_ne_bytes([whole[16], whole[17], whole[18], whole[19]]);
                let error = io::Error::from_raw_os_error(-code);
                return if code == 0 { Ok(()) } else { Err(Error::Socket(error)) };
            }
            each(&whole[HEADER..]);
            rest = rest.get(len.next_multiple_of(4)..).unwrap_or_default();
        }
    }
}

/// Kind and content of each attribute.
fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let head = bytes.get(..4)?;
        let len = usize::from(u16::from_ne_bytes([head[0], head[1]]));
        let kind = u16::from_ne_bytes([head[2], head[3]]) & 0x3fff;
        let content = bytes.get(4..len)?;
        bytes = bytes.get(len.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, content))
    })
}

fn find(bytes: &[u8], kind: u16) -> Option<&[u8]> {
    attributes(bytes).find(|(found, _)| *found == kind).map(|(_, content)| content)
}

fn parse(bytes: &[u8]) -> Option<(u8, Flow)> {
    let original = find(bytes, TUPLE_ORIGINAL)?;
    let reply = find(bytes, TUPLE_REPLY)?;
    let protocol = *find(find(original, TUPLE_PROTO)?, 1)?.first()?;
    // Attributes 1 to 4 of addresses: source and destination of IPv4, then of IPv6; of ports 2 and 3.
    let flow = Flow { destination: end(original, [2, 4], 3)?, answers: end(reply, [1, 3], 2)? };
    Some((protocol, flow))
}

fn end(tuple: &[u8], addresses: [u16; 2], port: u16) -> Option<SocketAddr> {
    let ips = find(tuple, TUPLE_IP)?;
    let ip = match (find(ips, addresses[0]), find(ips, addresses[1])) {
        (Some(v4), _) => IpAddr::from(<[u8; 4]>::try_from(v4).ok()?),
        (None, Some(v6)) => IpAddr::from(<[u8; 16]>::try_from(v6).ok()?),
        (None, None) => return None,
    };
    let port = find(find(tuple, TUPLE_PROTO)?, port)?;
    Some(SocketAddr::new(ip, u16::from_be_bytes(<[u8; 2]>::try_from(port).ok()?)))
}

/// The attributes that name this very connection.
fn key(bytes: &[u8]) -> Vec<u8> {
    let mut key = Vec::new();
    for (kind, content) in attributes(bytes).filter(|(kind, _)| [TUPLE_ORIGINAL, ZONE].contains(kind)) {
        let nested = if kind == TUPLE_ORIGINAL { 0x8000 } else { 0 };
        key.extend_from_slice(&(4 + content.len() as u16).to_ne_bytes());
        key.extend_from_slice(&(kind | nested).to_ne_bytes());
        key.extend_from_slice(content);
        key.resize(key.len().next_multiple_of(4), 0);
    }
    key
}
