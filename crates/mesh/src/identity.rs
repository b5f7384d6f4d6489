//! Workload identities.

use std::fmt;

use thiserror::Error;

/// Why a text is not a workload identity.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("'{0}' is not spiffe://<trust domain>/ns/<namespace>/sa/<service account>")]
pub struct NotAnIdentity(String);

/// `spiffe://<trust domain>/ns/<namespace>/sa/<service account>`
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SpiffeId {
    /// Trust domain.
    pub trust_domain: String,
    /// Namespace.
    pub namespace: String,
    /// Service account.
    pub service_account: String,
}

impl SpiffeId {
    /// The identity of a service account.
    pub fn new(trust_domain: &str, namespace: &str, service_account: &str) -> Self {
        Self {
            trust_domain: trust_domain.to_owned(),
            namespace: namespace.to_owned(),
            service_account: service_account.to_owned(),
        }
    }

    /// Reads the URI form.
    pub fn parse(uri: &str) -> Result<Self, NotAnIdentity> {
        let refuse = || NotAnIdentity(uri.to_owned());
        let rest = uri.strip_prefix("spiffe://").ok_or_else(refuse)?;
        let parts: Vec<&str> = rest.split('/').collect();
        match parts.as_slice() {
            [td, "ns", ns, "sa", sa] if ![td, ns, sa].iter().any(|p| p.is_empty()) => Ok(Self::new(td, ns, sa)),
            _ => Err(refuse()),
        }
    }

    /// The form used in policies: the URI without its scheme.
    pub fn principal(&self) -> String {
        format!("{}/ns/{}/sa/{}", self.trust_domain, self.namespace, self.service_account)
    }
}

impl fmt::Display for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "spiffe://{}/ns/{}/sa/{}", self.trust_domain, self.namespace, self.service_account)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_uri_form_is_read_and_written() {
        let id = SpiffeId::new("cluster.local", "default", "web");
        assert_eq!(SpiffeId::parse(&id.to_string()), Ok(id.clone()));
        assert_eq!(id.principal(), "cluster.local/ns/default/sa/web");
    }

    #[test]
    fn other_texts_are_refused() {
        for text in
            ["", "spiffe://", "http://a/ns/b/sa/c", "spiffe://a/ns/b", "spiffe://a/ns//sa/c", "spiffe://a/ns/b/sa/c/d"]
        {
            assert!(SpiffeId::parse(text).is_err(), "{text}");
        }
    }
}
