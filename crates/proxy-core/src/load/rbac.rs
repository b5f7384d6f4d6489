//! Authorization filters.

use std::sync::Arc;

use lateen_api::envoy::envoy::config::rbac::v3::{
    self as proto, Permission, Principal, permission::Rule, principal::Identifier,
};
use lateen_api::envoy::envoy::extensions::filters::http::ext_authz::v3::ExtAuthz;
use lateen_api::envoy::envoy::extensions::filters::http::jwt_authn::v3::JwtAuthentication;
use lateen_api::envoy::envoy::extensions::filters::http::rbac::v3::Rbac as HttpRbac;
use lateen_api::envoy::envoy::extensions::filters::network::ext_authz::v3::ExtAuthz as NetworkExtAuthz;
use lateen_api::envoy::envoy::extensions::filters::network::rbac::v3::Rbac as NetworkRbac;
use lateen_api::envoy::envoy::extensions::path::r#match::uri_template::v3::UriTemplateMatchConfig;
use lateen_api::envoy::envoy::r#type::matcher::v3::{
    FilterStateMatcher, MetadataMatcher, PathMatcher, RegexMatcher, StringMatcher, ValueMatcher, double_matcher,
    filter_state_matcher, list_matcher, metadata_matcher::path_segment::Segment, path_matcher,
    string_matcher::MatchPattern, value_matcher,
};
use lateen_api::envoy::google::protobuf::Any;

use super::convert::{header_match, is, port, prefix, string_match, unpack};
use super::{Context, LoadError, external, jwt};
use crate::pattern::{Pattern, StringMatch};
use crate::rbac::{Action, Check, ClaimMatch, Matcher, Policy, Rbac, Rules, ValueMatch};

/// The filter that leaves the claims of tokens.
pub const TOKENS: &str = "envoy.filters.http.jwt_authn";
/// The connection's attribute that is the client's identity.
const PEER_PRINCIPAL: &str = "io.istio.peer_principal";
/// Conditions inside conditions.
const MAX_DEPTH: usize = 32;
/// Characters that stand for themselves in a segment of a path.
const SEGMENT: &str = r"a-zA-Z0-9\-._~%!$&'()+,;:@=";

/// The decision that a filter makes; `None` when it makes none. Rules that can't be read deny everything, and the
/// reason is added to the problems of `context`.
pub fn check(context: &mut Context<'_>, any: &Any) -> Option<Check> {
    let asking = |external| Check::External(Arc::new(external));
    let loaded = if is::<HttpRbac>(any) {
        unpack(any).and_then(|filter| http(&filter))
    } else if is::<NetworkRbac>(any) {
        unpack(any).and_then(|filter| network(&filter))
    } else if is::<JwtAuthentication>(any) {
        let filter = unpack::<JwtAuthentication>(any);
        filter.and_then(|filter| Ok(Check::Tokens(Arc::new(jwt::jwt(&filter)?))))
    } else if is::<ExtAuthz>(any) {
        unpack::<ExtAuthz>(any).and_then(|filter| external::http(context, &filter)).map(asking)
    } else if is::<NetworkExtAuthz>(any) {
        unpack::<NetworkExtAuthz>(any).and_then(|filter| external::network(context, &filter)).map(asking)
    } else {
        return None;
    };
    Some(loaded.unwrap_or_else(|error| {
        context.problems.push(error.to_string());
        Check::Unreadable(error.to_string().into())
    }))
}

fn http(filter: &HttpRbac) -> Result<Check, LoadError> {
    let tree = filter.matcher.is_some() || filter.shadow_matcher.is_some();
    rbac(filter.rules.as_ref(), filter.shadow_rules.as_ref(), &filter.shadow_rules_stat_prefix, "", tree)
}

fn network(filter: &NetworkRbac) -> Result<Check, LoadError> {
    let tree = filter.matcher.is_some() || filter.shadow_matcher.is_some();
    let prefix = &filter.shadow_rules_stat_prefix;
    rbac(filter.rules.as_ref(), filter.shadow_rules.as_ref(), prefix, &filter.stat_prefix, tree)
}

fn rbac(
    enforced: Option<&proto::Rbac>,
    tried: Option<&proto::Rbac>,
    tried_prefix: &str,
    stat_prefix: &str,
    tree: bool,
) -> Result<Check, LoadError> {
    if tree {
        return Err(LoadError::Unsupported("a matcher tree in an RBAC filter".into()));
    }
    Ok(Check::Rules(Arc::new(Rbac {
        enforced: enforced.map(rules).transpose()?,
        tried: tried.map(rules).transpose()?,
        tried_prefix: tried_prefix.into(),
        stat_prefix: stat_prefix.trim_end_matches('.').into(),
    })))
}

