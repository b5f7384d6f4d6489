//! What a workload gets from the certificate service.

use lateen_api::ca::{CREATE_CERTIFICATE_PATH, IstioCertificateRequest, IstioCertificateResponse};
use rcgen::{CertificateParams, KeyPair};
use tonic::{Code, Request, Status};
use tonic_prost::ProstCodec;

use crate::istiod::TestIstiod;

async fn sign(istiod: &TestIstiod, token: Option<&str>) -> Result<Vec<String>, Status> {
    let key = KeyPair::generate().unwrap();
    let csr = CertificateParams::default().serialize_request(&key).unwrap().pem().unwrap();
    let mut request = Request::new(IstioCertificateRequest { csr, validity_duration: 3600, metadata: None });
    if let Some(token) = token {
        let value = format!("Bearer {token}").parse().unwrap();
        request.metadata_mut().insert("authorization", value);
    }
    let mut grpc = tonic::client::Grpc::new(istiod.channel());
    grpc.ready().await.unwrap();
    let codec = ProstCodec::<IstioCertificateRequest, IstioCertificateResponse>::default();
    let path = http::uri::PathAndQuery::from_static(CREATE_CERTIFICATE_PATH);
    let response = grpc.unary(request, path, codec).await?;
    Ok(response.into_inner().cert_chain)
}

#[tokio::test]
async fn a_token_gets_a_certificate_of_its_identity() {
    let istiod = TestIstiod::start().await;
    let chain = sign(&istiod, Some("shop/cart")).await.unwrap();
    assert_eq!(*chain.last().unwrap(), istiod.authority.root_pem());
    use rustls_pki_types::pem::PemObject as _;
    let leaf = rustls_pki_types::CertificateDer::from_pem_slice(chain[0].as_bytes()).unwrap();
    let leaf = String::from_utf8_lossy(&leaf).into_owned();
    assert!(leaf.contains("spiffe://cluster.local/ns/shop/sa/cart"));
}

#[tokio::test]
async fn no_certificate_without_a_good_token() {
    let istiod = TestIstiod::start().await;
    for token in [None, Some("forged")] {
        let refused = sign(&istiod, token).await.unwrap_err();
        assert_eq!(refused.code(), Code::Unauthenticated, "{token:?}");
    }
}
