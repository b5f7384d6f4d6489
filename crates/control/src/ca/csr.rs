//! Reads a certificate signing request for the one thing we take from it: the public key.

use rcgen::SubjectPublicKeyInfo;
use rustls_pki_types::CertificateSigningRequestDer;
use rustls_pki_types::pem::PemObject;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::prelude::FromDer;

use super::CaError;

/// Far more than any key needs.
const MAX_CSR_BYTES: usize = 64 << 10;

/// The public key of a request whose signature proves possession of the private one.
///
/// Names, key usages and extensions in the request are ignored: the identity is the caller's.
pub(super) fn public_key(pem: &str) -> Result<SubjectPublicKeyInfo, CaError> {
    let refuse = |reason: &str| CaError::BadRequest(reason.to_owned());
    if pem.len() > MAX_CSR_BYTES {
        return Err(refuse("it is larger than 64 KiB"));
    }
    let der = CertificateSigningRequestDer::from_pem_slice(pem.as_bytes())
        .map_err(|_| refuse("it is not PEM of type CERTIFICATE REQUEST"))?;
    let (rest, csr) =
        X509CertificationRequest::from_der(&der).map_err(|_| refuse("it is not a PKCS #10 certificate request"))?;
    if !rest.is_empty() {
        return Err(refuse("it has trailing bytes"));
    }
    csr.verify_signature().map_err(|_| refuse("its signature does not match its public key"))?;
    let key = csr.certification_request_info.subject_pki.raw;
    SubjectPublicKeyInfo::from_der(key)
        .map_err(|_| refuse("its key type is not supported; use ECDSA P-256, RSA or Ed25519"))
}
