//! Signs certificates.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PublicKeyData, SanType, SerialNumber,
};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use super::{CaError, csr, pem};
use lateen_mesh::SpiffeId;

const DAY: Duration = Duration::from_secs(24 * 3600);
/// Lifetime of the self-signed root, as Istio's.
const ROOT_TTL: Duration = Duration::from_secs(3650 * 24 * 3600);
/// Lifetime of a workload certificate for which no lifetime was asked.
pub(super) const DEFAULT_TTL: Duration = DAY;
/// Longest lifetime of a workload certificate.
const MAX_TTL: Duration = Duration::from_secs(90 * 24 * 3600);
/// Certificates are valid from a little earlier, for peers whose clocks are behind.
const CLOCK_SKEW: Duration = Duration::from_secs(120);

/// The CA as the files of Istio's secrets hold it (PEM).
#[derive(Clone, PartialEq, Eq)]
pub struct CaFiles {
    /// Certificate that signs.
    pub cert: String,
    /// Its private key.
    pub key: String,
    /// From the signing certificate up to below the root; empty if that is the root.
    pub chain: String,
    /// What peers trust.
    pub root: String,
    /// Revocation lists; empty if there are none.
    pub revoked: String,
}

/// A certificate with its key for a listener of istiod.
pub struct ServerCertificate {
    /// The leaf, then intermediates.
    pub chain: Vec<CertificateDer<'static>>,
    /// Its private key.
    pub key: PrivateKeyDer<'static>,
}

/// Signs for one trust domain.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    not_after: SystemTime,
    files: CaFiles,
    /// Trusted certificates; the one that this CA's own certificate leads to is the first.
    roots: Vec<CertificateDer<'static>>,
    root_not_after: SystemTime,
    /// End of the last certificate signed here, in seconds since 1970.
    last_end: AtomicU64,
}

impl Authority {
    /// A new root.
    ///
    /// ECDSA P-256 rather than Istio's RSA 2048: every handshake in the mesh verifies this key's
    /// signatures and carries its certificates, and both are several times cheaper.
    pub fn self_signed(trust_domain: &str, now: SystemTime) -> Result<Self, CaError> {
        let key = KeyPair::generate()?;
        let mut params = params(now, now + ROOT_TTL)?;
        params.distinguished_name.push(DnType::OrganizationName, trust_domain);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let root = params.self_signed(&key)?.pem();
        Self::load(CaFiles {
            cert: root.clone(),
            key: key.serialize_pem(),
            chain: String::new(),
            root,
            revoked: String::new(),
        })
    }

    /// A CA from a secret. Its certificate has to lead to one of the roots, or nobody would accept what it signs.
    pub fn load(files: CaFiles) -> Result<Self, CaError> {
        let bad = |what, reason: String| CaError::BadAuthority { what, reason };
        let key = KeyPair::from_pem(&files.key).map_err(|e| bad("ca-key.pem", e.to_string()))?;
        let der =
            CertificateDer::from_pem_slice(files.cert.as_bytes()).map_err(|e| bad("ca-cert.pem", e.to_string()))?;
        let (_, cert) = x509_parser::parse_x509_certificate(&der).map_err(|e| bad("ca-cert.pem", e.to_string()))?;
        if !cert.is_ca() {
            return Err(bad("ca-cert.pem", "it is not a CA certificate".into()));
        }
        if cert.public_key().raw != key.subject_public_key_info() {
            return Err(bad("ca-key.pem", "it is not the key of ca-cert.pem".into()));
        }
        let mut roots = pem::certificates(&files.root).map_err(|e| bad("root-cert.pem", e))?;
        let chain = pem::certificates(&files.chain).map_err(|e| bad("cert-chain.pem", e))?;
        if roots.is_empty() {
            return Err(bad("root-cert.pem", "it holds no certificate".into()));
        }
        let own = pem::root_of(&der, &chain, &roots);
        let own = own.ok_or_else(|| bad("cert-chain.pem", "it leads to no certificate of root-cert.pem".into()))?;
        roots[..=own].rotate_right(1);
        pem::revocation_lists(&files.revoked).map_err(|e| bad("ca-crl.pem", e))?;
        let not_after = pem::not_after(&der).unwrap_or(SystemTime::UNIX_EPOCH);
        let chain_end = chain.iter().filter_map(|cert| pem::not_after(cert)).fold(not_after, SystemTime::min);
        let root_not_after = pem::not_after(&roots[0]).unwrap_or(SystemTime::UNIX_EPOCH);
        let issuer = Issuer::from_ca_cert_der(&der, key)?;
        let not_after = chain_end.min(root_not_after);
        Ok(Authority { issuer, not_after, files, roots, root_not_after, last_end: AtomicU64::new(0) })
    }

