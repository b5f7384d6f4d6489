//! Credentials that the control plane sends by name: certificates of gateways' servers and for destinations, and the
//! roots that go with them.

use std::fmt;
use std::sync::Arc;

use lateen_api::envoy::envoy::config::core::v3::{DataSource, data_source::Specifier};
use lateen_api::envoy::envoy::extensions::transport_sockets::tls::v3::{Secret, secret::Type};
use rustls::crypto::CryptoProvider;
use rustls::sign::CertifiedKey;
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject;

use super::identity::{Roots, certificates_in};

/// A credential, ready for use.
#[derive(Default)]
pub struct Credential {
    /// Certificate and key.
    pub certified: Option<Arc<CertifiedKey>>,
    /// What the peer's certificate has to lead to.
    pub roots: Option<Roots>,
    /// PEM of revocation lists.
    pub revoked: Option<Arc<[u8]>>,
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credential").field("certified", &self.certified.is_some()).finish_non_exhaustive()
    }
}

impl Credential {
    /// Reads a secret; the error says which part is unusable, and shows none of it.
    pub fn parse(secret: &Secret, provider: &CryptoProvider) -> Result<Self, String> {
        match &secret.r#type {
            Some(Type::TlsCertificate(pair)) => {
                let chain = certificates_in(inline(pair.certificate_chain.as_ref(), "certificate")?);
                let chain = chain.map_err(|error| format!("the certificate can't be read: {error}"))?;
                let key = PrivateKeyDer::from_pem_slice(inline(pair.private_key.as_ref(), "key")?)
                    .map_err(|_| "the key is no private key in PEM form".to_owned())?;
                let mut certified = CertifiedKey::from_der(chain, key, provider)
                    .map_err(|error| format!("certificate and key can't be used: {error}"))?;
                certified.ocsp = pair.ocsp_staple.as_ref().and_then(|s| inline(Some(s), "").ok()).map(<[u8]>::to_vec);
                Ok(Self { certified: Some(Arc::new(certified)), ..Self::default() })
            }
            Some(Type::ValidationContext(context)) => {
                let roots = certificates_in(inline(context.trusted_ca.as_ref(), "roots")?).and_then(Roots::new);
                let roots = roots.map_err(|error| format!("the roots can't be used: {error}"))?;
                let revoked = context.crl.as_ref().and_then(|crl| inline(Some(crl), "").ok()).map(Arc::from);
                Ok(Self { roots: Some(roots), revoked, ..Self::default() })
            }
            _ => Err("it is neither a certificate nor roots".to_owned()),
        }
    }
}

fn inline<'s>(source: Option<&'s DataSource>, what: &str) -> Result<&'s [u8], String> {
    match source.and_then(|source| source.specifier.as_ref()) {
        Some(Specifier::InlineBytes(bytes)) => Ok(bytes),
        Some(Specifier::InlineString(text)) => Ok(text.as_bytes()),
        _ => Err(format!("it has no {what}")),
    }
}
