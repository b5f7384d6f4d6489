//! The cluster's own certificate authority and what it signs; secrets stay in the home directory.

use std::{
    fs,
    io::{self, Write},
    net::{IpAddr, Ipv4Addr},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    SanType,
};
use rustls::{RootCertStore, ServerConfig, server::WebPkiClientVerifier};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};

use crate::auth::{MASTERS, Tokens};

/// Why keys and certificates could not be made or read.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    /// A file cannot be read or written.
    #[error("cannot use {path}: {source}; check its owner and mode, or remove it")]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: io::Error,
    },
    /// A stored key or certificate is damaged.
    #[error("{path} is damaged ({text}); remove it and the other files of the CA to start afresh")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        text: String,
    },
    /// Something could not be signed.
    #[error("cannot make a certificate: {0}")]
    Make(#[from] rcgen::Error),
    /// The TLS configuration is refused.
    #[error("cannot set up TLS: {0}")]
    Tls(String),
    /// No randomness, or the like.
    #[error("cannot make a key")]
    Key,
}

/// CA, serving certificate, administrator's certificate and the service account key.
pub struct Pki {
    /// The CA's certificate.
    pub ca_pem: String,
    /// The administrator's client certificate.
    pub admin_pem: String,
    /// Its key.
    pub admin_key_pem: String,
    /// Signs and verifies service account tokens.
    pub account_key: Vec<u8>,
    server_chain: Vec<CertificateDer<'static>>,
    server_key: PrivateKeyDer<'static>,
}

const YEAR: i64 = 365 * 24 * 3600;

fn window(params: &mut CertificateParams, seconds: i64) {
    let now = std::time::SystemTime::now();
    let span = std::time::Duration::from_secs(seconds.unsigned_abs());
    // Clocks of clients may be a little behind.
    params.not_before = (now - std::time::Duration::from_secs(300)).into();
    params.not_after = (now + span).into();
}

fn read(path: &Path) -> Result<Option<Vec<u8>>, PkiError> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(PkiError::File { path: path.to_owned(), source }),
    }
}

/// Writes a file that only its owner may read, whole or not at all.
fn write(path: &Path, bytes: &[u8]) -> Result<(), PkiError> {
    let failed = |source| PkiError::File { path: path.to_owned(), source };
    let partial = path.with_extension("partial");
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let mut file = options.open(&partial).map_err(failed)?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(failed)?;
    fs::rename(&partial, path).map_err(failed)
}

fn ca(home: &Path) -> Result<(String, Issuer<'static, KeyPair>), PkiError> {
    let (cert_path, key_path) = (home.join("ca.crt"), home.join("ca.key"));
    if let (Some(cert), Some(key)) = (read(&cert_path)?, read(&key_path)?) {
        let damaged = |path: &Path, text: String| PkiError::Damaged { path: path.to_owned(), text };
        let pem = String::from_utf8(cert).map_err(|e| damaged(&cert_path, e.to_string()))?;
        let key = String::from_utf8(key).map_err(|_| damaged(&key_path, "not text".into()))?;
        let key = KeyPair::from_pem(&key).map_err(|e| damaged(&key_path, e.to_string()))?;
        let issuer = Issuer::from_ca_cert_pem(&pem, key).map_err(|e| damaged(&cert_path, e.to_string()))?;
        return Ok((pem, issuer));
    }
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "kubernetes");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
    window(&mut params, 10 * YEAR);
    let pem = params.self_signed(&key)?.pem();
    write(&key_path, key.serialize_pem().as_bytes())?;
    write(&cert_path, pem.as_bytes())?;
    Ok((pem, Issuer::new(params, key)))
}

fn server_params(addresses: &[Ipv4Addr]) -> Result<CertificateParams, PkiError> {
    let names = [
        "kubernetes",
        "kubernetes.default",
        "kubernetes.default.svc",
        "kubernetes.default.svc.cluster.local",
        "localhost",
    ];
    let mut params = CertificateParams::new(names.map(str::to_owned).to_vec())?;
    params.distinguished_name.push(DnType::CommonName, "kube-apiserver");
    for ip in [Ipv4Addr::LOCALHOST].iter().chain(addresses) {
        params.subject_alt_names.push(SanType::IpAddress(IpAddr::V4(*ip)));
    }
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    window(&mut params, YEAR);
    Ok(params)
}

fn admin_params() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::OrganizationName, MASTERS);
    params.distinguished_name.push(DnType::CommonName, "kubernetes-admin");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    window(&mut params, YEAR);
    params
}

impl Pki {
    /// Reads what is in `home` and makes what is not. `addresses` are the API server's own, besides loopback.
    pub fn open(home: &Path, addresses: &[Ipv4Addr]) -> Result<Self, PkiError> {
        let (ca_pem, issuer) = ca(home)?;
        let key_path = home.join("sa.key");
        let account_key = match read(&key_path)? {
            Some(key) => key,
            None => {
                let key = Tokens::generate_key().map_err(|_| PkiError::Key)?;
                write(&key_path, &key)?;
                key
            }
        };
        let server_key = KeyPair::generate()?;
        let server = server_params(addresses)?.signed_by(&server_key, &issuer)?;
        let admin_key = KeyPair::generate()?;
        let admin = admin_params().signed_by(&admin_key, &issuer)?;
        Ok(Self {
            ca_pem,
            admin_pem: admin.pem(),
            admin_key_pem: admin_key.serialize_pem(),
            account_key,
            server_chain: vec![server.der().clone()],
            server_key: PrivateKeyDer::Pkcs8(server_key.serialize_der().into()),
        })
    }

    /// TLS for the listeners: client certificates of our CA are accepted, none is asked for.
    pub fn server_config(&self) -> Result<Arc<ServerConfig>, PkiError> {
        let failed = |e: &dyn std::fmt::Display| PkiError::Tls(e.to_string());
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(self.ca_pem.as_bytes()) {
            let certificate = certificate.map_err(|e| failed(&e))?;
            roots.add(certificate).map_err(|e| failed(&e))?;
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
            .allow_unauthenticated()
            .build()
            .map_err(|e| failed(&e))?;
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|e| failed(&e))?
            .with_client_cert_verifier(verifier)
            .with_single_cert(self.server_chain.clone(), self.server_key.clone_key())
            .map_err(|e| failed(&e))?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }

    /// A kubeconfig for the administrator.
    pub fn kubeconfig(&self, server: &str) -> String {
        use base64::{Engine, engine::general_purpose::STANDARD};
        let encode = |text: &str| STANDARD.encode(text);
        format!(
            "apiVersion: v1\nkind: Config\nclusters:\n- name: lateen\n  cluster:\n    server: \
             {server}\n    certificate-authority-data: {}\nusers:\n- name: lateen-admin\n  user:\n    \
             client-certificate-data: {}\n    client-key-data: {}\ncontexts:\n- name: lateen\n  \
             context:\n    cluster: lateen\n    user: lateen-admin\ncurrent-context: lateen\n",
            encode(&self.ca_pem),
            encode(&self.admin_pem),
            encode(&self.admin_key_pem),
        )
    }
}
