//! Istio's certificate service, as its client.

use std::future::Future;
use std::time::Duration;

use lateen_api::ca::{CREATE_CERTIFICATE_PATH, IstioCertificateRequest, IstioCertificateResponse};
use tonic::Code;
use tonic::client::Grpc;
use tonic_prost::ProstCodec;

use super::CertError;
use crate::control_plane::ControlPlane;

/// Longest wait for a signature.
const SIGN_TIMEOUT: Duration = Duration::from_secs(10);

/// Who signs certificates.
pub trait Authority {
    /// Signs a request (PEM) and returns PEM certificates: leaf, intermediates, root.
    fn sign(&self, csr: String, lifetime: Duration) -> impl Future<Output = Result<Vec<String>, CertError>> + Send;
}

/// The control plane's certificate service.
#[derive(Clone, Debug)]
pub struct CertificateAuthority(pub ControlPlane);

impl Authority for CertificateAuthority {
    async fn sign(&self, csr: String, lifetime: Duration) -> Result<Vec<String>, CertError> {
        let answer = tokio::time::timeout(SIGN_TIMEOUT, self.ask(csr, lifetime)).await;
        answer.unwrap_or_else(|_| Err(CertError::Timeout(self.0.address.clone())))
    }
}

impl CertificateAuthority {
    async fn ask(&self, csr: String, lifetime: Duration) -> Result<Vec<String>, CertError> {
        let metadata = self.0.credentials()?;
        let channel = self.0.channel().await?;
        let mut grpc = Grpc::with_origin(channel, self.0.origin()?);
        grpc.ready().await.map_err(|e| self.0.broken(&e))?;
        let message = IstioCertificateRequest {
            csr,
            validity_duration: i64::try_from(lifetime.as_secs()).unwrap_or(i64::MAX),
            metadata: None,
        };
        let request = tonic::Request::from_parts(metadata, Default::default(), message);
        let path = http::uri::PathAndQuery::from_static(CREATE_CERTIFICATE_PATH);
        let codec = ProstCodec::<IstioCertificateRequest, IstioCertificateResponse>::default();
        let response = grpc.unary(request, path, codec).await.map_err(|status| CertError::Refused {
            address: self.0.address.clone(),
            message: status.message().to_owned(),
            code: format!("{:?}", status.code()),
            hint: hint(status.code()),
        })?;
        Ok(response.into_inner().cert_chain)
    }
}

fn hint(code: Code) -> &'static str {
    match code {
        Code::Unauthenticated | Code::PermissionDenied => {
            "check that the pod's istio-token has audience istio-ca and its ServiceAccount still exists"
        }
        Code::Unimplemented => "CA_ADDR does not point at a certificate service",
        _ => "see the log of istiod",
    }
}
