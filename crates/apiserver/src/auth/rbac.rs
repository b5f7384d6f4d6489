//! Role-based access control: who is bound to which roles, and what these allow.

use serde_json::Value;

use super::{Action, GROUP, MASTERS, User, refusal, rule::Rule};
use crate::{
    object::{self, Object},
    status::Status,
    store::{Key, Store},
};

const CLUSTER_BINDINGS: &str = "rbac.authorization.k8s.io/clusterrolebindings";
const BINDINGS: &str = "rbac.authorization.k8s.io/rolebindings";

/// What was decided about an action.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decision {
    /// Whether the user may.
    pub allowed: bool,
    /// By which binding; or what went wrong while looking. Often empty.
    pub reason: String,
}

/// Decides by the roles and bindings in the store.
#[derive(Clone)]
pub struct Rbac {
    store: Store,
}

/// A binding that is for a user.
struct Grant {
    binding: Object,
    /// Place of the subject in the binding.
    subject: usize,
}

impl Rbac {
    /// Reads roles and bindings from `store`.
    pub fn new(store: Store) -> Self {
        Self { store }
    }

    /// Whether the user may, and why.
    pub fn decide(&self, user: &User, action: &Action<'_>) -> Decision {
        if user.is_in(MASTERS) {
            return Decision { allowed: true, reason: String::new() };
        }
        let mut errors = Vec::new();
        for (grant, rules) in self.grants(user, action.namespace) {
            match rules {
                Ok(rules) if rules.iter().any(|rule| rule.allows(action)) => {
                    return Decision { allowed: true, reason: format!("RBAC: allowed by {}", grant.describe()) };
                }
                Ok(_) => {}
                Err(error) => errors.push(error),
            }
        }
        Decision { allowed: false, reason: explain(&errors) }
    }

    /// Nothing where the user may; otherwise Kubernetes' refusal.
    pub fn check(&self, user: &User, action: &Action<'_>) -> Result<(), Status> {
        let decision = self.decide(user, action);
        if decision.allowed { Ok(()) } else { Err(refusal(user, action, &decision.reason)) }
    }

    /// Everything the user may do in a namespace (empty: in all), and what could not be read.
    pub fn rules_for(&self, user: &User, namespace: &str) -> (Vec<Rule>, Vec<String>) {
        let (mut all, mut errors) = (Vec::new(), Vec::new());
        for (_, rules) in self.grants(user, namespace) {
            match rules {
                Ok(rules) => all.extend(rules),
                Err(error) => errors.push(error),
            }
        }
        (all, errors)
    }

    /// The rules of the role that a `roleRef` of a namespace names; the error is Kubernetes' text.
    pub fn role_rules(&self, role: &Value, namespace: &str) -> Result<Vec<Rule>, String> {
        let name = role["name"].as_str().unwrap_or_default();
        let (collection, namespace, kind) = match role["kind"].as_str() {
            Some("Role") => ("roles", namespace, "role"),
            Some("ClusterRole") => ("clusterroles", "", "clusterrole"),
            other => return Err(format!("unsupported role reference kind: {:?}", other.unwrap_or_default())),
        };
        let key = Key::new(&format!("{GROUP}/{collection}").into(), namespace, name);
        match self.store.get(&key) {
            Some(role) => Ok(Rule::parse_all(&role)),
            None => Err(format!("{kind}.{GROUP} {name:?} not found")),
        }
    }

    /// The bindings that are for the user, and what their roles allow.
    fn grants(&self, user: &User, namespace: &str) -> impl Iterator<Item = (Grant, Result<Vec<Rule>, String>)> {
        let mut bindings: Vec<Object> = self.store.list(CLUSTER_BINDINGS, None).objects().collect();
        if !namespace.is_empty() {
            bindings.extend(self.store.list(BINDINGS, Some(namespace)).objects());
        }
        let granted = bindings.into_iter().filter_map(move |binding| Grant::find(binding, user));
        granted.map(move |grant| {
            let rules = self.role_rules(&grant.binding["roleRef"], namespace);
            (grant, rules)
        })
    }
}

/// What went wrong while deciding, in one line.
fn explain(errors: &[String]) -> String {
    match errors {
        [] => String::new(),
        [one] => format!("RBAC: {one}"),
        many => format!("RBAC: [{}]", many.join(", ")),
    }
}

impl Grant {
    fn find(binding: Object, user: &User) -> Option<Self> {
        let namespace = object::namespace(&binding);
        let subjects = binding["subjects"].as_array()?;
        let subject = subjects.iter().position(|subject| applies(subject, namespace, user))?;
        Some(Self { binding, subject })
    }

    /// Such as `ClusterRoleBinding "a" of ClusterRole "b" to Group "c"`.
    fn describe(&self) -> String {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let (name, namespace) = (object::name(&self.binding), object::namespace(&self.binding));
        let (kind, shown) = if namespace.is_empty() {
            ("ClusterRoleBinding", name.to_owned())
        } else {
            ("RoleBinding", format!("{name}/{namespace}"))
        };
        let role = &self.binding["roleRef"];
        let subject = &self.binding["subjects"][self.subject];
        let mut who = text(&subject["name"]);
        if subject["kind"] == "ServiceAccount" {
            who = format!("{who}/{}", account_namespace(subject, namespace));
        }
        let (role_kind, role_name) = (text(&role["kind"]), text(&role["name"]));
        format!("{kind} {shown:?} of {role_kind} {role_name:?} to {} {who:?}", text(&subject["kind"]))
    }
}

fn account_namespace<'a>(subject: &'a Value, binding: &'a str) -> &'a str {
    subject["namespace"].as_str().filter(|ns| !ns.is_empty()).unwrap_or(binding)
}

/// Whether a subject of a binding in a namespace stands for the user.
fn applies(subject: &Value, namespace: &str, user: &User) -> bool {
    let name = subject["name"].as_str().unwrap_or_default();
    match subject["kind"].as_str() {
        Some("User") => user.name == name,
        Some("Group") => user.is_in(name),
        Some("ServiceAccount") => {
            User::split_account(&user.name) == Some((account_namespace(subject, namespace), name))
        }
        _ => false,
    }
}
