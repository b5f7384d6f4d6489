//! Two sidecars and what they are told.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use lateen_api::envoy::envoy::config::cluster::v3::Cluster;
use lateen_api::envoy::envoy::config::cluster::v3::cluster::DiscoveryType;
use lateen_api::envoy::envoy::config::listener::v3::Listener;
use lateen_api::envoy::envoy::config::route::v3::{RouteAction, RouteConfiguration};
use lateen_api::type_url;
use lateen_proxy::certs::{CertStore, Identity, Roots};
use lateen_proxy::record::{Record, Sink};
use lateen_proxy::state::State;
use lateen_proxy::worker::{Handle, WorkerOptions, start};
use lateen_proxy_core::load::Loader;
use parking_lot::Mutex;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, SanType};
use rustls_pki_types::PrivateKeyDer;

use super::resources::{
    cluster, endpoints, flag, http_filter_chain, http2, inline_http_chain, listener, mutual, named, plain_http,
    route_to, routes, tcp_chain, upstream_tls,
};

pub const SERVER: &str = "spiffe://cluster.local/ns/default/sa/backend";
pub const CLIENT: &str = "spiffe://cluster.local/ns/default/sa/client";
pub const OUTBOUND: &str = "outbound|80||backend.default.svc.cluster.local";

/// What was recorded, in short.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seen {
    pub status: u16,
    pub flags: String,
    pub details: String,
    pub cause: String,
    pub cluster: String,
    pub route: String,
    pub principal: String,
    pub upstream_principal: String,
    pub received: u64,
    pub sent: u64,
    pub attempts: u32,
    pub grpc: Option<u32>,
}

/// Remembers what was recorded.
#[derive(Default)]
pub struct Remember(pub Mutex<Vec<Seen>>);

