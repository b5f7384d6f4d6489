//! A connection from a client, as requests on it see it.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use lateen_proxy_core::chain::{FilterChain, TcpProxy, Terminal};
use lateen_proxy_core::cluster::ClusterConfig;
use lateen_proxy_core::endpoint::Endpoint;
use lateen_proxy_core::http::Hcm;
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
    /// The filter chain in force, with the generation of the tables it is of.
    current: RefCell<Option<(u64, Option<Arc<FilterChain>>)>>,
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
        let (original, current) = (RefCell::default(), RefCell::default());
        Self { worker, listener, chain, destination, remote, tls, sni, open, original, current }
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

    /// The connection manager in force for such connections, which may be another than when this one was accepted;
    /// `None` when there is none any more.
    pub fn manager(&self) -> Option<Arc<Hcm>> {
        match &self.current_chain()?.terminal {
            Terminal::Http(hcm) => Some(hcm.clone()),
            _ => None,
        }
    }

    /// The same for byte streams.
    pub fn proxy(&self) -> Option<Arc<TcpProxy>> {
        match &self.current_chain()?.terminal {
            Terminal::Tcp(proxy) => Some(proxy.clone()),
            _ => None,
        }
    }

    fn current_chain(&self) -> Option<Arc<FilterChain>> {
        let tables = self.worker.view.tables();
        let mut current = self.current.borrow_mut();
        let known = current.as_ref().filter(|(generation, _)| *generation == tables.generation);
        if let Some((_, chain)) = known {
            return chain.clone();
        }
        let found = tables.listener(&self.listener.name).and_then(|listener| {
            if Arc::ptr_eq(listener, &self.listener) {
                return Some(self.chain.clone());
            }
            let same = |chain: &&Arc<FilterChain>| chain.name == self.chain.name && chain.matcher == self.chain.matcher;
            listener.all_chains().find(same).cloned()
        });
        *current = Some((tables.generation, found.clone()));
        found
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
