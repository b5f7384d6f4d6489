//! Policies that ask an external authorizer: rules that only mark requests, and the filter that asks about the marked.

use std::collections::BTreeMap;

use lateen_api::envoy::envoy::config::listener::v3::Filter;
use lateen_api::envoy::envoy::config::rbac::v3::rbac::Action;
use lateen_api::envoy::envoy::extensions::filters::network::http_connection_manager::v3::HttpFilter;
use lateen_api::envoy::envoy::r#type::matcher::v3::MetadataMatcher;

use super::message::{HttpRbac, NetworkRbac, Policies, Rbac};
use super::provider::{self, Provider};
use super::rule::Place;
use super::{HTTP_RBAC, NETWORK_RBAC, Policy, TCP_PREFIX, add, by_provider, condition, text};
use crate::reads::ReadSet;
use crate::snapshot::Snapshot;
use crate::translate::http::{http_filter, network_filter};
use crate::translate::wire::any_as;

const HTTP_EXT_AUTHZ: &str = "envoy.filters.http.ext_authz";
const NETWORK_EXT_AUTHZ: &str = "envoy.filters.network.ext_authz";
/// What the only marking filter puts in front of the names of its results.
const MARK_PREFIX: &str = "istio_ext_authz_";
/// The result that the asking filter looks at, behind that.
const MARK: &str = "shadow_effective_policy_id";

/// Filters for policies with action CUSTOM.
#[derive(Default)]
pub struct Custom {
    /// For requests.
    pub http: Vec<HttpFilter>,
    /// For byte streams.
    pub tcp: Vec<Filter>,
}

/// The filters of these policies. What matches them is denied when their authorizer can't be asked. Several authorizers
/// are asked one after the other, each about what its own policies match, and any of them can deny; Istio asks several
/// only when `PILOT_ENABLE_MULTIPLE_CUSTOM_AUTHZ_PROVIDERS` is set, and denies otherwise.
pub fn filters(policies: &[&Policy], trusted: &[String], snapshot: &Snapshot, reads: &mut ReadSet) -> Custom {
    let mut filters = Custom::default();
    let groups = by_provider(policies);
    let several = groups.len() > 1;
    for (name, policies) in groups {
        // What one of several marks is nothing to the others.
        let mark = if several { format!("{MARK_PREFIX}{name}_") } else { MARK_PREFIX.to_owned() };
        let group = Group { provider: name, policies, trusted, mark };
        match provider::find(name, snapshot, reads) {
            Some(provider) => group.ask(&provider, &mut filters),
            None => group.deny(&mut filters),
        }
    }
    filters
}

/// The policies of one authorizer.
struct Group<'p> {
    provider: &'p str,
    policies: Vec<&'p Policy>,
    trusted: &'p [String],
    /// What its marking filter puts in front of the names of its results.
    mark: String,
}

impl Group<'_> {
    fn prefix(&self) -> String {
        format!("istio-ext-authz-{}", self.provider)
    }

    /// Action DENY has HTTP conditions on byte streams match more rather than less.
    fn rules(&self, place: Place, suffix: &str) -> Rbac {
        let mut all = Policies::new();
        for policy in &self.policies {
            add(&mut all, policy, &format!("{}-", self.prefix()), Action::Deny, self.trusted, place);
        }
        let policies: BTreeMap<_, _> = all.into_iter().map(|(name, policy)| (name + suffix, policy)).collect();
        Rbac { action: Action::Deny.into(), policies }
    }

    fn marked(&self, filter: &str) -> MetadataMatcher {
        condition::metadata(
            filter,
            [format!("{}{MARK}", self.mark).as_str()],
            condition::equals(text::starting(self.prefix())),
        )
    }

    fn ask(&self, provider: &Provider, filters: &mut Custom) {
        let marks = HttpRbac {
            shadow_rules: Some(self.rules(Place::Http, "")),
            shadow_rules_stat_prefix: self.mark.clone(),
            ..Default::default()
        };
        filters.http.push(http_filter(HTTP_RBAC, any_as(&marks)));
        filters.http.push(http_filter(HTTP_EXT_AUTHZ, provider.for_requests(self.marked(HTTP_RBAC))));
        // An authorizer that speaks HTTP can't be asked about byte streams: CUSTOM is not for them then.
        if let Some(asks) = provider.for_streams(self.marked(NETWORK_RBAC)) {
            let marks = NetworkRbac {
                shadow_rules: Some(self.rules(Place::Tcp, "")),
                stat_prefix: TCP_PREFIX.to_owned(),
                shadow_rules_stat_prefix: self.mark.clone(),
                ..Default::default()
            };
            filters.tcp.push(network_filter(NETWORK_RBAC, any_as(&marks)));
            filters.tcp.push(network_filter(NETWORK_EXT_AUTHZ, asks));
        }
    }

    fn deny(&self, filters: &mut Custom) {
        let rules = |place| Some(self.rules(place, "-deny-due-to-bad-CUSTOM-action"));
        let http = HttpRbac { rules: rules(Place::Http), ..Default::default() };
        filters.http.push(http_filter(HTTP_RBAC, any_as(&http)));
        let stat_prefix = TCP_PREFIX.to_owned();
        let tcp = NetworkRbac { rules: rules(Place::Tcp), stat_prefix, ..Default::default() };
        filters.tcp.push(network_filter(NETWORK_RBAC, any_as(&tcp)));
    }
}
