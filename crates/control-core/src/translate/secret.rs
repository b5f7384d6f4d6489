//! Credentials (SDS): certificates, keys and roots from Kubernetes Secrets, for proxies in the same namespace, or for
//! those whose listeners of the Gateway API name them; and roots from ConfigMaps, which are no secrets.
//!
//! Whether the proxy may read Secrets there at all is the caller's to find out.

use lateen_api::envoy::envoy::config::core::v3 as core;
use lateen_api::envoy::envoy::extensions::transport_sockets::tls::v3 as proto;

use crate::gateway_api::{CONFIG_MAP, GATEWAY_SECRET, Granted};
use crate::reads::{Fact, ReadSet};
use crate::resource::Credential;
use crate::snapshot::Snapshot;
use crate::view::ProxyView;

/// How names of Secrets begin in discovery.
const KUBERNETES: &str = "kubernetes://";
/// Ending of the name that asks for the roots that go with a credential.
pub const ROOTS_SUFFIX: &str = "-cacert";

/// What discovery calls the Secret of a credential.
pub fn resource_name(credential: &str) -> String {
    if credential.contains("://") { credential.to_owned() } else { format!("{KUBERNETES}{credential}") }
}

/// May a proxy have a resource of this name whatever it may read: roots in a ConfigMap, or what a listener of its
/// gateway names. `namespace` and `account` are those that the proxy has proven to have.
pub fn is_granted(resource: &str, namespace: &str, account: &str, snapshot: &Snapshot) -> bool {
    let Some(path) = resource.strip_prefix(GATEWAY_SECRET) else { return resource.starts_with(CONFIG_MAP) };
    granted(path, snapshot).any(|g| g.namespace == namespace && g.account == account)
}

/// Who may have a Secret, or the roots that go with it, because a listener names it.
fn granted<'a>(path: &'a str, snapshot: &'a Snapshot) -> impl Iterator<Item = &'a Granted> {
    let is = |granted: &Granted, path: &str| path.split_once('/') == Some((&granted.secret.0, &granted.secret.1));
    let stem = path.strip_suffix(ROOTS_SUFFIX);
    snapshot.gateway_api.granted.iter().filter(move |g| is(g, path) || stem.is_some_and(|stem| is(g, stem)))
}

/// Makes a secret; `None` if there is none, or none that can be used, in the proxy's own namespace.
pub fn secret(resource: &str, view: &ProxyView, snapshot: &Snapshot, reads: &mut ReadSet) -> Option<proto::Secret> {
    if let Some(path) = resource.strip_prefix(CONFIG_MAP) {
        return config_map(resource, path, snapshot, reads);
    }
    let (namespace, name) = match resource.strip_prefix(GATEWAY_SECRET) {
        Some(path) => {
            let (namespace, name) = path.split_once('/')?;
            let own = || granted(path, snapshot).any(|g| g.namespace == view.namespace);
            if namespace != view.namespace && !own() {
                reads.read(Fact::Secret(namespace.to_owned(), name.to_owned()));
                return None;
            }
            (namespace, name)
        }
        None => {
            let path = resource.strip_prefix(KUBERNETES)?;
            let (namespace, name) = path.split_once('/').unwrap_or((&view.namespace, path));
            if namespace != view.namespace {
                return None;
            }
            (namespace, name)
        }
    };
    let mut find = |name: &str| -> Option<&Credential> {
        let id = (namespace.to_owned(), name.to_owned());
        reads.read(Fact::Secret(id.0.clone(), id.1.clone()));
        snapshot.credentials.get(&id).map(|c| &**c)
    };
    let content = match name.strip_suffix(ROOTS_SUFFIX) {
        // The roots are in a Secret of their own, or in the one with the certificate.
        Some(stem) => roots(find(name).or_else(|| find(stem))?)?,
        None => certificate(find(name)?)?,
    };
    Some(proto::Secret { name: resource.to_owned(), r#type: Some(content) })
}

/// The roots in a ConfigMap.
fn config_map(resource: &str, path: &str, snapshot: &Snapshot, reads: &mut ReadSet) -> Option<proto::Secret> {
    let (namespace, name) = path.strip_suffix(ROOTS_SUFFIX).unwrap_or(path).split_once('/')?;
    let id = (namespace.to_owned(), name.to_owned());
    reads.read(Fact::Roots(id.0.clone(), id.1.clone()));
    let context = proto::CertificateValidationContext {
        trusted_ca: Some(inline(snapshot.roots.get(&id)?)),
        ..Default::default()
    };
    Some(proto::Secret { name: resource.to_owned(), r#type: Some(proto::secret::Type::ValidationContext(context)) })
}

fn certificate(credential: &Credential) -> Option<proto::secret::Type> {
    let pair = credential.pair.as_ref()?;
    Some(proto::secret::Type::TlsCertificate(proto::TlsCertificate {
        certificate_chain: Some(inline(&pair.chain)),
        private_key: Some(inline(&pair.key)),
        ocsp_staple: credential.staple.as_deref().map(inline),
        ..Default::default()
    }))
}

fn roots(credential: &Credential) -> Option<proto::secret::Type> {
    Some(proto::secret::Type::ValidationContext(proto::CertificateValidationContext {
        trusted_ca: Some(inline(credential.roots.as_deref()?)),
        crl: credential.revoked.as_deref().map(inline),
        ..Default::default()
    }))
}

fn inline(bytes: &[u8]) -> core::DataSource {
    let specifier = core::data_source::Specifier::InlineBytes(bytes.to_vec());
    core::DataSource { specifier: Some(specifier), ..Default::default() }
}
