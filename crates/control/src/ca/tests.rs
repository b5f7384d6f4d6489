use std::time::{Duration, SystemTime};

use lateen_mesh::SpiffeId;
use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, IsCa, KeyPair, SanType};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use x509_parser::extensions::GeneralName;

use super::expiry::Urgency;
use super::rotation::{Offered, Rotation};
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
    assert_eq!(chain.len(), 1, "the root signs itself");

    let leaf = CertificateDer::from_pem_slice(chain[0].as_bytes()).unwrap();
    let (_, leaf) = x509_parser::parse_x509_certificate(&leaf).unwrap();
    let names = leaf.subject_alternative_name().unwrap().unwrap();
    assert!(names.critical, "the subject is empty");
    let uri = GeneralName::URI("spiffe://cluster.local/ns/shop/sa/cart");
    assert_eq!(names.value.general_names, [uri]);
    assert!(!leaf.is_ca());
    let usage = leaf.extended_key_usage().unwrap().unwrap().value;
    assert!(usage.client_auth && usage.server_auth && !usage.code_signing);
    let root = CertificateDer::from_pem_slice(authority.root_pem().as_bytes()).unwrap();
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
        (&authority.root_pem(), "not PEM"),
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

/// A root and an intermediate below it as OpenSSL's users make them, with keys of this kind.
fn plugged(algorithm: &'static rcgen::SignatureAlgorithm) -> CaFiles {
    let params = |name: &str| {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.key_usages = vec![rcgen::KeyUsagePurpose::KeyCertSign, rcgen::KeyUsagePurpose::CrlSign];
        params
    };
    let (root_key, key) = (KeyPair::generate_for(algorithm).unwrap(), KeyPair::generate_for(algorithm).unwrap());
    let root_params = params("root");
    let root = root_params.self_signed(&root_key).unwrap();
    let cert = params("intermediate").signed_by(&key, &rcgen::Issuer::from_params(&root_params, &root_key));
    let cert = cert.unwrap().pem();
    CaFiles { chain: cert.clone(), cert, key: key.serialize_pem(), root: root.pem(), revoked: String::new() }
}

#[test]
fn plugged_in_keys_of_every_kind_sign_what_verifies() {
    for algorithm in [&rcgen::PKCS_RSA_SHA256, &rcgen::PKCS_ECDSA_P256_SHA256, &rcgen::PKCS_ECDSA_P384_SHA384] {
        let authority = Authority::load(plugged(algorithm)).unwrap();
        let chain = authority.sign_workload(&csr(CertificateParams::default()), &identity(), None, now()).unwrap();
        assert_eq!(chain.len(), 2, "leaf and intermediate");
        let der = |pem: &str| CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
        let (leaf, intermediate, root) = (der(&chain[0]), der(&chain[1]), der(&authority.root_pem()));
        let mut roots = rustls::RootCertStore::empty();
        roots.add(root).unwrap();
        let verifier =
            rustls::server::WebPkiClientVerifier::builder_with_provider(roots.into(), crate::tls::provider());
        let verifier = verifier.build().unwrap();
        let at = rustls_pki_types::UnixTime::since_unix_epoch(now().duration_since(SystemTime::UNIX_EPOCH).unwrap());
        verifier.verify_client_cert(&leaf, &[intermediate], at).unwrap();
    }
}

#[test]
fn a_chain_that_leads_to_no_root_is_named() {
    let (one, other) = (plugged(&rcgen::PKCS_ECDSA_P256_SHA256), plugged(&rcgen::PKCS_ECDSA_P256_SHA256));
    let error = Authority::load(CaFiles { root: other.root, ..one }).err().unwrap().to_string();
    assert!(error.contains("cert-chain.pem") && error.contains("root-cert.pem"), "{error}");
}

fn contains(active: &Active, authority: &Authority) -> bool {
    active.roots.contains(authority.root_pem().trim())
}

#[test]
fn a_new_root_is_trusted_before_it_signs_and_the_old_one_after() {
    let new_ca = || Authority::self_signed("cluster.local", now()).unwrap();
    let (minute, day) = (Duration::from_secs(60), Duration::from_secs(24 * 3600));
    let (old, new) = (std::sync::Arc::new(new_ca()), new_ca());
    let again = || Authority::load(new.files().clone()).unwrap();
    let mut rotation = Rotation::new(old.clone());
    let start = now();
    old.sign_workload(&csr(CertificateParams::default()), &identity(), Some(day * 2), start).unwrap();

    assert_eq!(rotation.offer(again(), start, minute), Offered::Announced(start + minute));
    let active = rotation.active();
    assert!(active.roots.starts_with(&old.root_pem()), "the signer's root is the first");
    assert!(contains(&active, &new) && active.signer.root_pem() == old.root_pem());
    assert_eq!(rotation.offer(again(), start + minute / 2, minute), Offered::Known, "the time does not begin again");
    assert!(!rotation.advance(start + minute / 2));

    assert_eq!(rotation.due(), Some(start + minute));
    assert!(rotation.advance(start + minute));
    let active = rotation.active();
    assert!(active.roots.starts_with(&new.root_pem()) && active.signer.root_pem() == new.root_pem());
    assert!(contains(&active, &old), "what the old one signed is still good");
    assert!(!rotation.advance(start + day + minute), "one of its certificates is valid for two days");
    assert!(rotation.advance(start + day * 2));
    assert!(!contains(&rotation.active(), &old));
    assert_eq!(rotation.due(), None);
}

#[test]
fn a_known_root_an_edit_of_the_roots_and_a_change_of_mind_count_at_once() {
    let algorithm = &rcgen::PKCS_ECDSA_P256_SHA256;
    let (one, other) = (plugged(algorithm), plugged(algorithm));
    let load = |files: &CaFiles| Authority::load(files.clone()).unwrap();
    let both = |files: &CaFiles| CaFiles { root: format!("{}{}", other.root, one.root), ..files.clone() };
    let (start, minute) = (now(), Duration::from_secs(60));

    // Istio's way: both roots, then the other certificate, then one root.
    let mut rotation = Rotation::new(load(&one).into());
    for files in [both(&one), both(&other), other.clone()] {
        assert_eq!(rotation.offer(load(&files), start, minute), Offered::Signs);
        assert_eq!(rotation.active().signer.files().cert, files.cert);
    }
    assert!(!contains(&rotation.active(), &load(&one)), "a root that was taken out is trusted no more");

    let mut rotation = Rotation::new(load(&one).into());
    assert!(matches!(rotation.offer(load(&other), start, minute), Offered::Announced(_)));
    assert_eq!(rotation.offer(load(&one), start, minute), Offered::Signs);
    assert_eq!(rotation.due(), None);
    assert!(!contains(&rotation.active(), &load(&other)));
}

#[test]
fn revocation_lists_are_handed_on_and_broken_ones_named() {
    let files = plugged(&rcgen::PKCS_ECDSA_P256_SHA256);
    let error = Authority::load(CaFiles { revoked: "junk".into(), ..files }).err().unwrap().to_string();
    assert!(error.contains("ca-crl.pem"), "{error}");
}

#[test]
fn warnings_come_before_it_hurts() {
    let day = Duration::from_secs(24 * 3600);
    for (left, urgency) in [(31, Urgency::None), (30, Urgency::Soon), (8, Urgency::Soon), (7, Urgency::Urgent)] {
        assert_eq!(expiry::urgency(now() + day * left, now()), urgency, "{left} days");
    }
    assert_eq!(expiry::urgency(now() - day, now()), Urgency::Urgent);
}
