//! What is known about a downstream connection when its filter chain is chosen.

use std::net::SocketAddr;

/// What the first bytes of a connection turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Transport {
    /// Anything that isn't TLS.
    #[default]
    Raw,
    /// A TLS ClientHello.
    Tls,
}

impl Transport {
    /// The name that filter chain matches use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Raw => "raw_buffer",
            Self::Tls => "tls",
        }
    }
}

/// What is known about a downstream connection when its filter chain is chosen.
#[derive(Debug, Clone)]
pub struct ConnInfo<'a> {
    /// Where the client wanted to go (before redirection).
    pub destination: SocketAddr,
    /// The client, possibly as told by a proxy protocol header.
    pub source: SocketAddr,
    /// The peer of the socket.
    pub direct_source: SocketAddr,
    /// TLS or not.
    pub transport: Transport,
    /// Server name of the ClientHello, lower case.
    pub server_name: Option<&'a str>,
    /// ALPN of the ClientHello, or what sniffing found (`http/1.0`, `http/1.1`, `h2c`).
    pub application_protocols: &'a [&'a str],
}
