//! Where the CA's key lives: plugged in by the user, or made once and kept.

use std::collections::BTreeMap;
use std::time::SystemTime;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

use super::{Authority, CaError, CaFiles, pem};

/// A CA given by the user.
pub(super) const PLUGGED: &str = "cacerts";
/// The CA made by istiod.
pub(super) const SELF_SIGNED: &str = "istio-ca-secret";
/// On the Secret of the CA made by istiod: asks for a new root now.
const ROTATE: &str = "lateen.dev/rotate-root";

/// Where the CA is kept.
pub(super) struct Kept {
    pub(super) secret: Secret,
    /// Given by the user rather than made by istiod.
    pub(super) plugged: bool,
}

impl Kept {
    /// Reads it.
    pub(super) fn authority(&self) -> Result<Authority, CaError> {
        Authority::load(files(&self.secret)?)
    }

    /// Does somebody ask for a new root.
    pub(super) fn rotation_asked(&self) -> bool {
        self.secret.metadata.annotations.as_ref().is_some_and(|all| all.contains_key(ROTATE))
    }
}

/// The user's CA, else the one made before.
pub(super) async fn find(client: &Client, namespace: &str) -> Result<Option<Kept>, CaError> {
    let api: Api<Secret> = Api::namespaced(client.clone(), namespace);
    for name in [PLUGGED, SELF_SIGNED] {
        let secret = api.get_opt(name).await.map_err(|source| secret_error(namespace, name, source))?;
        if let Some(secret) = secret {
            return Ok(Some(Kept { secret, plugged: name == PLUGGED }));
        }
    }
    Ok(None)
}

/// Loads the user's CA, else the kept one, else makes and keeps one.
pub async fn load_or_create(client: &Client, namespace: &str, trust_domain: &str) -> Result<Authority, CaError> {
    if let Some(kept) = find(client, namespace).await? {
        return kept.authority();
    }
    let api: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let made = Authority::self_signed(trust_domain, SystemTime::now())?;
    match api.create(&PostParams::default(), &secret(namespace, made.files())).await {
        Ok(_) => Ok(made),
        // Another istiod was faster: use its CA.
        Err(kube::Error::Api(status)) if status.code == 409 => {
            let failed = |source| secret_error(namespace, SELF_SIGNED, source);
            Authority::load(files(&api.get(SELF_SIGNED).await.map_err(failed)?)?)
        }
        Err(source) => Err(secret_error(namespace, SELF_SIGNED, source)),
    }
}

/// Replaces the CA that istiod made by a new one, beside which the roots of before stay trusted until they end. Does
/// nothing if somebody else changed the Secret meanwhile.
pub(super) async fn renew(
    client: &Client,
    namespace: &str,
    trust_domain: &str,
    kept: &Kept,
    now: SystemTime,
) -> Result<(), CaError> {
    let old = kept.authority()?;
    let trusted = old.roots().iter().filter(|root| pem::not_after(root).is_some_and(|end| end > now));
    let made = Authority::self_signed(trust_domain, now)?;
    let root = pem::to_pem(made.roots().iter().chain(trusted));
    let files = CaFiles { root, revoked: old.files().revoked.clone(), ..made.files().clone() };
    let mut new = Secret { metadata: kept.secret.metadata.clone(), ..secret(namespace, &files) };
    if let Some(annotations) = &mut new.metadata.annotations {
        annotations.remove(ROTATE);
    }
    let api: Api<Secret> = Api::namespaced(client.clone(), namespace);
    match api.replace(SELF_SIGNED, &PostParams::default(), &new).await {
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
        Err(source) => Err(secret_error(namespace, SELF_SIGNED, source)),
        Ok(_) => Ok(()),
    }
}

fn secret_error(namespace: &str, name: &'static str, source: kube::Error) -> CaError {
    CaError::Secret { namespace: namespace.to_owned(), name, source: Box::new(source) }
}

fn files(secret: &Secret) -> Result<CaFiles, CaError> {
    let read = |keys: &[&'static str]| {
        let data = secret.data.as_ref()?;
        let value = keys.iter().find_map(|key| data.get(*key))?;
        String::from_utf8(value.0.clone()).ok()
    };
    let need = |keys: &[&'static str]| {
        let what = keys[0];
        read(keys).ok_or_else(|| CaError::BadAuthority { what, reason: "it is missing".into() })
    };
    let cert = need(&["ca-cert.pem", "tls.crt"])?;
    let key = need(&["ca-key.pem", "tls.key"])?;
    let root = read(&["root-cert.pem", "ca.crt"]).filter(|root| !root.is_empty());
    let chain = read(&["cert-chain.pem"]).unwrap_or_default();
    let root = root.unwrap_or_else(|| cert.clone());
    // A signing certificate that is none of the roots has to be in the chain.
    let is_root = {
        let roots = CertificateDer::pem_slice_iter(root.as_bytes()).flatten().collect::<Vec<_>>();
        CertificateDer::from_pem_slice(cert.as_bytes()).is_ok_and(|cert| roots.contains(&cert))
    };
    let chain = match (is_root, chain.trim().is_empty()) {
        (true, _) => String::new(),
        (false, true) => cert.clone(),
        (false, false) => chain,
    };
    let revoked = read(&["ca-crl.pem"]).unwrap_or_default();
    Ok(CaFiles { cert, key, chain, root, revoked })
}

fn secret(namespace: &str, files: &CaFiles) -> Secret {
    let mut entries = vec![
        ("ca-cert.pem", &files.cert),
        ("ca-key.pem", &files.key),
        ("cert-chain.pem", &files.chain),
        ("root-cert.pem", &files.root),
    ];
    if !files.revoked.is_empty() {
        entries.push(("ca-crl.pem", &files.revoked));
    }
    let entry = |(key, value): (&str, &String)| (key.to_owned(), ByteString(value.clone().into_bytes()));
    let data: BTreeMap<String, ByteString> = entries.into_iter().map(entry).collect();
    Secret {
        metadata: ObjectMeta {
            name: Some(SELF_SIGNED.to_owned()),
            namespace: Some(namespace.to_owned()),
            ..Default::default()
        },
        type_: Some("istio.io/ca-root".to_owned()),
        data: Some(data),
        ..Default::default()
    }
}
