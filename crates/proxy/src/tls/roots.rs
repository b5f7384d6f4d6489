//! Roots of trust and certificates, from wherever the configuration says.

use std::sync::Arc;

use lateen_proxy_core::tls::{CertificateSource, CommonTls, RootSource};
use rustls::RootCertStore;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use rustls::sign::CertifiedKey;

use super::TlsError;
use super::provider::provider;
use crate::certs::CertStore;

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

/// The roots to check a peer against; `None` when the configuration wants no check.
pub fn roots(common: &CommonTls, certs: &CertStore) -> Result<Option<Arc<RootCertStore>>, TlsError> {
    let Some(source) = &common.validation.roots else { return Ok(None) };
    match source {
        RootSource::Sds(name) if &**name == ROOTS => {
            certs.roots().map(|roots| Some(roots.anchors.clone())).ok_or(TlsError::NoRoots)
        }
        RootSource::Sds(name) => Err(TlsError::Unusable(format!("there is no secret {name:?}"))),
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

/// Own certificate; `None` when the configuration names none.
pub fn certificate(common: &CommonTls, certs: &CertStore) -> Result<Option<Arc<CertifiedKey>>, TlsError> {
    let Some(source) = common.certificates.first() else { return Ok(None) };
    match source {
        CertificateSource::Sds(name) if &**name == WORKLOAD => {
            certs.identity().map(|identity| Some(identity.certified.clone())).ok_or(TlsError::NoCertificate)
        }
        CertificateSource::Sds(name) => Err(TlsError::Unusable(format!("there is no secret {name:?}"))),
        CertificateSource::Files { chain, key } => certified(&read(chain)?, &read(key)?).map(Some),
        CertificateSource::Inline { chain, key } => certified(chain, key).map(Some),
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