    /// Trusted certificates; first the one that this CA's own certificate leads to.
    pub fn roots(&self) -> &[CertificateDer<'static>] {
        &self.roots
    }

    /// The certificates that peers trust, PEM.
    pub fn root_pem(&self) -> String {
        pem::to_pem(&self.roots)
    }

    /// The files of the secret.
    pub(super) fn files(&self) -> &CaFiles {
        &self.files
    }

    /// When what it signs can't be valid any longer: the end of its certificate, or of one that it leads to.
    pub fn not_after(&self) -> SystemTime {
        self.not_after
    }

    /// When its root ends.
    pub fn root_not_after(&self) -> SystemTime {
        self.root_not_after
    }

    /// Which part of its root's lifetime is left, from 0 to 1.
    pub(super) fn root_left(&self, now: SystemTime) -> f64 {
        let lifetime = pem::lifetime(&self.roots[0]).unwrap_or(ROOT_TTL);
        let left = self.root_not_after.duration_since(now).unwrap_or_default();
        left.as_secs_f64() / lifetime.as_secs_f64().max(1.0)
    }

    /// When the last certificate that was signed here ends.
    pub(super) fn last_end(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(self.last_end.load(Ordering::Relaxed))
    }

    /// Signs the public key of a request for `identity`; PEM, the leaf first, then certificates up to below the root.
    pub fn sign_workload(
        &self,
        csr_pem: &str,
        identity: &SpiffeId,
        ttl: Option<Duration>,
        now: SystemTime,
    ) -> Result<Vec<String>, CaError> {
        let key = csr::public_key(csr_pem)?;
        let ttl = ttl.unwrap_or(DEFAULT_TTL).min(MAX_TTL);
        let uri = identity.to_string().try_into()?;
        let mut params = self.leaf(vec![SanType::URI(uri)], ttl, now)?;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let leaf = params.signed_by(&key, &self.issuer)?;
        let mut chain = vec![leaf.pem()];
        if !self.files.chain.is_empty() {
            chain.push(self.files.chain.clone());
        }
        Ok(chain)
    }

    /// A new key and certificate for a server of these names.
    pub fn sign_server(&self, names: &[String], ttl: Duration, now: SystemTime) -> Result<ServerCertificate, CaError> {
        let key = KeyPair::generate()?;
        let names = names.iter().map(|name| Ok(SanType::DnsName(name.as_str().try_into()?)));
        let mut params = self.leaf(names.collect::<Result<_, CaError>>()?, ttl, now)?;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let leaf = params.signed_by(&key, &self.issuer)?;
        let mut chain = vec![leaf.der().clone()];
        chain.extend(CertificateDer::pem_slice_iter(self.files.chain.as_bytes()).flatten());
        let key = PrivatePkcs8KeyDer::from(key.serialize_der()).into();
        Ok(ServerCertificate { chain, key })
    }

    /// A leaf never outlives its issuer.
    fn leaf(&self, names: Vec<SanType>, ttl: Duration, now: SystemTime) -> Result<CertificateParams, CaError> {
        let end = (now + ttl).min(self.not_after);
        let seconds = end.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        self.last_end.fetch_max(seconds, Ordering::Relaxed);
        let mut params = params(now - CLOCK_SKEW, end)?;
        params.subject_alt_names = names;
        params.is_ca = IsCa::ExplicitNoCa;
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
        Ok(params)
    }
}

fn params(from: SystemTime, to: SystemTime) -> Result<CertificateParams, CaError> {
    let mut serial = [0; 16];
    aws_lc_rs::rand::fill(&mut serial).map_err(|_| rcgen::Error::RingUnspecified)?;
    // Positive and of full length in DER.
    serial[0] = serial[0] & 0x7f | 0x40;
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    params.not_before = from.into();
    params.not_after = to.into();
    Ok(params)
}
