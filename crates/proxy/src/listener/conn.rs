//! A connection from a client, as requests on it see it.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use lateen_proxy_core::chain::FilterChain;
use lateen_proxy_core::listener::Listener;

use crate::tls::TlsInfo;
use crate::worker::{Open, Worker};

/// A connection from a client.
pub struct Conn {
    /// The worker that serves it.
    pub worker: Rc<Worker>,
    /// Its listener.
    pub listener: Arc<Listener>,
    /// Its filter chain.
    pub chain: Arc<FilterChain>,
    /// Where it was meant to go.
    pub destination: SocketAddr,
    /// Whether it was redirected here, rather than made to this proxy's own address.
    pub redirected: bool,
    /// The client.
    pub remote: SocketAddr,
    /// What the TLS handshake told, when TLS ends here.
    pub tls: Option<TlsInfo>,
    /// Server name of TLS, also of TLS that is passed through.
    pub sni: Option<Arc<str>>,
    /// Counts it as open.
    pub open: Open,
}

impl Conn {
    /// Whether the client proved an identity.
    pub fn is_mtls(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.peer.is_some())
    }

    /// The client's SPIFFE identity.
    pub fn principal(&self) -> Option<&str> {
        self.tls.as_ref()?.principal.as_deref()
    }

    /// `http` or `https`.
    pub fn scheme(&self) -> &'static str {
        if self.tls.is_some() { "https" } else { "http" }
    }
}
