//! Certificates and revocation lists in PEM.

use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer};
use x509_parser::parse_x509_certificate;
use x509_parser::prelude::FromDer as _;
use x509_parser::revocation_list::CertificateRevocationList;

/// The certificates of a text, each of them readable.
pub(super) fn certificates(text: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let read = |cert: Result<CertificateDer<'static>, rustls_pki_types::pem::Error>| {
        let cert = cert.map_err(|e| e.to_string())?;
        parse_x509_certificate(&cert).map_err(|e| e.to_string())?;
        Ok(cert)
    };
    CertificateDer::pem_slice_iter(text.as_bytes()).map(read).collect()
}

/// Checks that the revocation lists of a text can be read.
pub(super) fn revocation_lists(text: &str) -> Result<(), String> {
    let mut lists = 0;
    for list in CertificateRevocationListDer::pem_slice_iter(text.as_bytes()) {
        let list = list.map_err(|e| e.to_string())?;
        CertificateRevocationList::from_der(&list).map_err(|e| e.to_string())?;
        lists += 1;
    }
    if lists == 0 && !text.trim().is_empty() {
        return Err("it holds no revocation list in PEM form".to_owned());
    }
    Ok(())
}

/// Certificates as text; equal ones once.
pub(super) fn to_pem<'a>(certificates: impl IntoIterator<Item = &'a CertificateDer<'static>>) -> String {
    let mut seen: Vec<&CertificateDer<'_>> = Vec::new();
    let mut text = String::new();
    for certificate in certificates {
        if seen.contains(&certificate) {
            continue;
        }
        seen.push(certificate);
        text.push_str("-----BEGIN CERTIFICATE-----\n");
        let encoded = STANDARD.encode(certificate);
        let mut rest = encoded.as_str();
        while !rest.is_empty() {
            let (line, after) = rest.split_at(rest.len().min(64));
            text.push_str(line);
            text.push('\n');
            rest = after;
        }
        text.push_str("-----END CERTIFICATE-----\n");
    }
    text
}

/// Last moment of validity.
pub(super) fn not_after(certificate: &CertificateDer<'_>) -> Option<SystemTime> {
    let (_, parsed) = parse_x509_certificate(certificate).ok()?;
    let seconds = u64::try_from(parsed.validity().not_after.timestamp()).ok()?;
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
}

/// From the first to the last moment of validity.
pub(super) fn lifetime(certificate: &CertificateDer<'_>) -> Option<Duration> {
    let (_, parsed) = parse_x509_certificate(certificate).ok()?;
    let validity = parsed.validity();
    u64::try_from(validity.not_after.timestamp() - validity.not_before.timestamp()).ok().map(Duration::from_secs)
}

/// Which of `roots` a certificate leads to: it is the certificate itself or has signed it or one of `chain`.
pub(super) fn root_of(
    certificate: &CertificateDer<'_>,
    chain: &[CertificateDer<'_>],
    roots: &[CertificateDer<'_>],
) -> Option<usize> {
    // The last of a chain is the one next to the root.
    let mut links = chain.iter().rev().chain([certificate]);
    links.find_map(|link| roots.iter().position(|root| link == root || has_signed(root, link)))
}

fn has_signed(root: &CertificateDer<'_>, link: &CertificateDer<'_>) -> bool {
    let (Ok((_, root)), Ok((_, link))) = (parse_x509_certificate(root), parse_x509_certificate(link)) else {
        return false;
    };
    root.subject().as_raw() == link.issuer().as_raw() && link.verify_signature(Some(root.public_key())).is_ok()
}
