use rcgen::{BasicConstraints, CertificateParams, CertificateSigningRequestParams, CertifiedIssuer, IsCa, KeyPair};
use std::sync::atomic::{AtomicU32, Ordering};

use super::*;
use crate::certs::to_pem;

/// An authority that fails a few times, then signs whatever it is asked for.
struct TestAuthority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    failures: AtomicU32,
    lifetime: Duration,
}

impl TestAuthority {
    fn new(failures: u32, lifetime: Duration) -> TestAuthority {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        TestAuthority { issuer, failures: AtomicU32::new(failures), lifetime }
    }
}

impl Authority for TestAuthority {
    async fn sign(&self, csr: String, _lifetime: Duration) -> Result<Vec<String>, CertError> {
        if self.failures.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1)).is_ok() {
            return Err(CertError::Timeout("test".to_owned()));
        }
        let mut request = CertificateSigningRequestParams::from_pem(&csr).unwrap();
        let now = SystemTime::now() - Duration::from_secs(5);
        request.params.not_before = now.into();
        request.params.not_after = (now + self.lifetime).into();
        let leaf = request.signed_by(&self.issuer).unwrap();
        Ok(vec![leaf.pem(), self.issuer.pem()])
    }
}

fn renewal() -> Renewal {
    Renewal {
        spiffe_id: "spiffe://cluster.local/ns/default/sa/frontend".to_owned(),
        key: KeyKind::default(),
        lifetime: Duration::from_secs(86_400),
        grace_ratio: 0.5,
        grace_jitter: 0.01,
        root_file: "/nonexistent".into(),
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

#[tokio::test]
async fn obtains_the_identity_it_asks_for() {
    let authority = TestAuthority::new(0, Duration::from_secs(3600));
    let Obtained { identity, roots, .. } = obtain(&renewal(), &authority, None, &provider()).await.unwrap();
    assert_eq!(identity.spiffe_id.as_deref(), Some("spiffe://cluster.local/ns/default/sa/frontend"));
    assert_eq!(identity.lifetime(), Duration::from_secs(3600));
    assert_eq!(roots.certificates.len(), 1);
    assert_eq!(identity.chain().len(), 1, "the root is not part of the chain that is sent");
    assert!(!format!("{identity:?}").contains("key"), "a key never gets into a log");
}

#[tokio::test]
async fn renews_at_about_half_of_the_lifetime() {
    let authority = TestAuthority::new(0, Duration::from_secs(3600));
    let identity = obtain(&renewal(), &authority, None, &provider()).await.unwrap().identity;
    for (chance, expected) in [(0.0, 1836), (0.5, 1800), (1.0, 1764)] {
        let pause = renewal().pause(&identity, identity.not_before, chance);
        assert_eq!(pause.as_secs(), expected);
    }
    let late = identity.not_after + Duration::from_secs(60);
    assert_eq!(renewal().pause(&identity, late, 0.5), Duration::from_secs(1));
}

#[tokio::test]
async fn retries_until_there_is_a_certificate_and_rotates() {
    let store = Arc::new(CertStore::new());
    let authority = TestAuthority::new(2, Duration::from_secs(10));
    let task = tokio::spawn(keep_fresh(renewal(), authority, store.clone(), provider()));
    assert_eq!(store.newer_than(0).await, 1);
    let first = store.identity().unwrap();
    assert_eq!(store.newer_than(1).await, 2);
    let second = store.identity().unwrap();
    assert_ne!(first.serial, second.serial);
    assert_ne!(first.chain()[0], second.chain()[0], "a renewal uses a new key");
    task.abort();
}

#[test]
fn an_answer_may_trust_several_roots() {
    let pem = || TestAuthority::new(0, Duration::from_secs(10)).issuer.pem();
    let (leaf, intermediate, new, old) = (pem(), pem(), pem(), pem());
    let (chain, roots) = split(&[leaf.clone(), intermediate, format!("{new}{old}")]).unwrap();
    assert_eq!((chain.len(), roots.len()), (2, 2));
    assert_eq!(to_pem(&roots[..1]).lines().nth(1), new.lines().nth(1), "the one signed under is the first");
    let (chain, roots) = split(&[format!("{leaf}{new}")]).unwrap();
    assert_eq!((chain.len(), roots.len()), (1, 1));
    assert!(split(&[leaf]).unwrap().1.is_empty(), "a lone leaf has no root");
}

#[tokio::test]
async fn a_new_root_is_trusted_at_once_and_asks_for_a_new_certificate_when_it_signs() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("root-cert.pem");
    let pem = || TestAuthority::new(0, Duration::from_secs(10)).issuer.pem();
    let (old, new) = (pem(), pem());
    std::fs::write(&file, &old).unwrap();
    let under = certificates_in(old.as_bytes()).unwrap().pop();
    let moment = Duration::from_millis(5);
    let mut watch = Watch { files: TrustedFiles::new(&file), under, look: moment, spread: moment };
    let store = Arc::new(CertStore::new());
    let trusted = |store: &CertStore| store.roots().map_or(0, |roots| roots.certificates.len());

    watch.wait(moment * 4, &store).await;
    assert_eq!(trusted(&store), 1);
    let waiting = {
        let store = store.clone();
        tokio::spawn(async move { watch.wait(Duration::from_secs(3600), &store).await })
    };
    let seen = store.generation();
    std::fs::write(&file, format!("{old}{new}")).unwrap();
    store.newer_than(seen).await;
    assert_eq!(trusted(&store), 2);
    assert!(!waiting.is_finished(), "the old root still signs");
    // Half a file is no reason to trust nothing.
    std::fs::write(&file, "-----BEGIN CERTIFICATE-----\n!").unwrap();
    tokio::time::sleep(moment * 4).await;
    assert_eq!(trusted(&store), 2);
    std::fs::write(&file, format!("{new}{old}")).unwrap();
    waiting.await.unwrap();
    assert_eq!(trusted(&store), 2);
}

#[tokio::test]
async fn keys_of_every_kind_are_certified() {
    let authority = TestAuthority::new(0, Duration::from_secs(3600));
    for key in [KeyKind::P384, KeyKind::Rsa2048] {
        let renewal = Renewal { key, ..renewal() };
        obtain(&renewal, &authority, None, &provider()).await.unwrap();
    }
}