fn rules(proto: &proto::Rbac) -> Result<Rules, LoadError> {
    let action = match proto.action {
        0 => Action::Allow,
        1 => Action::Deny,
        2 => Action::Log,
        other => return Err(LoadError::invalid(format!("{other} is no action of an RBAC filter"))),
    };
    let policies = proto
        .policies
        .iter()
        .map(|(name, one)| policy(name, one).map_err(|error| LoadError::invalid(format!("policy {name}: {error}"))));
    Ok(Rules::new(action, policies.collect::<Result<_, _>>()?))
}

fn policy(name: &str, proto: &proto::Policy) -> Result<Policy, LoadError> {
    if proto.condition.is_some() || proto.checked_condition.is_some() {
        return Err(LoadError::Unsupported("a CEL condition".into()));
    }
    let permission = either(&proto.permissions, |one| permission(one, 0))?;
    Ok(Policy::new(name, permission, either(&proto.principals, |one| principal(one, 0))?))
}

fn each<T>(list: &[T], load: impl Fn(&T) -> Result<Matcher, LoadError>) -> Result<Vec<Matcher>, LoadError> {
    if list.is_empty() {
        return Err(LoadError::invalid("an empty list of conditions"));
    }
    list.iter().map(load).collect()
}

fn either<T>(list: &[T], load: impl Fn(&T) -> Result<Matcher, LoadError>) -> Result<Matcher, LoadError> {
    each(list, load).map(Matcher::either)
}

fn deeper(depth: usize) -> Result<usize, LoadError> {
    if depth < MAX_DEPTH { Ok(depth + 1) } else { Err(LoadError::invalid("conditions are nested too deeply")) }
}

#[allow(deprecated)]
fn permission(proto: &Permission, depth: usize) -> Result<Matcher, LoadError> {
    let depth = deeper(depth)?;
    let inner = |one: &Permission| permission(one, depth);
    Ok(match proto.rule.as_ref().ok_or_else(|| LoadError::invalid("an empty permission"))? {
        Rule::AndRules(set) => Matcher::all(each(&set.rules, inner)?),
        Rule::OrRules(set) => either(&set.rules, inner)?,
        Rule::NotRule(one) => Matcher::Not(Box::new(inner(one)?)),
        Rule::Any(any) => Matcher::Always(*any),
        Rule::Header(header) => Matcher::Header(header_match(header)?),
        Rule::UrlPath(path) => url_path(path)?,
        Rule::UriTemplate(template) => uri_template(template.typed_config.as_ref())?,
        Rule::DestinationIp(range) => Matcher::DestinationIp(prefix(range)?),
        Rule::DestinationPort(number) => {
            let number = u32::from(port(*number)?);
            Matcher::DestinationPort(number..number + 1)
        }
        Rule::DestinationPortRange(range) => {
            let end = |value: i32| u32::try_from(value).unwrap_or(0);
            Matcher::DestinationPort(end(range.start)..end(range.end))
        }
        Rule::RequestedServerName(name) => Matcher::ServerName(string_match(name)?),
        Rule::Metadata(value) => metadata(value)?,
        Rule::Matcher(extension) => return Err(unsupported(&extension.name)),
        Rule::SourcedMetadata(_) => return Err(unsupported("sourced_metadata")),
    })
}

#[allow(deprecated)]
fn principal(proto: &Principal, depth: usize) -> Result<Matcher, LoadError> {
    let depth = deeper(depth)?;
    let inner = |one: &Principal| principal(one, depth);
    Ok(match proto.identifier.as_ref().ok_or_else(|| LoadError::invalid("an empty principal"))? {
        Identifier::AndIds(set) => Matcher::all(each(&set.ids, inner)?),
        Identifier::OrIds(set) => either(&set.ids, inner)?,
        Identifier::NotId(one) => Matcher::Not(Box::new(inner(one)?)),
        Identifier::Any(any) => Matcher::Always(*any),
        Identifier::Authenticated(who) => {
            Matcher::Authenticated(who.principal_name.as_ref().map(name_match).transpose()?)
        }
        // The older name is the address that the newer one calls remote.
        Identifier::SourceIp(range) | Identifier::RemoteIp(range) => Matcher::Remote(prefix(range)?),
        Identifier::DirectRemoteIp(range) => Matcher::Direct(prefix(range)?),
        Identifier::Header(header) => Matcher::Header(header_match(header)?),
        Identifier::UrlPath(path) => url_path(path)?,
        Identifier::Metadata(value) => metadata(value)?,
        Identifier::FilterState(state) => filter_state(state)?,
        Identifier::SourcedMetadata(_) => return Err(unsupported("sourced_metadata")),
        Identifier::Custom(extension) => return Err(unsupported(&extension.name)),
    })
}

fn unsupported(name: &str) -> LoadError {
    LoadError::Unsupported(format!("condition {name} of an RBAC filter"))
}

