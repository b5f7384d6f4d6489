//! The filter that authenticates requests by tokens.

use lateen_api::envoy::envoy::config::core::v3::{DataSource, data_source::Specifier};
use lateen_api::envoy::envoy::extensions::filters::http::jwt_authn::v3::{
    self as proto, JwtAuthentication, JwtClaimToHeader, JwtProvider, JwtRequirement, RequirementRule,
    jwt_claim_to_header::PathSegment, jwt_provider::JwksSourceSpecifier, jwt_requirement::RequiresType,
    requirement_rule::RequirementType,
};

use super::{LoadError, route};
use crate::jwt::{JwtAuthn, KeySet, Location, Provider, Requirement, Rule, audience};

/// Seconds by which clocks may differ, unless a provider says otherwise.
const CLOCK_SKEW: u32 = 60;
/// Requirements inside requirements.
const MAX_DEPTH: usize = 32;

/// Loads the filter. Keys that can't be read make every token of their provider a bad one.
pub fn jwt(filter: &JwtAuthentication) -> Result<JwtAuthn, LoadError> {
    if filter.filter_state_rules.is_some() {
        return Err(unsupported("filter_state_rules"));
    }
    let mut names: Vec<&String> = filter.providers.keys().collect();
    names.sort();
    let providers = names.iter().map(|name| provider(name, &filter.providers[*name]));
    let build = Build { filter, names: &names };
    Ok(JwtAuthn {
        providers: providers.collect::<Result<_, _>>()?,
        rules: filter.rules.iter().map(|one| build.rule(one)).collect::<Result<_, _>>()?,
        bypass_preflight: filter.bypass_cors_preflight,
        strip_failure: filter.strip_failure_response,
        stat_prefix: filter.stat_prefix.as_str().into(),
    })
}

fn unsupported(what: &str) -> LoadError {
    LoadError::Unsupported(format!("{what} of a jwt_authn filter"))
}

fn provider(name: &str, proto: &JwtProvider) -> Result<Provider, LoadError> {
    for (given, what) in [
        (proto.subjects.is_some(), "subjects"),
        (proto.require_expiration, "require_expiration"),
        (proto.max_lifetime.is_some(), "max_lifetime"),
        (!proto.header_in_metadata.is_empty(), "header_in_metadata"),
        (!proto.failed_status_in_metadata.is_empty(), "failed_status_in_metadata"),
    ] {
        if given {
            return Err(unsupported(what));
        }
    }
    let keys = match &proto.jwks_source_specifier {
        Some(JwksSourceSpecifier::LocalJwks(source)) => KeySet::parse(&text(source)?).ok(),
        Some(JwksSourceSpecifier::RemoteJwks(_)) => return Err(unsupported("remote_jwks")),
        None => return Err(LoadError::invalid(format!("provider {name} of a jwt_authn filter has no keys"))),
    };
    let normalize = proto.normalize_payload_in_metadata.as_ref();
    Ok(Provider {
        issuer: proto.issuer.as_str().into(),
        audiences: audiences(&proto.audiences),
        keys,
        locations: locations(proto),
        forward: proto.forward,
        payload_header: lower(&proto.forward_payload_header),
        pad_payload: proto.pad_forward_payload_header,
        payload_key: proto.payload_in_metadata.as_str().into(),
        space_delimited: normalize.map(|how| boxed(&how.space_delimited_claims)).unwrap_or_default(),
        claim_headers: proto.claim_to_headers.iter().map(claim_header).collect(),
        clock_skew: if proto.clock_skew_seconds == 0 { CLOCK_SKEW } else { proto.clock_skew_seconds }.into(),
        clear_route: proto.clear_route_cache,
    })
}

fn text(source: &DataSource) -> Result<String, LoadError> {
    match &source.specifier {
        Some(Specifier::InlineString(text)) => Ok(text.clone()),
        Some(Specifier::InlineBytes(bytes)) => Ok(String::from_utf8_lossy(bytes).into_owned()),
        _ => Err(unsupported("a key set that isn't inline")),
    }
}

fn boxed(texts: &[String]) -> Vec<Box<str>> {
    texts.iter().map(|text| text.as_str().into()).collect()
}

fn audiences(texts: &[String]) -> Vec<Box<str>> {
    texts.iter().map(|text| audience(text).into()).collect()
}

fn lower(name: &str) -> Option<Box<str>> {
    (!name.is_empty()).then(|| name.to_ascii_lowercase().into())
}

