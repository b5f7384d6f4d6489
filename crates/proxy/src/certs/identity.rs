//! A certificate with its key, and the roots.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use webpki::{CertRevocationList, OwnedCertRevocationList};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;

use super::CertError;

/// Certificate and key of this workload.
pub struct Identity {
    /// Chain and key as rustls presents them.
    pub certified: Arc<CertifiedKey>,
    /// `spiffe://<trust domain>/ns/<namespace>/sa/<service account>`
    pub spiffe_id: Option<String>,
    /// Serial number, hexadecimal.
    pub serial: String,
    /// First moment of validity.
    pub not_before: SystemTime,
    /// Last moment of validity.
    pub not_after: SystemTime,
    /// Only for a local Envoy: never logged, never sent over a network.
    key: PrivateKeyDer<'static>,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("spiffe_id", &self.spiffe_id)
            .field("serial", &self.serial)
            .field("not_after", &self.not_after)
            .finish_non_exhaustive()
    }
}

impl Identity {
    /// Puts a certificate chain (leaf first) and its key together, and checks that they fit.
    pub fn new(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
        provider: &CryptoProvider,
    ) -> Result<Identity, CertError> {
        let leaf = chain.first().ok_or_else(|| CertError::Answer("the chain is empty".to_owned()))?;
        let facts = certificate_facts(leaf).ok_or_else(|| CertError::Answer("it cannot be read".to_owned()))?;
        let spiffe_id = facts.uris.into_iter().find(|uri| uri.starts_with("spiffe://"));
        let signer = provider.key_provider.load_private_key(key.clone_key());
        let signer = signer.map_err(|e| CertError::Answer(e.to_string()))?;
        let certified = CertifiedKey::new(chain, signer);
        certified.keys_match().map_err(|_| CertError::Answer("it is not for the key of the request".to_owned()))?;
        Ok(Identity {
            certified: Arc::new(certified),
            spiffe_id,
            serial: facts.serial,
            not_before: facts.not_before,
            not_after: facts.not_after,
            key,
        })
    }

    /// The chain, leaf first.
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.certified.cert
    }

    /// The private key as PEM text, for a local Envoy over its Unix socket.
    pub(crate) fn key_pem(&self) -> String {
        let label = match &self.key {
            PrivateKeyDer::Pkcs1(_) => "RSA PRIVATE KEY",
            PrivateKeyDer::Sec1(_) => "EC PRIVATE KEY",
            _ => "PRIVATE KEY",
        };
        pem_block(label, self.key.secret_der())
    }

    /// How long it is valid in all.
    pub fn lifetime(&self) -> Duration {
        self.not_after.duration_since(self.not_before).unwrap_or_default()
    }
}

/// What a certificate says about itself.
#[derive(Debug)]
pub struct CertificateFacts {
    /// Serial number, hexadecimal.
    pub serial: String,
    /// First moment of validity.
    pub not_before: SystemTime,
    /// Last moment of validity.
    pub not_after: SystemTime,
    /// Identities.
    pub uris: Vec<String>,
}

/// Reads a certificate.
pub fn certificate_facts(der: &[u8]) -> Option<CertificateFacts> {
    let (_, parsed) = X509Certificate::from_der(der).ok()?;
    let names = parsed.subject_alternative_name().ok().flatten();
    let names = names.iter().flat_map(|names| &names.value.general_names);
    let uris = names.filter_map(|name| match name {
        GeneralName::URI(uri) => Some((*uri).to_owned()),
        _ => None,
    });
    Some(CertificateFacts {
        serial: parsed.raw_serial_as_string().replace(':', ""),
        not_before: moment(parsed.validity().not_before.timestamp()),
        not_after: moment(parsed.validity().not_after.timestamp()),
        uris: uris.collect(),
    })
}

fn moment(seconds: i64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds.max(0).unsigned_abs())
}

/// What peers' certificates have to lead to.
#[derive(Clone, Debug)]
pub struct Roots {
    /// The root certificates.
    pub certificates: Vec<CertificateDer<'static>>,
    /// The same as trust anchors.
    pub anchors: Arc<RootCertStore>,
    /// PEM of revocation lists.
    pub revoked: Option<Arc<[u8]>>,
}

impl Roots {
    /// Makes trust anchors of certificates; equal ones count once, and one unusable root makes no other unusable.
    pub fn new(mut certificates: Vec<CertificateDer<'static>>) -> Result<Roots, CertError> {
        certificates.sort_by(|a, b| a.as_ref().cmp(b.as_ref()));
        certificates.dedup();
        let mut anchors = RootCertStore::empty();
        certificates.retain(|certificate| anchors.add(certificate.clone()).is_ok());
        if certificates.is_empty() {
            return Err(CertError::Answer("there is no usable root certificate".to_owned()));
        }
        Ok(Roots { certificates, anchors: Arc::new(anchors), revoked: None })
    }
}

/// The revocation lists in PEM text.
pub(crate) fn revocation_lists(pem: &[u8]) -> Result<Vec<CertRevocationList<'static>>, String> {
    CertificateRevocationListDer::pem_slice_iter(pem)
        .map(|der| {
            let der = der.map_err(|error| error.to_string())?;
            let list = OwnedCertRevocationList::from_der(&der).map_err(|error| error.to_string())?;
            Ok(list.into())
        })
        .collect()
}

/// The certificates in PEM text.
pub(crate) fn certificates_in(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, CertError> {
    CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().map_err(|e| CertError::Answer(e.to_string()))
}

/// Certificates as PEM text.
pub fn to_pem(certificates: &[CertificateDer<'_>]) -> String {
    certificates.iter().map(|certificate| pem_block("CERTIFICATE", certificate)).collect()
}

/// One block of PEM text.
fn pem_block(label: &str, der: &[u8]) -> String {
    let encoded = STANDARD.encode(der);
    let mut pem = format!("-----BEGIN {label}-----\n");
    for line in encoded.as_bytes().chunks(64) {
        pem.push_str(&String::from_utf8_lossy(line));
        pem.push('\n');
    }
    pem.push_str(&format!("-----END {label}-----\n"));
    pem
}
