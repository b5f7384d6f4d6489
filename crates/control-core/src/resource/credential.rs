use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

/// Certificates as PEM.
pub type Pem = Arc<[u8]>;

/// What a Secret holds for TLS. Secrets for other purposes hold nothing here.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Credential {
    /// Certificate and key.
    pub pair: Option<Pair>,
    /// PEM of roots.
    pub roots: Option<Arc<[u8]>>,
    /// PEM of revocation lists.
    pub revoked: Option<Arc<[u8]>>,
    /// OCSP answer about the certificate.
    pub staple: Option<Arc<[u8]>>,
}

/// A certificate chain and its key, as PEM.
#[derive(Clone, PartialEq, Eq)]
pub struct Pair {
    /// The chain.
    pub chain: Arc<[u8]>,
    /// The key.
    pub key: Arc<[u8]>,
}

impl Credential {
    /// Is there nothing for TLS in it.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credential")
            .field("pair", &self.pair.is_some())
            .field("roots", &self.roots.is_some())
            .field("revoked", &self.revoked.is_some())
            .finish_non_exhaustive()
    }
}

/// Reads a Secret, in Istio's generic form (`cert`, `key`, `cacert`, `crl`) or in that of type `kubernetes.io/tls`.
pub(super) fn parse(object: &Value) -> Credential {
    let entry = |key: &str| -> Option<Arc<[u8]>> {
        let bytes = STANDARD.decode(object.get("data")?.get(key)?.as_str()?).ok()?;
        (!bytes.is_empty()).then(|| bytes.into())
    };
    let pair = |chain: &str, key: &str| Some(Pair { chain: entry(chain)?, key: entry(key)? });
    Credential {
        pair: pair("cert", "key").or_else(|| pair("tls.crt", "tls.key")),
        roots: entry("cacert").or_else(|| entry("ca.crt")),
        revoked: entry("crl").or_else(|| entry("ca.crl")),
        staple: entry("tls.ocsp-staple"),
    }
}

/// The roots in a ConfigMap (`ca.crt`), if there are any.
pub(super) fn roots_of_config_map(object: &Value) -> Option<Pem> {
    let pem = object.pointer("/data/ca.crt")?.as_str()?;
    (!pem.is_empty()).then(|| pem.as_bytes().into())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn both_forms_are_read_and_nothing_is_shown() {
        let text = |t: &str| STANDARD.encode(t);
        let generic = json!({"data": {"cert": text("c"), "key": text("k"), "cacert": text("r")}});
        let tls = json!({"data": {"tls.crt": text("c"), "tls.key": text("k"), "ca.crt": text("r")}});
        assert_eq!(parse(&generic), parse(&tls));
        let read = parse(&tls);
        assert_eq!(read.roots.as_deref(), Some(&b"r"[..]));
        assert_eq!(format!("{read:?}"), "Credential { pair: true, roots: true, revoked: false, .. }");
        assert!(parse(&json!({"data": {"token": text("t"), "tls.crt": text("c")}})).is_empty());
    }
}
