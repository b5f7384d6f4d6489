//! Where the CA's key lives: plugged in by the user, or made once and kept.

use std::collections::BTreeMap;
use std::time::SystemTime;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client};

use super::{Authority, CaError, CaFiles};

/// A CA given by the user.
const PLUGGED: &str = "cacerts";
/// The CA made by istiod.
const SELF_SIGNED: &str = "istio-ca-secret";

/// Loads the user's CA, else the kept one, else makes and keeps one.
pub async fn load_or_create(client: &Client, namespace: &str, trust_domain: &str) -> Result<Authority, CaError> {
    let api: Api<Secret> = Api::namespaced(client.clone(), namespace);
    for name in [PLUGGED, SELF_SIGNED] {
        let failed = |source| secret_error(namespace, name, source);
        if let Some(secret) = api.get_opt(name).await.map_err(failed)? {
            return Authority::load(files(&secret)?);
        }
    }
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
    // A signing certificate that is not the root itself has to be in the chain.
    let root = root.unwrap_or_else(|| cert.clone());
    let chain = match (root.trim() == cert.trim(), chain.trim().is_empty()) {
        (true, _) => String::new(),
        (false, true) => cert.clone(),
        (false, false) => chain,
    };
    Ok(CaFiles { cert, key, chain, root })
}

fn secret(namespace: &str, files: &CaFiles) -> Secret {
    let entries = [
        ("ca-cert.pem", &files.cert),
        ("ca-key.pem", &files.key),
        ("cert-chain.pem", &files.chain),
        ("root-cert.pem", &files.root),
    ];
    let data: BTreeMap<String, ByteString> =
        entries.map(|(key, value)| (key.to_owned(), ByteString(value.clone().into_bytes()))).into();
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
