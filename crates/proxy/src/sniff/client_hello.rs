//! Reading a TLS ClientHello without a handshake.

/// What matters of a ClientHello.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct ClientHello {
    /// Server name, lower case.
    pub server_name: Option<String>,
    /// Application protocols.
    pub alpn: Vec<String>,
}

/// What some bytes are.
#[derive(Debug, PartialEq, Eq)]
pub enum Parsed {
    /// A whole ClientHello.
    Hello(ClientHello),
    /// The beginning of one.
    Incomplete,
    /// Something else.
    NotTls,
}

const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
/// Longest ClientHello accepted; post-quantum key shares make them long, but not that long.
const MAX_HELLO: usize = 32 << 10;

/// Reads a ClientHello, which may span several records.
pub fn parse(bytes: &[u8]) -> Parsed {
    if bytes.first().is_some_and(|kind| *kind != HANDSHAKE) || bytes.get(1).is_some_and(|major| *major != 3) {
        return Parsed::NotTls;
    }
    let mut message = Vec::new();
    let mut rest = bytes;
    loop {
        if message.first().is_some_and(|kind| *kind != CLIENT_HELLO) {
            return Parsed::NotTls;
        }
        if message.len() >= 4 {
            let length = u32::from_be_bytes([0, message[1], message[2], message[3]]) as usize;
            if length > MAX_HELLO {
                return Parsed::NotTls;
            }
            if message.len() >= 4 + length {
                return hello(&message[4..4 + length]).map_or(Parsed::NotTls, Parsed::Hello);
            }
        }
        let Some(header) = rest.get(..5) else { return Parsed::Incomplete };
        let length = usize::from(u16::from_be_bytes([header[3], header[4]]));
        if header[0] != HANDSHAKE || length == 0 {
            return Parsed::NotTls;
        }
        let available = length.min(rest.len() - 5);
        message.extend_from_slice(&rest[5..5 + available]);
        rest = &rest[5 + available..];
        if available < length {
            // What there is of this record may already tell that it is no ClientHello.
            return if message.first().is_some_and(|kind| *kind != CLIENT_HELLO) {
                Parsed::NotTls
            } else {
                Parsed::Incomplete
            };
        }
    }
}

/// Takes fields off the front.
struct Reader<'b>(&'b [u8]);

impl<'b> Reader<'b> {
    fn take(&mut self, n: usize) -> Option<&'b [u8]> {
        let (taken, rest) = self.0.split_at_checked(n)?;
        self.0 = rest;
        Some(taken)
    }

    fn number(&mut self, bytes: usize) -> Option<usize> {
        Some(self.take(bytes)?.iter().fold(0, |number, byte| number << 8 | usize::from(*byte)))
    }

    /// A field with its length in front, itself of `bytes` bytes.
    fn field(&mut self, bytes: usize) -> Option<Reader<'b>> {
        let length = self.number(bytes)?;
        self.take(length).map(Reader)
    }
}

fn hello(body: &[u8]) -> Option<ClientHello> {
    let mut body = Reader(body);
    body.take(2 + 32)?;
    body.field(1)?;
    body.field(2)?;
    body.field(1)?;
    let mut found = ClientHello::default();
    if body.0.is_empty() {
        return Some(found);
    }
    let mut extensions = body.field(2)?;
    while !extensions.0.is_empty() {
        let kind = extensions.number(2)?;
        let content = extensions.field(2)?;
        match kind {
            0 => found.server_name = server_name(content),
            16 => found.alpn = alpn(content)?,
            _ => {}
        }
    }
    Some(found)
}

fn server_name(mut content: Reader<'_>) -> Option<String> {
    let mut list = content.field(2)?;
    while !list.0.is_empty() {
        let kind = list.number(1)?;
        let name = list.field(2)?;
        if kind == 0 {
            return std::str::from_utf8(name.0).ok().map(str::to_ascii_lowercase);
        }
    }
    None
}

fn alpn(mut content: Reader<'_>) -> Option<Vec<String>> {
    let mut list = content.field(2)?;
    let mut protocols = Vec::new();
    while !list.0.is_empty() {
        protocols.push(String::from_utf8_lossy(list.field(1)?.0).into_owned());
    }
    Some(protocols)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn real_hello(alpn: &[&str]) -> Vec<u8> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(rustls::RootCertStore::empty())
            .with_no_client_auth();
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        let name = "outbound_.80_._.Backend.default.svc.cluster.local".try_into().expect("name");
        let mut connection = rustls::ClientConnection::new(Arc::new(config), name).expect("connection");
        let mut bytes = Vec::new();
        connection.write_tls(&mut bytes).expect("in memory");
        bytes
    }

    #[test]
    fn name_and_protocols_are_read() {
        let bytes = real_hello(&["istio-http/1.1", "istio"]);
        let Parsed::Hello(hello) = parse(&bytes) else { panic!("not read") };
        assert_eq!(hello.alpn, ["istio-http/1.1", "istio"]);
        assert_eq!(hello.server_name.as_deref(), Some("outbound_.80_._.backend.default.svc.cluster.local"));
    }

    #[test]
    fn every_beginning_is_incomplete_and_nothing_panics() {
        let bytes = real_hello(&["h2"]);
        for end in 0..bytes.len() {
            assert_eq!(parse(&bytes[..end]), Parsed::Incomplete, "{end}");
        }
        for at in 0..bytes.len() {
            let mut broken = bytes.clone();
            broken[at] ^= 0xff;
            let _ = parse(&broken);
        }
    }

    #[test]
    fn other_protocols_are_told_apart_at_once() {
        for bytes in [&b"GET / HTTP/1.1\r\n"[..], b"\x16\x04", b"SSH-2.0", b"\x16\x03\x01\x00\x05\x02"] {
            assert_eq!(parse(bytes), Parsed::NotTls, "{bytes:?}");
        }
    }
}
