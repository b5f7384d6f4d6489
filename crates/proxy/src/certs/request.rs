//! A new key and the request to certify it.

use rcgen::{CertificateParams, DistinguishedName, KeyPair, PKCS_ECDSA_P256_SHA256, SanType};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

use super::CertError;

/// A key without a certificate yet.
pub struct PendingKey {
    key: KeyPair,
    /// The request, PEM.
    pub csr: String,
}

impl PendingKey {
    /// Makes an ECDSA P-256 key and a request for an identity.
    pub fn generate(spiffe_id: &str) -> Result<PendingKey, CertError> {
        let failed = |e: rcgen::Error| CertError::Request(e.to_string());
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(failed)?;
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.subject_alt_names = vec![SanType::URI(spiffe_id.try_into().map_err(failed)?)];
        let csr = params.serialize_request(&key).map_err(failed)?.pem().map_err(failed)?;
        Ok(PendingKey { key, csr })
    }

    /// The key, once it is certified.
    pub fn into_key(self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.key.serialize_der()))
    }
}