impl Sink for Remember {
    fn record(&self, _: usize, record: &Record<'_>) {
        self.0.lock().push(Seen {
            status: record.response.status,
            flags: record.flags.to_string(),
            details: record.details.to_owned(),
            cause: record.cause.to_owned(),
            cluster: record.cluster_name.to_owned(),
            route: record.route.map(|route| route.name.to_string()).unwrap_or_default(),
            principal: record.downstream_principal.unwrap_or_default().to_owned(),
            upstream_principal: record.upstream_principal.unwrap_or_default().to_owned(),
            received: record.bytes_received,
            sent: record.bytes_sent,
            attempts: record.attempts,
            grpc: record.response.grpc_status,
        });
    }
    fn tcp_opened(&self, _: usize, _: &Record<'_>) {}
    fn tcp_progress(&self, _: usize, _: &Record<'_>, _: u64, _: u64) {}
    fn authorized(&self, _: usize, _: Option<&Arc<str>>, _: &lateen_proxy_core::rbac::Verdict<'_>) {}
    fn authenticated(&self, _: usize, _: &Arc<str>, _: lateen_proxy::record::Tokens) {}
}

impl Remember {
    /// The last record, once there are `count`.
    pub async fn last(&self, count: usize) -> Seen {
        for _ in 0..200 {
            if let Some(seen) = self.0.lock().get(count - 1) {
                return seen.clone();
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("no {count} records: {:?}", self.0.lock());
    }
}

/// One proxy.
pub struct Proxy {
    pub address: SocketAddr,
    pub sink: Arc<Remember>,
    pub state: Arc<State>,
    loader: Mutex<Loader>,
    handle: Option<Handle>,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if let Some(handle) = self.handle.take() {
            handle.stop();
        }
    }
}

impl Proxy {
    pub fn apply(&self, kind: &str, resource: super::resources::Resource) {
        let mut loader = self.loader.lock();
        let rejected = loader.apply(kind, &[resource], &[]);
        assert_eq!(rejected, [], "the resources are good");
        let tables = loader.tables(true);
        self.state.publish(tables);
    }

    pub fn cluster(&self, cluster: &Cluster) {
        self.apply(type_url::CLUSTER, named(&cluster.name, cluster));
    }

    pub fn endpoints(&self, cluster: &str, addresses: &[SocketAddr]) {
        self.apply(type_url::ENDPOINT, named(cluster, &endpoints(cluster, addresses)));
    }

    pub fn routes(&self, routes: &RouteConfiguration) {
        self.apply(type_url::ROUTE, named(&routes.name, routes));
    }

    pub fn listener(&self, listener: &Listener) {
        self.apply(type_url::LISTENER, named(&listener.name, listener));
    }
}

/// A certificate authority and what it signs.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    root: rustls_pki_types::CertificateDer<'static>,
}

impl Authority {
    pub fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("key");
        let root = params.self_signed(&key).expect("root").der().clone();
        Self { issuer: Issuer::new(params, key), root }
    }

    pub fn store(&self, spiffe: &str) -> Arc<CertStore> {
        let mut params = CertificateParams::default();
        params.subject_alt_names = vec![SanType::URI(spiffe.try_into().expect("uri"))];
        let key = KeyPair::generate().expect("key");
        let leaf = params.signed_by(&key, &self.issuer).expect("leaf").der().clone();
        let private = PrivateKeyDer::try_from(key.serialize_der()).expect("key");
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        let identity = Identity::new(vec![leaf], private, &provider).expect("identity");
        let store = CertStore::new();
        store.replace(identity, Roots::new(vec![self.root.clone()]).expect("roots"));
        Arc::new(store)
    }
}

pub fn free_port() -> SocketAddr {
    let socket = std::net::TcpListener::bind("127.0.0.1:0").expect("bind");
    socket.local_addr().expect("address")
}

/// Starts a proxy whose connections were all meant to go to `destination`.
pub fn proxy(certs: Arc<CertStore>, destination: SocketAddr, ports: &[u16]) -> Proxy {
    let (state, sink) = (State::new(), Arc::new(Remember::default()));
    let options = WorkerOptions {
        threads: 1,
        container_ports: ports.into(),
        original_dst: Some(Arc::new(move |_, _| Some(destination))),
        ..WorkerOptions::default()
    };
    let handle = start(state.clone(), certs, sink.clone(), options).expect("start");
    Proxy { address: free_port(), sink, state, loader: Mutex::default(), handle: Some(handle) }
}

/// A client's sidecar, a server's sidecar, and the server.
pub struct Mesh {
    pub client: Proxy,
    pub server: Proxy,
}

/// What is spoken where.
#[derive(Clone, Copy, Default)]
pub struct Shape {
    /// HTTP/2 between the sidecars.
    pub http2_between: bool,
    /// HTTP/2 to the server.
    pub http2_server: bool,
}

impl Mesh {
    /// Sidecars in front of the server at `backend`.
    pub async fn start(backend: SocketAddr, shape: Shape) -> Self {
        let mesh = Self::build(backend, shape);
        for address in [mesh.client.address, mesh.server.address] {
            open(address).await;
        }
        mesh
    }

    fn build(backend: SocketAddr, shape: Shape) -> Self {
        let authority = Authority::new();
        let server = proxy(authority.store(SERVER), backend, &[5678]);
        let mut inbound = cluster("inbound|80||", DiscoveryType::OriginalDst, None);
        if shape.http2_server {
            inbound = http2(inbound);
        }
        server.cluster(&inbound);
        let served = routes("inbound|80||", route_to("inbound|80||"));
        let http = mutual(inline_http_chain(served), &["istio-http/1.1", "istio-h2"]);
        let tcp = mutual(tcp_chain("inbound|80||"), &["istio"]);
        server.listener(&listener("virtualInbound", server.address, 1, vec![http, tcp]));
        let client = proxy(authority.store(CLIENT), "10.0.0.1:80".parse().expect("address"), &[]);
        let alpn: &[&str] = if shape.http2_between { &["istio-h2", "h2"] } else { &["istio-http/1.1"] };
        let mut outbound = cluster(OUTBOUND, DiscoveryType::Eds, upstream_tls(SERVER, alpn));
        if shape.http2_between {
            outbound = http2(outbound);
        }
        client.cluster(&outbound);
        let opaque = cluster("opaque", DiscoveryType::Eds, upstream_tls(SERVER, &["istio"]));
        client.cluster(&opaque);
        client.endpoints(OUTBOUND, &[server.address]);
        client.endpoints("opaque", &[server.address]);
        client.routes(&routes("80", route_to(OUTBOUND)));
        let mut at_80 = listener(
            "0.0.0.0_80",
            "0.0.0.0:80".parse().expect("address"),
            2,
            vec![plain_http(http_filter_chain("80"))],
        );
        at_80.bind_to_port = flag(false);
        at_80.default_filter_chain = Some(tcp_chain("opaque"));
        client.listener(&at_80);
        let mut outbound = listener("virtualOutbound", client.address, 2, vec![tcp_chain("PassthroughCluster")]);
        outbound.use_original_dst = flag(true);
        client.listener(&outbound);
        Self { client, server }
    }

    /// Gives the client's sidecar another route.
    pub fn route(&self, action: RouteAction) {
        self.client.routes(&routes("80", action));
    }
}

/// Waits until something listens at `address`, without connecting: that would be recorded.
pub async fn open(address: SocketAddr) {
    for _ in 0..300 {
        if std::net::TcpListener::bind(address).is_err() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("nothing listens at {address}");
}