fn url_path(proto: &PathMatcher) -> Result<Matcher, LoadError> {
    match &proto.rule {
        Some(path_matcher::Rule::Path(path)) => Ok(Matcher::Path(string_match(path)?)),
        None => Err(LoadError::invalid("an empty path matcher")),
    }
}

/// `*` is a segment, `**` any rest of the path.
fn uri_template(config: Option<&Any>) -> Result<Matcher, LoadError> {
    let any = config.ok_or_else(|| LoadError::invalid("an empty path template"))?;
    let template = unpack::<UriTemplateMatchConfig>(any)?.path_template;
    let bad = || LoadError::invalid(format!("{template:?} is not a path template of segments, * and **"));
    let mut regex = String::new();
    for segment in template.strip_prefix('/').ok_or_else(bad)?.split('/') {
        regex.push('/');
        match segment {
            "*" => regex.push_str(&format!("[{SEGMENT}]+")),
            "**" => regex.push_str(&format!("[{SEGMENT}/]*")),
            text if text.contains(['*', '{', '}', '\\']) => return Err(bad()),
            text => regex.push_str(&format!(r"\Q{text}\E")),
        }
    }
    Ok(Matcher::Template(Pattern::new(&regex)?))
}

/// Names of clients: `.*/ns/NAME/.*`, which means a namespace, needs no regular expression.
fn name_match(proto: &StringMatcher) -> Result<StringMatch, LoadError> {
    if let Some(MatchPattern::SafeRegex(RegexMatcher { regex, .. })) = &proto.match_pattern {
        let inner = regex.strip_prefix(".*").and_then(|rest| rest.strip_suffix(".*"));
        let plain = |text: &&str| text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'/' | b'-' | b'_'));
        if let Some(text) = inner.filter(plain) {
            return Ok(StringMatch::Contains(text.into()));
        }
    }
    string_match(proto)
}

fn filter_state(proto: &FilterStateMatcher) -> Result<Matcher, LoadError> {
    match &proto.matcher {
        Some(filter_state_matcher::Matcher::StringMatch(text)) if proto.key == PEER_PRINCIPAL => {
            Ok(Matcher::Authenticated(Some(name_match(text)?)))
        }
        _ => Err(unsupported(&format!("filter_state {}", proto.key))),
    }
}

/// The path of a metadata matcher.
pub fn keys(proto: &MetadataMatcher) -> Result<Vec<Box<str>>, LoadError> {
    let key = |segment: &Option<Segment>| match segment {
        Some(Segment::Key(key)) => Ok(key.as_str().into()),
        None => Err(LoadError::invalid("an empty segment of a metadata path")),
    };
    proto.path.iter().map(|segment| key(&segment.segment)).collect()
}

fn metadata(proto: &MetadataMatcher) -> Result<Matcher, LoadError> {
    let claim = claim(proto)?;
    if proto.filter == TOKENS {
        return Ok(Matcher::Claim(claim));
    }
    // No other filter of this proxy leaves anything.
    Ok(Matcher::Always(claim.matches(None)))
}

/// A condition on what good tokens say.
pub fn claim(proto: &MetadataMatcher) -> Result<ClaimMatch, LoadError> {
    let value = proto.value.as_ref().ok_or_else(|| LoadError::invalid("a metadata matcher without value"))?;
    Ok(ClaimMatch { path: keys(proto)?.into(), value: value_match(value, 0)?, invert: proto.invert })
}

fn value_match(proto: &ValueMatcher, depth: usize) -> Result<ValueMatch, LoadError> {
    use value_matcher::MatchPattern as Match;
    let depth = deeper(depth)?;
    Ok(match proto.match_pattern.as_ref().ok_or_else(|| LoadError::invalid("an empty value matcher"))? {
        Match::NullMatch(_) => ValueMatch::Null,
        Match::DoubleMatch(number) => match number.match_pattern {
            Some(double_matcher::MatchPattern::Exact(exact)) => ValueMatch::Number(exact),
            _ => return Err(unsupported("double_match by range")),
        },
        Match::StringMatch(text) => ValueMatch::Text(string_match(text)?),
        Match::BoolMatch(wanted) => ValueMatch::Bool(*wanted),
        Match::PresentMatch(wanted) => ValueMatch::Present(*wanted),
        Match::ListMatch(list) => match list.match_pattern.as_ref() {
            Some(list_matcher::MatchPattern::OneOf(one)) => ValueMatch::Holds(Box::new(value_match(one, depth)?)),
            None => return Err(LoadError::invalid("an empty list matcher")),
        },
        Match::OrMatch(or) => {
            let some = or.value_matchers.iter().map(|one| value_match(one, depth));
            ValueMatch::Either(some.collect::<Result<_, _>>()?)
        }
    })
}
