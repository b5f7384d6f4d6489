//! A control plane of one test: signs certificates and serves a fixed set of resources.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures::StreamExt;
use hyper_util::rt::{TokioExecutor, TokioIo};
use lateen_api::ca::{CREATE_CERTIFICATE_PATH, IstioCertificateRequest, IstioCertificateResponse};
use lateen_xds::server::{Ads, AdsServer, Entry, Names, RequestStream, Response, ResponseStream};
use parking_lot::Mutex;
use prost::{Message, Name};
use rcgen::{BasicConstraints, CertificateParams, CertificateSigningRequestParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tonic::Status;
use tonic::server::{Grpc, UnaryService};
use tonic_prost::ProstCodec;
use tower::Service as _;

/// The token that proxies have to show.
pub const TOKEN: &str = "test-token";

/// Resources by type and name.
pub type Resources = BTreeMap<(String, String), Bytes>;

/// A running control plane.
pub struct Istiod {
    /// Where it listens.
    pub address: SocketAddr,
    /// Its root certificate, PEM.
    pub root_pem: String,
    shared: Arc<Shared>,
}

struct Shared {
    issuer: CertifiedIssuer<'static, KeyPair>,
    resources: Mutex<Resources>,
    nacks: Arc<Mutex<Vec<String>>>,
    signed: AtomicUsize,
}

/// Adds a resource under its name.
pub fn put<M: Message + Name>(resources: &mut Resources, name: &str, message: &M) {
    resources.insert((M::type_url(), name.to_owned()), message.encode_to_vec().into());
}

impl Istiod {
    pub async fn start(resources: Resources) -> Istiod {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::OrganizationName, "cluster.local");
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().expect("key")).expect("root");
        let root_pem = issuer.pem();
        let tls = server_config(&issuer);
        let shared = Arc::new(Shared {
            issuer,
            resources: Mutex::new(resources),
            nacks: Arc::default(),
            signed: AtomicUsize::new(0),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("listen");
        let address = listener.local_addr().expect("address");
        tokio::spawn(accept(listener, TlsAcceptor::from(Arc::new(tls)), shared.clone()));
        Istiod { address, root_pem, shared }
    }

    /// What streams that open from now on are told.
    pub fn set(&self, resources: Resources) {
        *self.shared.resources.lock() = resources;
    }

    /// What proxies refused.
    pub fn nacks(&self) -> Vec<String> {
        self.shared.nacks.lock().clone()
    }

    /// How many certificates were signed.
    pub fn signed(&self) -> usize {
        self.shared.signed.load(Ordering::SeqCst)
    }
}

fn server_config(issuer: &CertifiedIssuer<'static, KeyPair>) -> ServerConfig {
    let key = KeyPair::generate().expect("key");
    let params = CertificateParams::new(vec!["localhost".to_owned()]).expect("name");
    let certificate = params.signed_by(&key, issuer).expect("certificate");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder =
        ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().expect("versions");
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let mut config =
        builder.with_no_client_auth().with_single_cert(vec![certificate.der().clone()], key).expect("key fits");
    config.alpn_protocols = vec![b"h2".to_vec()];
    config
}

async fn accept(listener: TcpListener, tls: TlsAcceptor, shared: Arc<Shared>) {
    loop {
        let (stream, _) = listener.accept().await.expect("accept");
        let (tls, shared) = (tls.clone(), shared.clone());
        tokio::spawn(async move {
            let Ok(stream) = tls.accept(stream).await else { return };
            let service = hyper::service::service_fn(move |request: http::Request<hyper::body::Incoming>| {
                let shared = shared.clone();
                async move {
                    let authorized =
                        request.headers().get("authorization").is_some_and(|value| value == &format!("Bearer {TOKEN}"));
                    let response = if !authorized {
                        Status::unauthenticated("wrong token").into_http()
                    } else if request.uri().path() == CREATE_CERTIFICATE_PATH {
                        let codec = ProstCodec::<IstioCertificateResponse, IstioCertificateRequest>::default();
                        Grpc::new(codec).unary(Signer(shared), request).await
                    } else {
                        AdsServer::new(shared).call(request).await.unwrap_or_else(|never| match never {})
                    };
                    Ok::<_, std::convert::Infallible>(response)
                }
            });
            let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            let _ = server.serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

struct Signer(Arc<Shared>);

impl UnaryService<IstioCertificateRequest> for Signer {
    type Response = IstioCertificateResponse;
    type Future = std::future::Ready<Result<tonic::Response<IstioCertificateResponse>, Status>>;

    fn call(&mut self, request: tonic::Request<IstioCertificateRequest>) -> Self::Future {
        let mut csr = CertificateSigningRequestParams::from_pem(&request.get_ref().csr).expect("request");
        let now = SystemTime::now() - Duration::from_secs(10);
        csr.params.not_before = now.into();
        csr.params.not_after = (now + Duration::from_secs(3600)).into();
        let leaf = csr.signed_by(&self.0.issuer).expect("signed");
        self.0.signed.fetch_add(1, Ordering::SeqCst);
        let cert_chain = vec![leaf.pem(), self.0.issuer.pem()];
        std::future::ready(Ok(tonic::Response::new(IstioCertificateResponse { cert_chain })))
    }
}

impl Ads for Shared {
    async fn connect(
        &self,
        _head: tonic::Request<()>,
        _delta: bool,
        requests: RequestStream,
    ) -> Result<ResponseStream, Status> {
        let resources = self.resources.lock().clone();
        let (sender, receiver) = tokio::sync::mpsc::channel(16);
        tokio::spawn(serve(resources, requests, sender, self.nacks.clone()));
        Ok(Box::pin(tokio_stream::wrappers::ReceiverStream::new(receiver)))
    }
}

async fn serve(
    resources: Resources,
    mut requests: RequestStream,
    sender: tokio::sync::mpsc::Sender<Result<Response, Status>>,
    nacks: Arc<Mutex<Vec<String>>>,
) {
    while let Some(Ok(request)) = requests.next().await {
        if let Some(error) = request.error {
            nacks.lock().push(error);
        }
        let wanted = match request.names {
            // An Envoy that wants everything may begin with no name at all.
            Names::Delta { subscribe, .. } if !subscribe.is_empty() || request.nonce.is_empty() => subscribe,
            Names::Full(names) if request.nonce.is_empty() => names,
            _ => continue,
        };
        let all = wanted.is_empty() || wanted.iter().any(|name| name == "*");
        let entries = resources
            .iter()
            .filter(|((type_url, name), _)| *type_url == request.type_url && (all || wanted.contains(name)));
        let entries = entries.map(|((type_url, name), body)| Entry {
            name: name.as_str().into(),
            version: "1".into(),
            type_url: type_url.as_str().into(),
            body: body.clone(),
        });
        let response = Response {
            type_url: request.type_url.as_str().into(),
            nonce: format!("{}-1", request.type_url),
            version: "1".to_owned(),
            resources: entries.collect(),
            removed: Vec::new(),
        };
        if sender.send(Ok(response)).await.is_err() {
            return;
        }
    }
}
