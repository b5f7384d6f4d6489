//! AuthorizationPolicies as Envoy's RBAC filters: CUSTOM first, then AUDIT, DENY and ALLOW.

mod condition;
mod custom;
mod message;
mod provider;
mod rule;
mod text;
mod trust_domain;

use std::collections::BTreeMap;

use lateen_api::envoy::envoy::config::listener::v3::Filter;
use lateen_api::envoy::envoy::config::rbac::v3::rbac::Action;
use lateen_api::envoy::envoy::extensions::filters::network::http_connection_manager::v3::HttpFilter;
use lateen_api::istio::{AuthorizationAction, AuthorizationPolicy};

use super::authentication;
use super::http::{http_filter, network_filter};
use super::wire::any_as;
use crate::reads::{Fact, ReadSet};
use crate::resource::Config;
use crate::snapshot::Snapshot;
use crate::view::ProxyView;
use message::{HttpRbac, NetworkRbac, Policies, Rbac};
use rule::Place;

const HTTP_RBAC: &str = "envoy.filters.http.rbac";
const NETWORK_RBAC: &str = "envoy.filters.network.rbac";
/// Statistics of byte streams.
const TCP_PREFIX: &str = "tcp.";
/// Annotation of policies that are tried, but not enforced.
const DRY_RUN: &str = "istio.io/dry-run";

pub use condition::{any_of_it, claim_matcher};

/// Is there an external authorizer of this name that can be asked.
pub fn has_provider(name: &str, snapshot: &Snapshot, reads: &mut ReadSet) -> bool {
    provider::find(name, snapshot, reads).is_some()
}

type Policy = Config<AuthorizationPolicy>;

/// What is enforced for the traffic to one workload.
pub struct Authorization {
    http: Vec<HttpFilter>,
    tcp: Vec<Filter>,
}

impl Authorization {
    /// For the workload of `view`.
    pub fn new(view: &ProxyView, snapshot: &Snapshot, reads: &mut ReadSet) -> Self {
        reads.read(Fact::AuthorizationPolicies);
        reads.read(Fact::Mesh);
        let all: Vec<&Policy> = snapshot.authorization_policies_for(&view.namespace, &view.labels).collect();
        let of = |action: AuthorizationAction| -> Vec<&Policy> {
            all.iter().filter(|p| p.spec.action.unwrap_or(AuthorizationAction::Allow) == action).copied().collect()
        };
        let trusted = trust_domain::of(&snapshot.mesh);
        let custom = custom::filters(&of(AuthorizationAction::Custom), &trusted, snapshot, reads);
        let (mut http, mut tcp) = (custom.http, custom.tcp);
        // External authorizers are asked before tokens are looked at, as in Istio.
        http.extend(authentication::filter(view, snapshot, reads));
        for (wanted, action) in [
            (AuthorizationAction::Audit, Action::Log),
            (AuthorizationAction::Deny, Action::Deny),
            (AuthorizationAction::Allow, Action::Allow),
        ] {
            let policies = of(wanted);
            if !policies.is_empty() {
                http.push(http_rbac(&Rules::of(&policies, action, &trusted, Place::Http)));
                tcp.push(network_rbac(&Rules::of(&policies, action, &trusted, Place::Tcp)));
            }
        }
        Self { http, tcp }
    }

    /// Filters for requests.
    pub fn http(&self) -> Vec<HttpFilter> {
        self.http.clone()
    }

    /// Filters for byte streams.
    pub fn tcp(&self) -> Vec<Filter> {
        self.tcp.clone()
    }
}

/// The rules of one action: those enforced and those tried.
struct Rules {
    enforced: Option<Rbac>,
    tried: Option<Rbac>,
}

impl Rules {
    fn of(policies: &[&Policy], action: Action, trusted: &[String], place: Place) -> Self {
        let rbac = |dry: bool| {
            let mut some = policies.iter().filter(|policy| is_dry_run(policy) == dry).peekable();
            some.peek()?;
            let mut all = Policies::new();
            some.for_each(|policy| add(&mut all, policy, "", action, trusted, place));
            Some(Rbac { action: action.into(), policies: all })
        };
        Self { enforced: rbac(false), tried: rbac(true) }
    }

    fn tried_prefix(&self) -> String {
        let deny = self.tried.as_ref().is_some_and(|rbac| rbac.action == i32::from(Action::Deny));
        if deny { "istio_dry_run_deny_" } else { "istio_dry_run_allow_" }.to_owned()
    }
}

/// Adds the rules of a policy under the names by which filters and logs speak of them.
fn add(all: &mut Policies, policy: &Policy, prefix: &str, action: Action, trusted: &[String], place: Place) {
    let name =
        |index: usize| format!("{prefix}ns[{}]-policy[{}]-rule[{index}]", policy.meta.namespace, policy.meta.name);
    let rules = policy.spec.rules.as_deref().unwrap_or_default();
    if rules.is_empty() {
        all.insert(name(0), rule::never());
    }
    for (index, one) in rules.iter().enumerate() {
        if let Some(made) = rule::rule(one, &policy.meta.namespace, action, trusted, place) {
            all.insert(name(index), made);
        }
    }
}

fn is_dry_run(policy: &Policy) -> bool {
    policy.meta.annotations.get(DRY_RUN).is_some_and(|value| value.eq_ignore_ascii_case("true") || value == "1")
}

fn http_rbac(rules: &Rules) -> HttpFilter {
    let config = HttpRbac {
        rules: rules.enforced.clone(),
        shadow_rules: rules.tried.clone(),
        shadow_rules_stat_prefix: rules.tried_prefix(),
    };
    http_filter(HTTP_RBAC, any_as(&config))
}

fn network_rbac(rules: &Rules) -> Filter {
    let config = NetworkRbac {
        rules: rules.enforced.clone(),
        shadow_rules: rules.tried.clone(),
        stat_prefix: TCP_PREFIX.to_owned(),
        shadow_rules_stat_prefix: rules.tried_prefix(),
    };
    network_filter(NETWORK_RBAC, any_as(&config))
}

/// Policies by the name of their external authorizer.
fn by_provider<'p>(policies: &[&'p Policy]) -> BTreeMap<&'p str, Vec<&'p Policy>> {
    let mut groups: BTreeMap<&str, Vec<&Policy>> = BTreeMap::new();
    for policy in policies {
        let provider = policy.spec.provider.as_ref().map_or("", |provider| provider.name.as_str());
        groups.entry(provider).or_default().push(policy);
    }
    groups
}
