//! The PROXY protocol, versions 1 and 2: who the client of a connection is, said by what stands between.

use std::net::{IpAddr, SocketAddr};

const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// The longest header of version 1, and more than version 2 needs for addresses alone.
const LONGEST_V1: usize = 107;
/// The longest header of version 2 that is read, with whatever a proxy appends to it.
const LONGEST_V2: usize = 4096;

/// What the first bytes of a connection are.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Start {
    /// Not a header.
    Plain,
    /// Perhaps a header; more bytes will tell.
    Incomplete,
    /// A header of this many bytes.
    Header { version: u8, source: Option<SocketAddr>, length: usize },
}

pub(super) fn parse(bytes: &[u8]) -> Start {
    let begins = |wanted: &[u8]| bytes.iter().zip(wanted).all(|(a, b)| a == b);
    if begins(SIGNATURE) {
        return if bytes.len() < SIGNATURE.len() + 4 { Start::Incomplete } else { parse_v2(bytes) };
    }
    if begins(b"PROXY ") {
        return parse_v1(bytes);
    }
    Start::Plain
}

fn parse_v1(bytes: &[u8]) -> Start {
    let Some(end) = bytes.windows(2).position(|pair| pair == b"\r\n") else {
        return if bytes.len() < LONGEST_V1 { Start::Incomplete } else { Start::Plain };
    };
    let Ok(line) = std::str::from_utf8(&bytes[..end]) else {
        return Start::Plain;
    };
    let words: Vec<&str> = line.split(' ').collect();
    let source = match words.as_slice() {
        ["PROXY", "TCP4" | "TCP6", address, _, port, _] => match (address.parse::<IpAddr>(), port.parse()) {
            (Ok(address), Ok(port)) => Some(SocketAddr::new(address, port)),
            _ => return Start::Plain,
        },
        ["PROXY", "UNKNOWN", ..] => None,
        _ => return Start::Plain,
    };
    Start::Header { version: 1, source, length: end + 2 }
}

fn parse_v2(bytes: &[u8]) -> Start {
    let (command, family) = (bytes[12], bytes[13]);
    let length = 16 + usize::from(u16::from_be_bytes([bytes[14], bytes[15]]));
    if command >> 4 != 2 || length > LONGEST_V2 {
        return Start::Plain;
    }
    let Some(addresses) = bytes.get(16..length) else {
        return Start::Incomplete;
    };
    let port = |at: usize| addresses.get(at..at + 2).map(|port| u16::from_be_bytes([port[0], port[1]]));
    // Command 0 is LOCAL: the proxy speaks for itself.
    let source = match (command & 0xF, family >> 4) {
        (1, 1) => addresses.first_chunk::<4>().zip(port(8)).map(|(ip, port)| SocketAddr::new((*ip).into(), port)),
        (1, 2) => addresses.first_chunk::<16>().zip(port(32)).map(|(ip, port)| SocketAddr::new((*ip).into(), port)),
        _ => None,
    };
    Start::Header { version: 2, source, length }
}

/// The header with which a client at `source` begins a connection to `destination`.
pub(super) fn header(version: u8, source: SocketAddr, destination: SocketAddr) -> Vec<u8> {
    let family = if source.is_ipv4() { "TCP4" } else { "TCP6" };
    if version == 1 {
        let (from, to) = (source.ip(), destination.ip());
        return format!("PROXY {family} {from} {to} {} {}\r\n", source.port(), destination.port()).into_bytes();
    }
    let mut addresses = Vec::new();
    for ip in [source.ip(), destination.ip()] {
        match ip {
            IpAddr::V4(ip) => addresses.extend(ip.octets()),
            IpAddr::V6(ip) => addresses.extend(ip.octets()),
        }
    }
    addresses.extend(source.port().to_be_bytes());
    addresses.extend(destination.port().to_be_bytes());
    let mut header = SIGNATURE.to_vec();
    header.extend([0x21, if source.is_ipv4() { 0x11 } else { 0x21 }, 0, addresses.len() as u8]);
    header.extend(addresses);
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_read_as_they_are_written_and_at_every_length() {
        for (source, destination) in [("10.0.0.1:1234", "10.0.0.2:80"), ("[fd00::1]:1234", "[fd00::2]:80")] {
            for version in [1, 2] {
                let source: SocketAddr = source.parse().unwrap();
                let bytes = header(version, source, destination.parse().unwrap());
                let expected = Start::Header { version, source: Some(source), length: bytes.len() };
                assert_eq!(parse(&[&bytes, &b"GET /"[..]].concat()), expected);
                for cut in 0..bytes.len() {
                    assert_eq!(parse(&bytes[..cut]), Start::Incomplete, "{version}, {cut} bytes");
                }
            }
        }
    }

    #[test]
    fn what_is_no_header_is_left_alone() {
        for bytes in [&b"GET / HTTP/1.1\r\n"[..], b"PRI * HTTP/2.0\r\n", b"PROXY TCP4 a b c d\r\n", b"\x16\x03\x01"] {
            assert_eq!(parse(bytes), Start::Plain);
        }
        assert_eq!(parse(b"PROXY UNKNOWN\r\n"), Start::Header { version: 1, source: None, length: 15 });
    }
}
