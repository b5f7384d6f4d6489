//! The PROXY protocol: what a load balancer in front writes about the client, before the client's own bytes. Versions 1
//! and 2 of HAProxy's specification.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use crate::buffer::Inbuf;
use crate::io::Stream;

/// How long to wait for the header.
const WAIT: Duration = Duration::from_secs(15);
/// Longest header taken, with everything that version 2 may carry beside the addresses.
const LIMIT: usize = 4096;
/// Longest line of version 1.
const LINE: usize = 107;
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// What the first bytes are.
#[derive(Debug, PartialEq, Eq)]
enum Header {
    /// A whole header of this length; the client, if it is told.
    Whole(usize, Option<SocketAddr>),
    /// Not all of it is there.
    Partial,
    /// No such header.
    Bad,
}

/// Reads the header and takes it off `inbuf`; answers who the client is, if the header says so.
pub async fn read(stream: &Stream, inbuf: &mut Inbuf) -> io::Result<Option<SocketAddr>> {
    let reading = async {
        loop {
            match parse(inbuf.bytes()) {
                Header::Whole(length, client) => {
                    inbuf.consume(length);
                    return Ok(client);
                }
                Header::Bad => {
                    return Err(io::Error::new(io::ErrorKind::InvalidData, "the connection has no PROXY header"));
                }
                Header::Partial => {}
            }
            if inbuf.fill(stream, LIMIT).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    };
    tokio::time::timeout(WAIT, reading).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
}

fn parse(bytes: &[u8]) -> Header {
    let begins = |with: &[u8]| bytes.iter().zip(with).all(|(a, b)| a == b);
    if begins(SIGNATURE) {
        return if bytes.len() < 16 { Header::Partial } else { version_2(bytes) };
    }
    if begins(b"PROXY ") {
        return version_1(bytes);
    }
    Header::Bad
}

fn version_1(bytes: &[u8]) -> Header {
    let Some(end) = bytes.iter().take(LINE).position(|b| *b == b'\n') else {
        return if bytes.len() < LINE { Header::Partial } else { Header::Bad };
    };
    let line = bytes[..end].strip_suffix(b"\r").and_then(|line| std::str::from_utf8(line).ok());
    let Some(line) = line else { return Header::Bad };
    let words: Vec<&str> = line.split(' ').collect();
    let client = match words.as_slice() {
        ["PROXY", "UNKNOWN", ..] => None,
        ["PROXY", "TCP4" | "TCP6", source, _, port, _] => match (source.parse::<IpAddr>(), port.parse()) {
            (Ok(ip), Ok(port)) => Some(SocketAddr::new(ip, port)),
            _ => return Header::Bad,
        },
        _ => return Header::Bad,
    };
    Header::Whole(end + 1, client)
}

/// `bytes` has at least the fixed part.
fn version_2(bytes: &[u8]) -> Header {
    let length = 16 + usize::from(u16::from_be_bytes([bytes[14], bytes[15]]));
    if length > LIMIT || bytes[12] >> 4 != 2 {
        return Header::Bad;
    }
    let Some(addresses) = bytes.get(16..length) else { return Header::Partial };
    let port = |at: usize| Some(u16::from_be_bytes([*addresses.get(at)?, *addresses.get(at + 1)?]));
    let client = match (bytes[12] & 0xf, bytes[13]) {
        // A check by the load balancer itself.
        (0, _) => None,
        (1, 0x11) => addresses.first_chunk::<4>().zip(port(8)).map(|(ip, p)| (Ipv4Addr::from(*ip), p).into()),
        (1, 0x21) => addresses.first_chunk::<16>().zip(port(32)).map(|(ip, p)| (Ipv6Addr::from(*ip), p).into()),
        (1, _) => None,
        _ => return Header::Bad,
    };
    Header::Whole(length, client)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v2(command: u8, family: u8, addresses: &[u8]) -> Vec<u8> {
        let mut bytes = SIGNATURE.to_vec();
        bytes.extend([0x20 | command, family]);
        bytes.extend((addresses.len() as u16).to_be_bytes());
        bytes.extend(addresses);
        bytes
    }

    fn client(text: &str) -> Option<SocketAddr> {
        Some(text.parse().unwrap())
    }

    #[test]
    fn headers_of_both_versions_are_read() {
        let four = [192, 0, 2, 1, 10, 0, 0, 1, 0xc3, 0x50, 0, 80];
        for (bytes, expected) in [
            (b"PROXY TCP4 192.0.2.1 10.0.0.1 50000 80\r\n".to_vec(), client("192.0.2.1:50000")),
            (b"PROXY TCP6 2001:db8::1 ::1 50000 80\r\n".to_vec(), client("[2001:db8::1]:50000")),
            (b"PROXY UNKNOWN\r\n".to_vec(), None),
            (v2(1, 0x11, &four), client("192.0.2.1:50000")),
            (v2(1, 0x11, &[&four[..], b"more"].concat()), client("192.0.2.1:50000")),
            (v2(0, 0, &[]), None),
            (v2(1, 0x31, &[0; 216]), None),
        ] {
            let mut whole = bytes.clone();
            whole.extend(b"GET / HTTP/1.1");
            assert_eq!(parse(&whole), Header::Whole(bytes.len(), expected), "{bytes:?}");
            for part in 0..bytes.len() {
                assert_eq!(parse(&bytes[..part]), Header::Partial, "{part} of {bytes:?}");
            }
        }
    }

    #[test]
    fn other_bytes_are_refused() {
        for bytes in [
            b"GET / HTTP/1.1\r\n".to_vec(),
            b"PROXY TCP4 nobody 10.0.0.1 1 2\r\n".to_vec(),
            b"PROXY TCP4 1.1.1.1\r\n".to_vec(),
            b"PROXY TCP4 1.1.1.1 2.2.2.2 1 2\n".to_vec(),
            [b"PROXY ".to_vec(), vec![b'x'; 200]].concat(),
            v2(7, 0x11, &[0; 12]),
            [&SIGNATURE[..], &[0x31, 0x11, 0, 12], &[0; 12]].concat(),
        ] {
            assert_eq!(parse(&bytes), Header::Bad, "{bytes:?}");
        }
    }
}
