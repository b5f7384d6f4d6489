//! istiod on free ports of loopback, fed with events by the test.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::SystemTime;

use hyper_util::rt::TokioIo;
use lateen_control::access::{Decision, SecretAccess};
use lateen_control::auth::{AuthError, Authentication, Authenticator};
use lateen_control::ca::{Authority, Live};
use lateen_control::config::Listen;
use lateen_control::source::{Event, Key, watched};
use lateen_control::tls::provider;
use lateen_control::{Callers, Config, Istiod, Servers};
use lateen_mesh::SpiffeId;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::{Channel, Endpoint};

/// Tokens of the form `namespace/account` are good.
struct ByName;

impl Authenticator for ByName {
    fn authenticate<'a>(&'a self, token: &'a str) -> Authentication<'a> {
        Box::pin(async move {
            let (namespace, account) =
                token.split_once('/').ok_or_else(|| AuthError::Refused("it is forged".into()))?;
            Ok(SpiffeId::new("cluster.local", namespace, account))
        })
    }
}

/// Accounts called `gateway` may read Secrets.
struct Gateways;

impl SecretAccess for Gateways {
    fn may_read<'a>(&'a self, caller: &'a SpiffeId) -> Decision<'a> {
        Box::pin(async move { Ok(caller.service_account == "gateway") })
    }
}

/// A running istiod; ends when dropped.
pub struct TestIstiod {
    pub servers: Servers,
    pub authority: Arc<Authority>,
    events: mpsc::Sender<Event>,
    shutdown: CancellationToken,
    _background: JoinSet<()>,
}

impl Drop for TestIstiod {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

impl TestIstiod {
    /// Starts with nothing known yet.
    pub async fn start() -> Self {
        let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let free = SocketAddr::new(loopback, 0);
        let mut config = Config::resolve("1.2.3", |_| None);
        config.listen = Listen { grpc: free, tls_grpc: free, webhook: free, monitoring: free, health: free };
        let authority = Authority::self_signed("cluster.local", SystemTime::now()).unwrap();
        let authority = Arc::new(authority);
        let callers = Callers { authenticator: Arc::new(ByName), access: Arc::new(Gateways) };
        let istiod = Istiod::new(config, Live::new(authority.clone()), callers);
        let (events, receiver) = mpsc::channel(16);
        let (shutdown, mut background) = (CancellationToken::new(), JoinSet::new());
        let servers = istiod.start(receiver, None, &mut background, &shutdown).await.unwrap();
        TestIstiod { servers, authority, events, shutdown, _background: background }
    }

    /// Starts with these objects (YAML documents as JSON values) and nothing else.
    pub async fn with(objects: &[Value]) -> Self {
        let istiod = Self::start().await;
        for object in objects {
            istiod.put(object.clone()).await;
        }
        istiod.synced().await;
        istiod
    }

    /// Says that all objects were sent.
    pub async fn synced(&self) {
        for kind in watched() {
            self.events.send(Event::Synced(kind)).await.unwrap();
        }
    }

    pub async fn put(&self, object: Value) {
        self.events.send(Event::Put(key(&object), object)).await.unwrap();
    }

    pub async fn delete(&self, object: &Value) {
        self.events.send(Event::Gone(key(object))).await.unwrap();
    }

    /// A TLS connection as a sidecar makes it: trusting only the mesh's root.
    pub async fn connect(&self, address: SocketAddr) -> TlsStream<TcpStream> {
        connect(address, &self.authority.root_pem()).await
    }

    /// gRPC over TLS on port 15012.
    pub fn channel(&self) -> Channel {
        let (address, root) = (self.servers.addresses.tls_grpc, self.authority.root_pem());
        let connector = tower::service_fn(move |_: http::Uri| {
            let root = root.clone();
            async move { Ok::<_, std::io::Error>(TokioIo::new(connect(address, &root).await)) }
        });
        Endpoint::from_static("http://istiod.istio-system.svc:15012").connect_with_connector_lazy(connector)
    }
}

async fn connect(address: SocketAddr, root: &str) -> TlsStream<TcpStream> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(root.as_bytes()).unwrap()).unwrap();
    let mut config = rustls::ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let name = ServerName::try_from("istiod.istio-system.svc").unwrap();
    let tcp = TcpStream::connect(address).await.unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, tcp).await.unwrap()
}

fn key(object: &Value) -> Key {
    let kind = object["kind"].as_str().unwrap();
    let text = |name: &str| object["metadata"][name].as_str().unwrap_or_default().to_owned();
    Key {
        kind: watched().find(|known| known.kind == kind).expect("a watched kind"),
        namespace: text("namespace"),
        name: text("name"),
    }
}

/// One HTTP request on a new connection; answers status and body.
pub async fn http(
    io: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    path: &str,
    body: Option<&Value>,
) -> (u16, String) {
    use http_body_util::BodyExt as _;
    use hyper_util::rt::TokioExecutor;
    let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(io));
    let (mut sender, connection) = handshake.await.unwrap();
    tokio::spawn(connection);
    let text = body.map(Value::to_string).unwrap_or_default();
    let request = http::Request::builder()
        .method(if body.is_some() { "POST" } else { "GET" })
        .uri(format!("http://istiod{path}"))
        .header("content-type", "application/json")
        .body(http_body_util::Full::new(bytes::Bytes::from(text)))
        .unwrap();
    let response = sender.send_request(request).await.unwrap();
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}
