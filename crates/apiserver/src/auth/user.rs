//! Callers: their names and groups.

use serde_json::{Map, Value, json};

use super::{BoundKind, Claims};

/// The caller of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct User {
    /// Such as `kubernetes-admin` or `system:serviceaccount:default:default`.
    pub name: String,
    /// Set for service accounts.
    pub uid: String,
    /// Such as `system:masters`.
    pub groups: Vec<String>,
    /// Set for tokens bound to pods.
    pub extra: Map<String, Value>,
}

/// The group that may do everything.
pub const MASTERS: &str = "system:masters";
/// The group of everybody who is known.
pub const AUTHENTICATED: &str = "system:authenticated";
/// The group of everybody else.
pub const UNAUTHENTICATED: &str = "system:unauthenticated";
/// The name of everybody else.
const ANONYMOUS: &str = "system:anonymous";
/// The names of service accounts start with this.
const SERVICE_ACCOUNT: &str = "system:serviceaccount:";

impl User {
    /// The API server itself: may do everything.
    pub fn system(name: &str) -> Self {
        Self::member(name, &[MASTERS])
    }

    /// A known user of the given groups, such as a component of the cluster.
    pub fn member(name: &str, groups: &[&str]) -> Self {
        let groups = groups.iter().chain(&[AUTHENTICATED]).map(|g| (*g).to_owned()).collect();
        Self { name: name.to_owned(), groups, ..Self::default() }
    }

    /// Nobody in particular.
    pub fn anonymous() -> Self {
        Self { name: ANONYMOUS.into(), groups: vec![UNAUTHENTICATED.into()], ..Self::default() }
    }

    /// The owner of a client certificate: its common name and organisations.
    pub fn from_certificate(der: &[u8]) -> Option<Self> {
        let (_, certificate) = x509_parser::parse_x509_certificate(der).ok()?;
        let subject = certificate.subject();
        let name = subject.iter_common_name().next()?.as_str().ok()?;
        let organisations: Vec<&str> = subject.iter_organization().filter_map(|o| o.as_str().ok()).collect();
        Some(Self::member(name, &organisations))
    }

    /// The service account of a verified token.
    pub fn from_claims(claims: &Claims) -> Self {
        let mut extra = Map::new();
        extra.insert("authentication.kubernetes.io/credential-id".into(), json!([format!("JTI={}", claims.id)]));
        if let Some((BoundKind::Pod, pod)) = &claims.bound {
            extra.insert("authentication.kubernetes.io/pod-name".into(), json!([pod.name]));
            extra.insert("authentication.kubernetes.io/pod-uid".into(), json!([pod.uid]));
        }
        let mut groups = Self::account_groups(&claims.namespace);
        groups.push(AUTHENTICATED.into());
        Self { name: claims.subject(), uid: claims.account.uid.clone(), groups, extra }
    }

    /// The user name of a service account.
    pub fn account_name(namespace: &str, name: &str) -> String {
        format!("{SERVICE_ACCOUNT}{namespace}:{name}")
    }

    /// The groups that every service account of a namespace is in, besides the known users'.
    pub fn account_groups(namespace: &str) -> Vec<String> {
        vec!["system:serviceaccounts".into(), format!("system:serviceaccounts:{namespace}")]
    }

    /// Namespace and name of the service account that a user name stands for.
    pub fn split_account(name: &str) -> Option<(&str, &str)> {
        let (namespace, account) = name.strip_prefix(SERVICE_ACCOUNT)?.split_once(':')?;
        (!namespace.is_empty() && !account.is_empty() && !account.contains(':')).then_some((namespace, account))
    }

    /// Whether this is nobody in particular.
    pub fn is_anonymous(&self) -> bool {
        self.name == ANONYMOUS
    }

    /// As `userInfo` in reviews.
    pub fn to_value(&self) -> Value {
        let mut value = json!({"username": self.name});
        if !self.uid.is_empty() {
            value["uid"] = self.uid.as_str().into();
        }
        value["groups"] = json!(self.groups);
        if !self.extra.is_empty() {
            value["extra"] = Value::Object(self.extra.clone());
        }
        value
    }

    /// Whether the user is in a group.
    pub fn is_in(&self, group: &str) -> bool {
        self.groups.iter().any(|g| g == group)
    }
}
