//! Credentials (SDS): certificates, keys and roots from Kubernetes Secrets, for proxies in the same namespace.
//!
//! Whether the proxy may read Secrets there at all is the caller's to find out.

use lateen_api::envoy::envoy::config::core::v3 as core;
use lateen_api::envoy::envoy::extensions::transport_sockets::tls::v3 as proto;

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
    if credential.starts_with(KUBERNETES) { credential.to_owned() } else { format!("{KUBERNETES}{credential}") }
}

/// Makes a secret; `None` if there is none, or none that can be used, in the proxy's own namespace.
pub fn secret(resource: &str, view: &ProxyView, snapshot: &Snapshot, reads: &mut ReadSet) -> Option<proto::Secret> {
    let path = resource.strip_prefix(KUBERNETES)?;
    let (namespace, name) = path.split_once('/').unwrap_or((&view.namespace, path));
    if namespace != view.namespace {
        return None;
    }
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
