//! The certificate service, `istio.v1.auth.IstioCertificateService`.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use lateen_api::ca::{CREATE_CERTIFICATE_PATH, IstioCertificateRequest, IstioCertificateResponse};
use lateen_mesh::SpiffeId;
use tonic::Status;
use tonic::body::Body;
use tonic::server::{Grpc, NamedService, UnaryService};
use tonic_prost::ProstCodec;

use super::{CaError, Live};
use crate::auth::{Authenticator, identify};
use crate::metrics::{self, Metrics};

const MAX_REQUEST_BYTES: usize = 128 << 10;

/// Serves certificate requests of callers that prove who they are.
#[derive(Clone)]
pub struct CaServer {
    inner: Arc<Inner>,
}

struct Inner {
    ca: Live,
    authenticator: Arc<dyn Authenticator>,
    metrics: Arc<Metrics>,
}

impl CaServer {
    /// Signs with `ca` for those whom `authenticator` knows.
    pub fn new(ca: Live, authenticator: Arc<dyn Authenticator>, metrics: Arc<Metrics>) -> Self {
        CaServer { inner: Arc::new(Inner { ca, authenticator, metrics }) }
    }
}

impl NamedService for CaServer {
    const NAME: &'static str = "istio.v1.auth.IstioCertificateService";
}

impl Inner {
    async fn sign(&self, request: tonic::Request<IstioCertificateRequest>) -> Result<IstioCertificateResponse, Status> {
        self.metrics.add(&metrics::CITADEL_CSR_COUNT, &[]);
        let identity = identify(&*self.authenticator, request.metadata())
            .await
            .inspect_err(|_| self.metrics.add(&metrics::CITADEL_AUTHENTICATION_FAILURE_COUNT, &[]))?;
        let request = request.into_inner();
        let seconds = u64::try_from(request.validity_duration).ok().filter(|seconds| *seconds > 0);
        let ttl = seconds.map(Duration::from_secs);
        let active = self.ca.now();
        let signed = active.signer.sign_workload(&request.csr, &identity, ttl, SystemTime::now());
        match signed {
            Ok(mut cert_chain) => {
                cert_chain.push(active.roots.to_string());
                self.metrics.add(&metrics::CITADEL_SUCCESS_CERT_ISSUANCE_COUNT, &[]);
                tracing::info!(%identity, "signed a workload certificate");
                Ok(IstioCertificateResponse { cert_chain })
            }
            Err(error) => Err(self.refuse(&identity, &error)),
        }
    }

    fn refuse(&self, identity: &SpiffeId, error: &CaError) -> Status {
        tracing::warn!(%identity, %error, "no certificate signed");
        match error {
            CaError::BadRequest(_) => {
                self.metrics.add(&metrics::CITADEL_CSR_PARSING_ERR_COUNT, &[]);
                Status::invalid_argument(error.to_string())
            }
            _ => {
                let labels = [("error", "CA_ERROR")];
                self.metrics.add(&metrics::CITADEL_CSR_SIGN_ERR_COUNT, &labels);
                Status::internal("the CA failed to sign; see istiod's log")
            }
        }
    }
}

struct Sign(Arc<Inner>);

impl UnaryService<IstioCertificateRequest> for Sign {
    type Response = IstioCertificateResponse;
    type Future = Pin<Box<dyn Future<Output = Result<tonic::Response<Self::Response>, Status>> + Send>>;

    fn call(&mut self, request: tonic::Request<IstioCertificateRequest>) -> Self::Future {
        let inner = self.0.clone();
        Box::pin(async move { inner.sign(request).await.map(tonic::Response::new) })
    }
}

impl<B> tower::Service<http::Request<B>> for CaServer
where
    B: http_body::Body + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>> + Send + 'static,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        if request.uri().path() != CREATE_CERTIFICATE_PATH {
            return Box::pin(async { Ok(Status::unimplemented("no such method").into_http()) });
        }
        let sign = Sign(self.inner.clone());
        Box::pin(async move {
            let codec = ProstCodec::<IstioCertificateResponse, IstioCertificateRequest>::default();
            let mut grpc = Grpc::new(codec).apply_max_message_size_config(Some(MAX_REQUEST_BYTES), None);
            Ok(grpc.unary(sign, request).await)
        })
    }
}
