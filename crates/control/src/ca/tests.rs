use std::time::{Duration, SystemTime};

use lateen_mesh::SpiffeId;
use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, IsCa, KeyPair, SanType};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use x509_parser::extensions::GeneralName;

use super::*;

fn now() -> SystemTime {
    SystemTime::now()
}

fn csr(params: CertificateParams) -> String {
    let key = KeyPair::generate().unwrap();
    params.serialize_request(&key).unwrap().pem().unwrap()
}

fn identity() -> SpiffeId {
    SpiffeId::new("cluster.local", "shop", "cart")
}

#[test]
fn the_identity_is_the_callers_whatever_the_request_says() {
    let authority = Authority::self_signed("cluster.local", now()).unwrap();
    let mut params = CertificateParams::default();
    params.subject_alt_names = vec![SanType::URI("spiffe://cluster.local/ns/bank/sa/boss".try_into().unwrap())];
    params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::CodeSigning];
    let chain = authority.sign_workload(&csr(params), &identity(), None, now()).unwrap();
    assert_eq!(chain.len(), 2, "leaf and root");
    assert_eq!(chain[1], authority.root_pem());

    let leaf = CertificateDer::from_pem_slice(chain[0].as_bytes()).unwrap();
    let (_, leaf) = x509_parser::parse_x509_certificate(&leaf).unwrap();
    let names = leaf.subject_alternative_name().unwrap().unwrap();
    assert!(names.critical, "the subject is empty");
    let uri = GeneralName::URI("spiffe://cluster.local/ns/shop/sa/cart");
    assert_eq!(names.value.general_names, [uri]);
    assert!(!leaf.is_ca());
    let usage = leaf.extended_key_usage().unwrap().unwrap().value;
    assert!(usage.client_auth && usage.server_auth && !usage.code_signing);
    let root = CertificateDer::from_pem_slice(chain[1].as_bytes()).unwrap();
    let (_, root) = x509_parser::parse_x509_certificate(&root).unwrap();
    leaf.verify_signature(Some(root.public_key())).unwrap();
    assert_eq!(leaf.issuer().as_raw(), root.subject().as_raw());
}

#[test]
fn lifetimes_are_bounded() {
    let authority = Authority::self_signed("cluster.local", now()).unwrap();
    let request = csr(CertificateParams::default());
    let day = Duration::from_secs(24 * 3600);
    for (asked, given) in [(None, day), (Some(day / 2), day / 2), (Some(day * 4000), day * 90)] {
        let now = now();
        let chain = authority.sign_workload(&request, &identity(), asked, now).unwrap();
        let leaf = CertificateDer::from_pem_slice(chain[0].as_bytes()).unwrap();
        let (_, leaf) = x509_parser::parse_x509_certificate(&leaf).unwrap();
        let end = u64::try_from(leaf.validity().not_after.timestamp()).unwrap();
        let wanted = (now + given).duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
        assert_eq!(end, wanted, "{asked:?}");
    }
}

#[test]
fn requests_without_proof_of_the_key_are_refused() {
    let authority = Authority::self_signed("cluster.local", now()).unwrap();
    let good = csr(CertificateParams::default());
    let der = rustls_pki_types::CertificateSigningRequestDer::from_pem_slice(good.as_bytes());
    let mut forged = der.unwrap().to_vec();
    *forged.last_mut().unwrap() ^= 1;
    let forged = pem("CERTIFICATE REQUEST", &forged);
    for (request, reason) in [
        (forged.as_str(), "signature does not match"),
        ("", "not PEM"),
        (authority.root_pem(), "not PEM"),
        (&pem("CERTIFICATE REQUEST", b"junk"), "not a PKCS #10"),
    ] {
        let refused = authority.sign_workload(request, &identity(), None, now());
        let text = refused.unwrap_err().to_string();
        assert!(text.contains(reason), "{text}");
    }
}

fn pem(label: &str, der: &[u8]) -> String {
    use base64::Engine as _;
    let body = base64::engine::general_purpose::STANDARD.encode(der);
    let lines: Vec<&str> = body.as_bytes().chunks(64).map(|l| str::from_utf8(l).unwrap()).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

#[test]
fn a_kept_ca_signs_on_and_a_mismatched_one_is_named() {
    let first = Authority::self_signed("cluster.local", now()).unwrap();
    let again = Authority::load(first.files().clone()).unwrap();
    assert_eq!(again.root_pem(), first.root_pem());
    let other = Authority::self_signed("cluster.local", now()).unwrap();
    let mixed = CaFiles { key: other.files().key.clone(), ..first.files().clone() };
    let error = Authority::load(mixed).err().unwrap().to_string();
    assert!(error.contains("ca-key.pem") && error.contains("not the key of"), "{error}");
}
