//! One rule of an AuthorizationPolicy as one of Envoy's policies.

use lateen_api::envoy::envoy::config::rbac::v3::rbac::Action;
use lateen_api::envoy::envoy::config::rbac::v3::{Permission, Policy, Principal, permission, principal};
use lateen_api::istio::{AuthorizationCondition, AuthorizationRule, Operation, Source};

use super::condition::{OfOperation, OfSource, Unusable};
use super::trust_domain;

/// What kind of traffic a rule is written for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Requests.
    Http,
    /// Byte streams, which have no method, path or token.
    Tcp,
}

/// A condition or several, as Envoy writes them for operations and for sources.
pub trait Term: Sized {
    /// Always holds.
    fn any() -> Self;
    /// Holds when all do.
    fn all(terms: Vec<Self>) -> Self;
    /// Holds when one does.
    fn one_of(terms: Vec<Self>) -> Self;
    /// Holds when the term doesn't.
    fn not(term: Self) -> Self;
}

impl Term for Permission {
    fn any() -> Self {
        Self { rule: Some(permission::Rule::Any(true)) }
    }
    fn all(rules: Vec<Self>) -> Self {
        Self { rule: Some(permission::Rule::AndRules(permission::Set { rules })) }
    }
    fn one_of(rules: Vec<Self>) -> Self {
        Self { rule: Some(permission::Rule::OrRules(permission::Set { rules })) }
    }
    fn not(rule: Self) -> Self {
        Self { rule: Some(permission::Rule::NotRule(Box::new(rule))) }
    }
}

impl Term for Principal {
    fn any() -> Self {
        Self { identifier: Some(principal::Identifier::Any(true)) }
    }
    fn all(ids: Vec<Self>) -> Self {
        Self { identifier: Some(principal::Identifier::AndIds(principal::Set { ids })) }
    }
    fn one_of(ids: Vec<Self>) -> Self {
        Self { identifier: Some(principal::Identifier::OrIds(principal::Set { ids })) }
    }
    fn not(id: Self) -> Self {
        Self { identifier: Some(principal::Identifier::NotId(Box::new(id))) }
    }
}

/// Something that conditions can be about.
pub trait Attribute {
    /// What its conditions are written as.
    type Term: Term;
    /// The condition that it has this value.
    fn term(&self, value: &str, place: Place) -> Result<Self::Term, Unusable>;
}

/// A condition: one of these values, and none of those.
#[derive(Clone, Debug)]
struct Condition<A> {
    attribute: A,
    values: Vec<String>,
    not_values: Vec<String>,
}

/// Conditions that must all hold.
#[derive(Clone, Debug)]
struct Conditions<A>(Vec<Condition<A>>);

impl<A: Attribute> Conditions<A> {
    fn add(&mut self, attribute: A, values: &[String], not_values: &[String]) {
        if !values.is_empty() || !not_values.is_empty() {
            self.0.push(Condition { attribute, values: values.to_vec(), not_values: not_values.to_vec() });
        }
    }

    /// A condition that can't be written makes an ALLOW rule useless, so that it allows less; in the other actions the
    /// condition alone is left out, so that they match more.
    fn term(&self, action: Action, place: Place) -> Result<A::Term, Unusable> {
        let mut all = Vec::new();
        for Condition { attribute, values, not_values } in &self.0 {
            let terms = |values: &[String]| -> Result<Vec<A::Term>, Unusable> {
                let made = values.iter().map(|value| attribute.term(value, place));
                if action == Action::Allow { made.collect() } else { Ok(made.flatten().collect()) }
            };
            let (wanted, unwanted) = (terms(values)?, terms(not_values)?);
            all.extend((!wanted.is_empty()).then(|| Term::one_of(wanted)));
            all.extend((!unwanted.is_empty()).then(|| Term::not(Term::one_of(unwanted))));
        }
        if all.is_empty() {
            all.push(Term::any());
        }
        Ok(Term::all(all))
    }
}

