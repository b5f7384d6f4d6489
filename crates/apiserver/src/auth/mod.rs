//! Who asks, and whether they may.

mod tokens;

use serde_json::{Map, Value, json};

pub use tokens::{Binding, Claims, TokenError, Tokens};

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

impl User {
    /// A component of this program: may do everything.
    pub fn system(name: &str) -> Self {
        let groups = vec![MASTERS.to_owned(), "system:authenticated".to_owned()];
        Self { name: name.to_owned(), groups, ..Self::default() }
    }

    /// Nobody in particular.
    pub fn anonymous() -> Self {
        Self { name: "system:anonymous".into(), groups: vec!["system:unauthenticated".into()], ..Self::default() }
    }

    /// The owner of a client certificate: its common name and organisations.
    pub fn from_certificate(der: &[u8]) -> Option<Self> {
        let (_, certificate) = x509_parser::parse_x509_certificate(der).ok()?;
        let subject = certificate.subject();
        let name = subject.iter_common_name().next()?.as_str().ok()?.to_owned();
        let organisations = subject.iter_organization().filter_map(|o| o.as_str().ok());
        let mut groups: Vec<String> = organisations.map(str::to_owned).collect();
        groups.push("system:authenticated".into());
        Some(Self { name, groups, ..Self::default() })
    }

    /// The service account of a verified token.
    pub fn from_claims(claims: &Claims) -> Self {
        let mut extra = Map::new();
        extra.insert("authentication.kubernetes.io/credential-id".into(), json!([format!("JTI={}", claims.id)]));
        if let Some(pod) = &claims.pod {
            extra.insert("authentication.kubernetes.io/pod-name".into(), json!([pod.name]));
            extra.insert("authentication.kubernetes.io/pod-uid".into(), json!([pod.uid]));
        }
        Self {
            name: claims.subject(),
            uid: claims.account.uid.clone(),
            groups: vec![
                "system:serviceaccounts".into(),
                format!("system:serviceaccounts:{}", claims.namespace),
                "system:authenticated".into(),
            ],
            extra,
        }
    }

    /// As `userInfo` in reviews.
    pub fn to_value(&self) -> Value {
        let mut value = json!({"username": self.name, "groups": self.groups});
        if !self.uid.is_empty() {
            value["uid"] = self.uid.as_str().into();
        }
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

/// What a caller wants to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Action<'a> {
    /// Such as `list`.
    pub verb: &'a str,
    /// API group.
    pub group: &'a str,
    /// Plural name; empty for other paths.
    pub resource: &'a str,
    /// Such as `status`.
    pub subresource: &'a str,
    /// Namespace or empty.
    pub namespace: &'a str,
    /// Object's name or empty.
    pub name: &'a str,
    /// The path, where it is not a resource's.
    pub path: &'a str,
}

/// Decides who may do what.
pub trait Authorizer: Send + Sync {
    /// Whether the user may.
    fn allows(&self, user: &User, action: &Action<'_>) -> bool;
}

/// Everybody who is known may do everything; others may see that the server is alive.
pub struct Authenticated;

const OPEN_PATHS: [&str; 4] = ["/healthz", "/livez", "/readyz", "/version"];

impl Authorizer for Authenticated {
    fn allows(&self, user: &User, action: &Action<'_>) -> bool {
        if user.is_in("system:authenticated") {
            return true;
        }
        action.resource.is_empty()
            && OPEN_PATHS
                .iter()
                .any(|p| action.path.strip_prefix(p).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')))
    }
}

/// Kubernetes' words for a refusal.
pub fn refusal(user: &User, action: &Action<'_>) -> crate::Status {
    let who = format!("User {:?} cannot {}", user.name, action.verb);
    if action.resource.is_empty() {
        let text = format!("forbidden: {who} path {:?}", action.path);
        return crate::Status::new(403, "Forbidden", text);
    }
    let resource = if action.subresource.is_empty() {
        action.resource.to_owned()
    } else {
        format!("{}/{}", action.resource, action.subresource)
    };
    let place = if action.namespace.is_empty() {
        "at the cluster scope".to_owned()
    } else {
        format!("in the namespace {:?}", action.namespace)
    };
    let text = format!("{who} resource {resource:?} in API group {:?} {place}", action.group);
    crate::Status::forbidden(action.group, action.resource, action.name, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_see_health_only() {
        let list = Action { verb: "list", resource: "pods", ..Action::default() };
        let health = Action { verb: "get", path: "/readyz/ping", ..Action::default() };
        let healthzz = Action { verb: "get", path: "/healthzz", ..Action::default() };
        let nobody = User::anonymous();
        assert!(!Authenticated.allows(&nobody, &list));
        assert!(Authenticated.allows(&nobody, &health));
        assert!(!Authenticated.allows(&nobody, &healthzz));
        assert!(Authenticated.allows(&User::system("x"), &list));
        assert_eq!(
            refusal(&nobody, &list).message,
            "pods is forbidden: User \"system:anonymous\" cannot list resource \"pods\" in API \
             group \"\" at the cluster scope"
        );
    }
}
