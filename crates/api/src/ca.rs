//! Messages of Istio's certificate service (`istio.v1.auth.IstioCertificateService`).

/// gRPC path of the method that signs a certificate request.
pub const CREATE_CERTIFICATE_PATH: &str = "/istio.v1.auth.IstioCertificateService/CreateCertificate";

/// A request to sign a workload certificate.
#[derive(Clone, PartialEq, prost::Message)]
pub struct IstioCertificateRequest {
    /// The certificate signing request, PEM.
    #[prost(string, tag = "1")]
    pub csr: String,
    /// The lifetime asked for, in seconds.
    #[prost(int64, tag = "3")]
    pub validity_duration: i64,
    /// Further facts, such as `CertSigner` or `ImpersonatedIdentity`.
    #[prost(message, optional, tag = "4")]
    pub metadata: Option<prost_types::Struct>,
}

/// The signed certificate.
#[derive(Clone, PartialEq, prost::Message)]
pub struct IstioCertificateResponse {
    /// PEM certificates: the leaf, then intermediates, last the root.
    #[prost(string, repeated, tag = "1")]
    pub cert_chain: Vec<String>,
}