/// Envoy's policy for a rule; `None` when it can't hold for such traffic.
pub fn rule(
    rule: &AuthorizationRule,
    namespace: &str,
    action: Action,
    trusted: &[String],
    place: Place,
) -> Option<Policy> {
    let when = When::of(&rule.when, namespace, trusted);
    let operations: Vec<_> = match rule.to.as_slice() {
        [] => vec![when.operation],
        some => some.iter().map(|to| operation(to.operation.as_ref(), &when.operation)).collect(),
    };
    let sources: Vec<_> = match rule.from.as_slice() {
        [] => vec![when.source],
        some => some.iter().map(|from| source(from.source.as_ref(), &when.source, namespace, trusted)).collect(),
    };
    let permissions = operations.iter().map(|all| all.term(action, place)).collect::<Result<_, _>>().ok()?;
    let principals = sources.iter().map(|all| all.term(action, place)).collect::<Result<_, _>>().ok()?;
    Some(Policy { permissions, principals, ..Default::default() })
}

/// A policy that matches nothing.
pub fn never() -> Policy {
    Policy {
        permissions: vec![Permission::not(Permission::any())],
        principals: vec![Principal::not(Principal::any())],
        ..Default::default()
    }
}

/// The conditions that hold for every source and operation of a rule.
struct When {
    operation: Conditions<OfOperation>,
    source: Conditions<OfSource>,
}

impl When {
    fn of(conditions: &[AuthorizationCondition], namespace: &str, trusted: &[String]) -> Self {
        let mut when = Self { operation: Conditions(Vec::new()), source: Conditions(Vec::new()) };
        for AuthorizationCondition { key, values, not_values } in conditions {
            match (OfOperation::of_key(key), OfSource::of_key(key, namespace)) {
                (Some(attribute), _) => when.operation.add(attribute, values, not_values),
                (None, OfSource::Principal) => {
                    let [values, not_values] = [values, not_values].map(|all| trust_domain::with_aliases(all, trusted));
                    when.source.add(OfSource::Principal, &values, &not_values);
                }
                (None, attribute) => when.source.add(attribute, values, not_values),
            }
        }
        when
    }
}

fn operation(operation: Option<&Operation>, when: &Conditions<OfOperation>) -> Conditions<OfOperation> {
    let mut all = Conditions(Vec::new());
    if let Some(o) = operation {
        all.add(OfOperation::Host, &o.hosts, &o.not_hosts);
        all.add(OfOperation::Method, &o.methods, &o.not_methods);
        all.add(OfOperation::Path, &o.paths, &o.not_paths);
        all.add(OfOperation::Port, &o.ports, &o.not_ports);
    }
    all.0.extend(when.0.iter().cloned());
    all
}

fn source(
    source: Option<&Source>,
    when: &Conditions<OfSource>,
    namespace: &str,
    trusted: &[String],
) -> Conditions<OfSource> {
    let mut all = Conditions(Vec::new());
    if let Some(s) = source {
        let aliased = |principals: &[String]| trust_domain::with_aliases(principals, trusted);
        all.add(OfSource::Principal, &aliased(&s.principals), &aliased(&s.not_principals));
        all.add(OfSource::TrustDomain, &s.trust_domains, &s.not_trust_domains);
        all.add(OfSource::RequestPrincipal, &s.request_principals, &s.not_request_principals);
        let account = OfSource::Account(namespace.to_owned());
        all.add(account, &s.service_accounts, &s.not_service_accounts);
        all.add(OfSource::Namespace, &s.namespaces, &s.not_namespaces);
        all.add(OfSource::Remote, &s.remote_ip_blocks, &s.not_remote_ip_blocks);
        all.add(OfSource::Peer, &s.ip_blocks, &s.not_ip_blocks);
    }
    all.0.extend(when.0.iter().cloned());
    all
}
