//! The kubelet's probes, asked of the application from inside the pod, so that mTLS never stands in their way.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use rustls::ClientConfig;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::{DigitallySignedStruct, Error as TlsError, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::TlsConnector;

use crate::config::{Check, Prober as Probe};
use crate::local_http::{self, ClientError};

/// Why a probe failed.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// No answer.
    #[error("probe of the application: {0}")]
    Client(#[from] ClientError),
    /// The health service says no.
    #[error("probe of the application at {0}: {1}")]
    Health(SocketAddr, String),
    /// TLS failed.
    #[error("probe of the application at {0}: TLS: {1}")]
    Tls(SocketAddr, String),
}

/// Largest answer that is read.
const MAX_BODY: usize = 10 << 10;

/// Asks the application.
pub struct Prober {
    tls: Arc<ClientConfig>,
    mark: Option<u32>,
}

impl Prober {
    /// Sockets get `mark`.
    pub fn new(provider: Arc<CryptoProvider>, mark: Option<u32>) -> Result<Prober, TlsError> {
        let verifier = Arc::new(AnyCertificate(provider.clone()));
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        let config = config.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth();
        Ok(Prober { tls: Arc::new(config), mark })
    }

    /// Asks once; `asked` are the headers of the kubelet's own request.
    pub async fn ask(&self, probe: &Probe, app: IpAddr, asked: &HeaderMap) -> Result<StatusCode, ProbeError> {
        let port = match &probe.check {
            Check::Http { port, .. } | Check::Tcp { port } | Check::Grpc { port, .. } => *port,
        };
        let to = SocketAddr::new(app, port);
        let work = async {
            match &probe.check {
                Check::Tcp { .. } => local_http_connect(to, self.mark).await.map(|_| StatusCode::OK),
                Check::Grpc { service, .. } => grpc::check(to, self.mark, service).await,
                Check::Http { path, host, tls, headers, .. } => {
                    let headers = probe_headers(asked, host.as_deref(), headers);
                    self.http(to, path, headers, *tls, host.as_deref()).await
                }
            }
        };
        let limit: Duration = probe.timeout;
        tokio::time::timeout(limit, work).await.unwrap_or(Err(ClientError::Timeout(to, limit).into()))
    }

    async fn http(
        &self,
        to: SocketAddr,
        path: &str,
        headers: HeaderMap,
        tls: bool,
        host: Option<&str>,
    ) -> Result<StatusCode, ProbeError> {
        let stream = local_http_connect(to, self.mark).await?;
        if !tls {
            return Ok(local_http::get_over(stream, to, path, headers, MAX_BODY).await?.status);
        }
        let name = host.and_then(|h| ServerName::try_from(h.to_owned()).ok());
        let name = name.unwrap_or_else(|| ServerName::IpAddress(to.ip().into()));
        let stream = TlsConnector::from(self.tls.clone()).connect(name, stream).await;
        let stream = stream.map_err(|e| ProbeError::Tls(to, e.to_string()))?;
        Ok(local_http::get_over(stream, to, path, headers, MAX_BODY).await?.status)
    }
}

async fn local_http_connect(to: SocketAddr, mark: Option<u32>) -> Result<tokio::net::TcpStream, ProbeError> {
    Ok(local_http::connect(to, mark).await?)
}

/// The kubelet's headers, then those that the pod's description asks for.
fn probe_headers(asked: &HeaderMap, host: Option<&str>, more: &[(String, String)]) -> HeaderMap {
    let mut headers = asked.clone();
    for name in [header::HOST, header::CONNECTION, header::CONTENT_LENGTH, header::TRANSFER_ENCODING] {
        headers.remove(name);
    }
    let host = host.map(|h| ("host".to_owned(), h.to_owned()));
    for (name, value) in host.iter().chain(more) {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name.as_str()), HeaderValue::try_from(value.as_str())) {
            headers.insert(name, value);
        }
    }
    headers
}

/// Accepts whatever certificate the application shows, as the kubelet does.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        rustls::crypto::verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        rustls::crypto::verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// gRPC's health service.
mod grpc {
    use std::net::SocketAddr;

    use http::StatusCode;
    use hyper_util::rt::TokioIo;
    use tonic::client::Grpc;
    use tonic::transport::Endpoint;
    use tonic_prost::ProstCodec;

    use super::{ProbeError, local_http_connect};

    #[derive(Clone, PartialEq, prost::Message)]
    struct HealthCheckRequest {
        #[prost(string, tag = "1")]
        service: String,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    struct HealthCheckResponse {
        #[prost(int32, tag = "1")]
        status: i32,
    }

    const CHECK_PATH: &str = "/grpc.health.v1.Health/Check";
    const SERVING: i32 = 1;

    pub(super) async fn check(to: SocketAddr, mark: Option<u32>, service: &str) -> Result<StatusCode, ProbeError> {
        let bad = |e: &dyn std::fmt::Display| ProbeError::Health(to, e.to_string());
        let connector =
            tower::service_fn(move |_: http::Uri| async move { local_http_connect(to, mark).await.map(TokioIo::new) });
        let endpoint = Endpoint::from_shared(format!("http://{to}")).map_err(|e| bad(&e))?;
        let channel = endpoint.connect_with_connector(connector).await.map_err(|e| bad(&e))?;
        let mut grpc = Grpc::new(channel);
        grpc.ready().await.map_err(|e| bad(&e))?;
        let request = tonic::Request::new(HealthCheckRequest { service: service.to_owned() });
        let codec = ProstCodec::<HealthCheckRequest, HealthCheckResponse>::default();
        let path = http::uri::PathAndQuery::from_static(CHECK_PATH);
        let answer = grpc.unary(request, path, codec).await.map_err(|status| bad(&status.message()))?;
        match answer.into_inner().status {
            SERVING => Ok(StatusCode::OK),
            status => Err(bad(&format!("health status {status}, not SERVING"))),
        }
    }
}
