//! RequestAuthentications as Envoy's filter that looks at tokens.

use std::collections::BTreeMap;

use lateen_api::envoy::envoy::config::core::v3::{DataSource, data_source::Specifier};
use lateen_api::envoy::envoy::config::route::v3::{RouteMatch, route_match::PathSpecifier};
use lateen_api::envoy::envoy::extensions::filters::http::jwt_authn::v3 as proto;
use lateen_api::envoy::envoy::extensions::filters::network::http_connection_manager::v3::HttpFilter;
use lateen_api::google::protobuf::Empty;
use lateen_api::istio::{JwtPresence, JwtRule};
use prost::Message;

use super::http::http_filter;
use super::wire::{StandsFor, any_as};
use crate::keys::KeySource;
use crate::reads::{Fact, ReadSet};
use crate::snapshot::Snapshot;
use crate::view::ProxyView;

/// Name of the filter, under which it leaves claims for others.
pub const FILTER: &str = "envoy.filters.http.jwt_authn";
/// The key of the claims there.
pub const PAYLOAD: &str = "payload";
/// Claims that are lists separated by blanks by their nature.
const SPACE_DELIMITED: [&str; 2] = ["scope", "permission"];
/// Stands for keys that could not be fetched or read, for Envoy refuses a set without any. Nobody can sign with this
/// one: its x is the SHA-256 of "no keys could be fetched 0", so nobody knows the private half.
pub const NO_KEYS: &str = r#"{"keys":[{"kty":"EC","crv":"P-256","alg":"ES256","kid":"no-keys-could-be-fetched","x":"59A_JpzBglGh2-G0sdb4g_Ez4wgiVoCZSzry0PzQl-I","y":"UdPGdrQKBCPl7uqQEbAQ2UMQOOKPl51262PgTYUNBp0"}]}"#;

/// `envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication`, with its providers in order.
#[derive(Clone, PartialEq, Message)]
struct Filter {
    #[prost(btree_map = "string, message", tag = "1")]
    providers: BTreeMap<String, proto::JwtProvider>,
    #[prost(message, repeated, tag = "2")]
    rules: Vec<proto::RequirementRule>,
    #[prost(bool, tag = "4")]
    bypass_cors_preflight: bool,
}

impl StandsFor for Filter {
    type Of = proto::JwtAuthentication;
}

/// The filter for the workload of `view`, if any policy is for it.
pub fn filter(view: &ProxyView, snapshot: &Snapshot, reads: &mut ReadSet) -> Option<HttpFilter> {
    reads.read(Fact::RequestAuthentications);
    let policies = snapshot.request_authentications_for(&view.namespace, &view.labels);
    let mut rules: Vec<&JwtRule> = policies.flat_map(|policy| &policy.spec.jwt_rules).collect();
    if rules.is_empty() {
        return None;
    }
    rules.sort_by(|a, b| a.issuer.cmp(&b.issuer));
    let named = || rules.iter().enumerate().map(|(at, rule)| (format!("origins-{at}"), *rule));
    let mut provider = |rule| provider(rule, !view.is_sidecar(), snapshot, reads);
    let filter = Filter {
        providers: named().map(|(name, rule)| (name, provider(rule))).collect(),
        rules: vec![proto::RequirementRule {
            r#match: Some(RouteMatch { path_specifier: Some(PathSpecifier::Prefix("/".into())), ..Default::default() }),
            requirement_type: Some(proto::requirement_rule::RequirementType::Requires(requirement(named()))),
        }],
        bypass_cors_preflight: true,
    };
    Some(http_filter(FILTER, any_as(&filter)))
}

/// Every token that is there must be good, but where several providers look in one place, one of them must find it so.
fn requirement<'r>(rules: impl Iterator<Item = (String, &'r JwtRule)>) -> proto::JwtRequirement {
    use proto::jwt_requirement::RequiresType;
    let requires = |kind| proto::JwtRequirement { requires_type: Some(kind) };
    let any = |requirements| requires(RequiresType::RequiresAny(proto::JwtRequirementOrList { requirements }));
    let (mut good, mut none_bad) = (Vec::new(), Vec::new());
    for (name, rule) in rules {
        let of_provider = requires(RequiresType::ProviderName(name));
        good.push(of_provider.clone());
        none_bad.push(match rule.presence {
            Some(JwtPresence::Required) => of_provider,
            _ => any(vec![of_provider, requires(RequiresType::AllowMissing(Empty {}))]),
        });
    }
    if none_bad.len() == 1 {
        return none_bad.remove(0);
    }
    good.push(requires(RequiresType::RequiresAll(proto::JwtRequirementAndList { requirements: none_bad })));
    any(good)
}

fn provider(rule: &JwtRule, clear_route_cache: bool, snapshot: &Snapshot, reads: &mut ReadSet) -> proto::JwtProvider {
    use proto::jwt_provider::{JwksSourceSpecifier, NormalizePayload};
    let keys = match KeySource::of(rule) {
        None => Some(rule.jwks.as_str()).filter(|keys| crate::keys::check(keys).is_ok()).unwrap_or(NO_KEYS),
        Some(source) => {
            let keys = snapshot.key_sets.get(&source).map_or(NO_KEYS, |keys| &**keys);
            reads.read(Fact::Keys(source));
            keys
        }
    };
    let mut space_delimited: Vec<String> = SPACE_DELIMITED.map(str::to_owned).into();
    space_delimited
        .extend(rule.space_delimited_claims.iter().filter(|name| !SPACE_DELIMITED.contains(&name.as_str())).cloned());
    let header = |one: &lateen_api::istio::JwtHeader| proto::JwtHeader {
        name: one.name.clone(),
        value_prefix: one.prefix.clone(),
    };
    let claim = |one: &lateen_api::istio::ClaimToHeader| proto::JwtClaimToHeader {
        header_name: one.header.clone(),
        claim_name: one.claim.clone(),
        ..Default::default()
    };
    proto::JwtProvider {
        issuer: rule.issuer.clone(),
        audiences: rule.audiences.clone(),
        forward: rule.forward_original_token,
        forward_payload_header: rule.output_payload_to_header.clone(),
        payload_in_metadata: PAYLOAD.into(),
        normalize_payload_in_metadata: Some(NormalizePayload { space_delimited_claims: space_delimited }),
        claim_to_headers: rule.output_claim_to_headers.iter().map(claim).collect(),
        from_headers: rule.from_headers.iter().map(header).collect(),
        from_params: rule.from_params.clone(),
        from_cookies: rule.from_cookies.clone(),
        clear_route_cache,
        jwks_source_specifier: Some(JwksSourceSpecifier::LocalJwks(DataSource {
            specifier: Some(Specifier::InlineString(keys.to_owned())),
            ..Default::default()
        })),
        ..Default::default()
    }
}
