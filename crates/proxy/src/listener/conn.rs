//! A connection from a client, as requests on it see it.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use lateen_proxy_core::chain::FilterChain;
use lateen_proxy_core::cluster::ClusterConfig;
use lateen_proxy_core::endpoint::Endpoint;
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
    /// The client.
    pub remote: SocketAddr,
    /// What the TLS handshake told, when TLS ends here.
    pub tls: Option<TlsInfo>,
    /// Server name of TLS, also of TLS that is passed through.
    pub sni: Option<Arc<str>>,
    /// Counts it as open.
    pub open: Open,
    /// The endpoint that stands for where it was meant to go, for the cluster that asked last.
    original: RefCell<Option<(Arc<ClusterConfig>, Rc<Endpoint>)>>,
}

/// What is known when a connection was accepted.
pub struct Accepted {
    /// The worker that serves it.
    pub worker: Rc<Worker>,
    /// Its listener.
    pub listener: Arc<Listener>,
    /// Its filter chain.
    pub chain: Arc<FilterChain>,
    /// Where it was meant to go.
    pub destination: SocketAddr,
    /// The client.
    pub remote: SocketAddr,
    /// What the TLS handshake told.
    pub tls: Option<TlsInfo>,
    /// Server name of TLS.
    pub sni: Option<Arc<str>>,
    /// Counts it as open.
    pub open: Open,
}

impl From<Accepted> for Conn {
    fn from(accepted: Accepted) -> Self {
        let Accepted { worker, listener, chain, destination, remote, tls, sni, open } = accepted;
        Self { worker, listener, chain, destination, remote, tls, sni, open, original: RefCell::default() }
    }
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

    /// The endpoint that stands for where it was meant to go.
    pub fn original_endpoint(&self, cluster: &Arc<ClusterConfig>) -> Rc<Endpoint> {
        let mut known = self.original.borrow_mut();
        if let Some((config, endpoint)) = &*known
            && Arc::ptr_eq(config, cluster)
        {
            return endpoint.clone();
        }
        let endpoint = Rc::new(cluster.original_endpoint(self.destination));
        *known = Some((cluster.clone(), endpoint.clone()));
        endpoint
    }

    /// For work that goes on when the connection has ended; who the client is it doesn't know.
    pub fn aside(&self) -> Conn {
        Conn::from(Accepted {
            worker: self.worker.clone(),
            listener: self.listener.clone(),
            chain: self.chain.clone(),
            destination: self.destination,
            remote: self.remote,
            tls: None,
            sni: None,
            open: self.worker.opened(),
        })
    }

    /// `http` or `https`.
    pub fn scheme(&self) -> &'static str {
        if self.tls.is_some() { "https" } else { "http" }
    }
}
