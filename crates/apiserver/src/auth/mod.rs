//! Who asks, and whether they may: tokens and certificates, role-based access control.

mod aggregation;
mod cover;
mod defaults;
mod escalation;
mod rbac;
mod review;
mod rule;
mod token_request;
mod tokens;
mod user;

pub(crate) use aggregation::ROLES as CLUSTER_ROLES;
pub(crate) use defaults::{cluster_role_bindings, cluster_roles, repaired};
pub(crate) use rbac::Rbac;
pub use tokens::{Binding, BoundKind, Claims, TokenError, Tokens};
pub use user::{AUTHENTICATED, MASTERS, UNAUTHENTICATED, User};

use crate::status::Status;

/// The API group of roles and bindings.
pub(crate) const GROUP: &str = "rbac.authorization.k8s.io";

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

impl Action<'_> {
    /// Whether it is about a resource, not about a path.
    pub fn is_resource(&self) -> bool {
        self.path.is_empty()
    }
}

/// The namespace that a request is for. A namespace lies in itself, so that a role of a namespace can be about it.
pub(crate) fn place<'a>(group: &str, resource: &str, namespace: &'a str, name: &'a str) -> &'a str {
    if group.is_empty() && resource == "namespaces" { name } else { namespace }
}

/// Kubernetes' words for a refusal; `why` says what went wrong while deciding, if anything.
pub fn refusal(user: &User, action: &Action<'_>, why: &str) -> Status {
    let why = if why.is_empty() { String::new() } else { format!(": {why}") };
    let who = format!("User {:?} cannot {}", user.name, action.verb);
    if !action.is_resource() {
        let text = format!("forbidden: {who} path {:?}{why}", action.path);
        return Status::new(403, "Forbidden", text);
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
    let text = format!("{who} resource {resource:?} in API group {:?} {place}{why}", action.group);
    Status::forbidden(action.group, action.resource, action.name, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_worded_as_kubernetes_words_them() {
        let user = User { name: "system:serviceaccount:default:default".into(), ..User::default() };
        let list = Action { verb: "list", resource: "pods", namespace: "default", ..Action::default() };
        let scale = Action {
            verb: "patch",
            group: "apps",
            resource: "deployments",
            subresource: "scale",
            namespace: "a",
            name: "web",
            ..Action::default()
        };
        let path = Action { verb: "get", path: "/metrics", ..Action::default() };
        let missing = "RBAC: clusterrole.rbac.authorization.k8s.io \"x\" not found";
        let cases = [
            (
                refusal(&user, &list, ""),
                "pods is forbidden: User \"system:serviceaccount:default:default\" cannot list resource \"pods\" in \
                 API group \"\" in the namespace \"default\"",
            ),
            (
                refusal(&user, &scale, missing),
                "deployments.apps \"web\" is forbidden: User \"system:serviceaccount:default:default\" cannot patch \
                 resource \"deployments/scale\" in API group \"apps\" in the namespace \"a\": RBAC: \
                 clusterrole.rbac.authorization.k8s.io \"x\" not found",
            ),
            (
                refusal(&user, &path, ""),
                "forbidden: User \"system:serviceaccount:default:default\" cannot get path \"/metrics\"",
            ),
        ];
        for (status, text) in cases {
            assert_eq!((status.code, status.message.as_str()), (403, text));
        }
    }
}
