//! What is known about what is decided on.

use std::net::{IpAddr, SocketAddr};

use crate::head::RequestHead;
use crate::http::Hcm;

/// Names in the client's certificate.
#[derive(Debug, Clone, Copy, Default)]
pub struct Peer<'a> {
    /// URIs.
    pub uris: &'a [String],
    /// DNS names.
    pub dns: &'a [String],
    /// Subject.
    pub subject: &'a str,
}

impl<'a> Peer<'a> {
    /// The names by which the client may be known, in Envoy's order.
    pub fn names(&self) -> impl Iterator<Item = &'a str> {
        self.uris.iter().chain(self.dns).map(String::as_str).chain(std::iter::once(self.subject))
    }
}

/// A request, or a connection when it has no head.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    /// The head.
    pub head: Option<&'a dyn RequestHead>,
    /// Where it was meant to go.
    pub destination: SocketAddr,
    /// The peer of the socket.
    pub direct: IpAddr,
    /// The client, also behind a proxy that is trusted to tell it.
    pub remote: IpAddr,
    /// Server name of TLS; empty when there is none.
    pub server_name: &'a str,
    /// The client's certificate; `None` without TLS.
    pub peer: Option<Peer<'a>>,
}

impl<'a> Request<'a> {
    /// The path without query; CONNECT has none.
    pub(super) fn path(&self) -> Option<&'a str> {
        self.head.map(RequestHead::path_only).filter(|path| !path.is_empty())
    }
}

/// The client's address as far as the connection manager trusts `x-forwarded-for`, else the peer's.
pub fn client_address(hcm: &Hcm, head: &dyn RequestHead, direct: IpAddr) -> IpAddr {
    let skip = match (hcm.use_remote_address, hcm.trusted_hops) {
        (true, 0) => return direct,
        (true, hops) => hops - 1,
        (false, hops) => hops,
    };
    let told = head.header("x-forwarded-for");
    let told = told.as_deref().and_then(|chain| std::str::from_utf8(chain).ok());
    let address = told.and_then(|chain| chain.rsplit(',').nth(skip as usize)?.trim().parse().ok());
    address.unwrap_or(direct)
}
