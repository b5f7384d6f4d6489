//! Roots of trust and certificates, from wherever the configuration says.

use std::sync::Arc;

use lateen_proxy_core::tls::{CertificateSource, CommonTls, RootSource};
use rustls::RootCertStore;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use rustls::sign::CertifiedKey;
use webpki::CertRevocationList;

use super::TlsError;
use super::provider::provider;
use crate::certs::{CertStore, revocation_lists};

/// The secret that holds the workload's own certificate.
const WORKLOAD: &str = "default";
/// The secret that holds the mesh's roots.
const ROOTS: &str = "ROOTCA";
/// The machine's own roots, wherever distributions keep them.
const SYSTEM: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// What a peer's certificate is checked against.
#[derive(Default)]
pub struct Trust {
    /// Roots; `None` when the configuration wants no check.
    pub roots: Option<Arc<RootCertStore>>,
    /// Revocation lists.
    pub revoked: Vec<CertRevocationList<'static>>,
}

/// What to check a peer against.
pub fn trust(common: &CommonTls, certs: &CertStore) -> Result<Trust, TlsError> {
    let mut revoked = match &common.validation.revoked {
        Some(RootSource::File(path)) => lists(&read(path)?)?,
        Some(RootSource::Inline(pem)) => lists(pem)?,
        _ => Vec::new(),
    };
    if let Some(RootSource::Sds(name)) = &common.validation.roots {
        let pem = match &**name {
            ROOTS => certs.roots().and_then(|roots| roots.revoked.clone()),
            name => certs.credential(name).and_then(|credential| credential.revoked.clone()),
        };
        revoked.extend(pem.map(|pem| lists(&pem)).transpose()?.unwrap_or_default());
    }
    Ok(Trust { roots: roots(common, certs)?, revoked })
}

fn lists(pem: &[u8]) -> Result<Vec<CertRevocationList<'static>>, TlsError> {
    revocation_lists(pem).map_err(|error| TlsError::Unusable(format!("revocation list: {error}")))
}

fn roots(common: &CommonTls, certs: &CertStore) -> Result<Option<Arc<RootCertStore>>, TlsError> {
    let Some(source) = &common.validation.roots else { return Ok(None) };
    match source {
        RootSource::Sds(name) if &**name == ROOTS => {
            certs.roots().map(|roots| Some(roots.anchors.clone())).ok_or(TlsError::NoRoots)
        }
        RootSource::Sds(name) => {
            let credential = certs.credential(name);
            let roots = credential.as_ref().and_then(|credential| credential.roots.as_ref());
            roots.map(|roots| Some(roots.anchors.clone())).ok_or_else(|| TlsError::NoCredential(name.to_string()))
        }
        RootSource::File(path) => store(&read(path)?).map(Some),
        RootSource::Inline(pem) => store(pem).map(Some),
        RootSource::System => {
            let found = SYSTEM.iter().find_map(|path| std::fs::read(path).ok());
            let pem = found.ok_or_else(|| TlsError::Unusable("this machine has no root certificates".into()))?;
            store(&pem).map(Some)
        }
    }
}

fn read(path: &str) -> Result<Vec<u8>, TlsError> {
    std::fs::read(path).map_err(|error| TlsError::Unusable(format!("{path}: {error}")))
}

fn store(pem: &[u8]) -> Result<Arc<RootCertStore>, TlsError> {
    let mut store = RootCertStore::empty();
    store.add_parsable_certificates(CertificateDer::pem_slice_iter(pem).filter_map(Result::ok));
    if store.is_empty() {
        return Err(TlsError::Unusable("no usable root certificate in the PEM text".into()));
    }
    Ok(Arc::new(store))
}

/// Own certificates, of which several are of different kinds of keys; none when the configuration names none.
pub fn certificates(common: &CommonTls, certs: &CertStore) -> Result<Vec<Arc<CertifiedKey>>, TlsError> {
    common.certificates.iter().map(|source| certificate(source, certs)).collect()
}

fn certificate(source: &CertificateSource, certs: &CertStore) -> Result<Arc<CertifiedKey>, TlsError> {
    match source {
        CertificateSource::Sds(name) if &**name == WORKLOAD => {
            certs.identity().map(|identity| identity.certified.clone()).ok_or(TlsError::NoCertificate)
        }
        CertificateSource::Sds(name) => {
            let certified = certs.credential(name).and_then(|credential| credential.certified.clone());
            certified.ok_or_else(|| TlsError::NoCredential(name.to_string()))
        }
        CertificateSource::Files { chain, key } => certified(&read(chain)?, &read(key)?),
        CertificateSource::Inline { chain, key } => certified(chain, key),
    }
}

fn certified(chain: &[u8], key: &[u8]) -> Result<Arc<CertifiedKey>, TlsError> {
    let unusable = |text: String| TlsError::Unusable(text);
    let chain: Vec<_> = CertificateDer::pem_slice_iter(chain)
        .collect::<Result<_, _>>()
        .map_err(|error| unusable(format!("certificate: {error}")))?;
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| unusable(format!("key: {error}")))?;
    let certified = CertifiedKey::from_der(chain, key, &provider());
    certified.map(Arc::new).map_err(|error| unusable(format!("certificate and key: {error}")))
}
