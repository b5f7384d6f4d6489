use rcgen::{BasicConstraints, CertificateParams, CertificateSigningRequestParams, CertifiedIssuer, IsCa, KeyPair};
use std::sync::atomic::{AtomicU32, Ordering};

use super::*;

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
    let (identity, roots) = obtain(&renewal(), &authority, &provider()).await.unwrap();
    assert_eq!(identity.spiffe_id.as_deref(), Some("spiffe://cluster.local/ns/default/sa/frontend"));
    assert_eq!(identity.lifetime(), Duration::from_secs(3600));
    assert_eq!(roots.certificates.len(), 1);
    assert_eq!(identity.chain().len(), 1, "the root is not part of the chain that is sent");
    assert!(!format!("{identity:?}").contains("key"), "a key never gets into a log");
}

#[tokio::test]
async fn renews_at_about_half_of_the_lifetime() {
    let authority = TestAuthority::new(0, Duration::from_secs(3600));
    let (identity, _) = obtain(&renewal(), &authority, &provider()).await.unwrap();
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