fn claim_header(proto: &JwtClaimToHeader) -> (Vec<Box<str>>, Box<str>) {
    let key = |segment: &PathSegment| segment.key.as_str().into();
    let path = if proto.claim_path.is_empty() {
        proto.claim_name.split('.').map(Into::into).collect()
    } else {
        proto.claim_path.iter().map(key).collect()
    };
    (path, proto.header_name.to_ascii_lowercase().into())
}

/// Headers first, in the order of their names, as Envoy looks.
fn locations(proto: &JwtProvider) -> Vec<Location> {
    let header = |one: &proto::JwtHeader| Location::Header {
        name: one.name.to_ascii_lowercase().into(),
        prefix: one.value_prefix.as_str().into(),
    };
    let mut all: Vec<Location> = proto.from_headers.iter().map(header).collect();
    all.extend(proto.from_params.iter().map(|name| Location::Parameter(name.as_str().into())));
    all.extend(proto.from_cookies.iter().map(|name| Location::Cookie(name.as_str().into())));
    if all.is_empty() {
        return Location::usual();
    }
    all.sort();
    all
}

struct Build<'b> {
    filter: &'b JwtAuthentication,
    names: &'b [&'b String],
}

impl Build<'_> {
    fn rule(&self, rule: &RequirementRule) -> Result<Rule, LoadError> {
        let form =
            rule.r#match.as_ref().ok_or_else(|| LoadError::invalid("a rule of a jwt_authn filter has no match"))?;
        let requirement = match &rule.requirement_type {
            None => None,
            Some(RequirementType::Requires(requirement)) => self.requirement(requirement, 0)?,
            Some(RequirementType::RequirementName(name)) => {
                let unknown = || LoadError::invalid(format!("a jwt_authn filter has no requirement {name:?}"));
                self.requirement(self.filter.requirement_map.get(name).ok_or_else(unknown)?, 0)?
            }
        };
        Ok(Rule { form: route::route_match(form)?, requirement })
    }

    fn provider(&self, name: &str) -> Result<usize, LoadError> {
        let unknown = || LoadError::invalid(format!("a jwt_authn filter has no provider {name:?}"));
        self.names.iter().position(|known| *known == name).ok_or_else(unknown)
    }

    fn requirement(&self, proto: &JwtRequirement, depth: usize) -> Result<Option<Requirement>, LoadError> {
        if depth > MAX_DEPTH {
            return Err(LoadError::invalid(format!(
                "more than {MAX_DEPTH} levels of requirements in a jwt_authn filter"
            )));
        }
        let all: Vec<usize> = (0..self.names.len()).collect();
        Ok(Some(match proto.requires_type.as_ref() {
            None => return Ok(None),
            Some(RequiresType::ProviderName(name)) => Requirement::Provider(self.provider(name)?),
            Some(RequiresType::ProviderAndAudiences(one)) => {
                Requirement::Audience(self.provider(&one.provider_name)?, audiences(&one.audiences))
            }
            Some(RequiresType::RequiresAny(list)) => self.any(&list.requirements, depth + 1)?,
            Some(RequiresType::RequiresAll(list)) => Requirement::All(self.each(&list.requirements, depth + 1)?),
            Some(RequiresType::AllowMissing(_)) => Requirement::AllowMissing(all),
            Some(RequiresType::AllowMissingOrFailed(_)) => Requirement::AllowFailed(all),
            Some(RequiresType::ExtractOnlyWithoutValidation(_)) => {
                return Err(unsupported("extract_only_without_validation"));
            }
        }))
    }

    fn each(&self, list: &[JwtRequirement], depth: usize) -> Result<Vec<Requirement>, LoadError> {
        list.iter().filter_map(|one| self.requirement(one, depth).transpose()).collect()
    }

    /// What allows a missing token is asked last, and looks only where the others do.
    fn any(&self, list: &[JwtRequirement], depth: usize) -> Result<Requirement, LoadError> {
        let mut some = self.each(list, depth)?;
        let used: Vec<usize> = some
            .iter()
            .filter_map(|one| match one {
                Requirement::Provider(at) | Requirement::Audience(at, _) => Some(*at),
                _ => None,
            })
            .collect();
        for one in &mut some {
            if let Requirement::AllowMissing(of) | Requirement::AllowFailed(of) = one
                && !used.is_empty()
            {
                of.clone_from(&used);
            }
        }
        some.sort_by_key(|one| matches!(one, Requirement::AllowMissing(_) | Requirement::AllowFailed(_)));
        Ok(Requirement::Any(some))
    }
}
