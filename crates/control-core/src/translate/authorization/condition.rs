//! What conditions are about, and how Envoy writes that.

use lateen_api::envoy::envoy::config::core::v3::{CidrRange, TypedExtensionConfig};
use lateen_api::envoy::envoy::config::rbac::v3::permission::Rule;
use lateen_api::envoy::envoy::config::rbac::v3::principal::{Authenticated, Identifier};
use lateen_api::envoy::envoy::config::rbac::v3::{Permission, Principal};
use lateen_api::envoy::envoy::extensions::path::r#match::uri_template::v3::UriTemplateMatchConfig;
use lateen_api::envoy::envoy::r#type::matcher::v3::{
    ListMatcher, MetadataMatcher, OrMatcher, PathMatcher, StringMatcher, ValueMatcher, list_matcher,
    metadata_matcher::{PathSegment, path_segment::Segment},
    path_matcher, value_matcher,
};
use lateen_mesh::Cidr;

use super::rule::{Attribute, Place, Term};
use super::text;
use crate::translate::{authentication, wire};

/// The condition can't be written: its value or key is none, or such traffic lacks the attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unusable;

/// Attributes of what is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OfOperation {
    /// Host.
    Host,
    /// Method.
    Method,
    /// Path, without query.
    Path,
    /// Port of the destination.
    Port,
    /// Address of the destination.
    Address,
    /// Server name of TLS.
    ServerName,
    /// What a filter left: the rest of the key behind `experimental.`.
    Filter(String),
}

impl OfOperation {
    /// The attribute that a key of `when` names.
    pub fn of_key(key: &str) -> Option<Self> {
        Some(match key {
            "destination.ip" => Self::Address,
            "destination.port" => Self::Port,
            "connection.sni" => Self::ServerName,
            _ => Self::Filter(key.strip_prefix("experimental.").filter(|k| k.starts_with("envoy.filters."))?.into()),
        })
    }

    fn needs_http(&self) -> bool {
        matches!(self, Self::Host | Self::Method | Self::Path)
    }
}

impl Attribute for OfOperation {
    type Term = Permission;

    #[allow(deprecated)] // Istio writes the plain metadata matcher, which all versions of Envoy know.
    fn term(&self, value: &str, place: Place) -> Result<Permission, Unusable> {
        if place == Place::Tcp && self.needs_http() {
            return Err(Unusable);
        }
        let rule = match self {
            Self::Host => Rule::Header(text::header(":authority", value, true)),
            Self::Method => Rule::Header(text::header(":method", value, false)),
            Self::Path => path(value),
            Self::Port => Rule::DestinationPort(value.parse::<u16>().map_err(|_| Unusable)?.into()),
            Self::Address => Rule::DestinationIp(range(value)?),
            Self::ServerName => Rule::RequestedServerName(text::pattern(value)),
            Self::Filter(key) => Rule::Metadata(left_by_filter(key, value)?),
        };
        Ok(Permission { rule: Some(rule) })
    }
}

fn path(value: &str) -> Rule {
    if value.contains("{*}") || value.contains("{**}") {
        let path_template = value.replace("{**}", "**").replace("{*}", "*");
        return Rule::UriTemplate(TypedExtensionConfig {
            name: "uri-template".into(),
            typed_config: Some(wire::any(&UriTemplateMatchConfig { path_template })),
        });
    }
    Rule::UrlPath(PathMatcher { rule: Some(path_matcher::Rule::Path(text::pattern(value))) })
}

fn range(value: &str) -> Result<CidrRange, Unusable> {
    let cidr = Cidr::parse(value).map_err(|_| Unusable)?;
    Ok(CidrRange { address_prefix: cidr.address().to_string(), prefix_len: wire::number(cidr.prefix_len().into()) })
}

/// `envoy.filters.a.b[c]`: the value `c` of filter `envoy.filters.a.b`; `[v]` is a list that holds `v`.
fn left_by_filter(key: &str, value: &str) -> Result<MetadataMatcher, Unusable> {
    let (filter, entry) = key.strip_suffix(']').and_then(|key| key.split_once('[')).ok_or(Unusable)?;
    let listed = value.strip_prefix('[').and_then(|value| value.strip_suffix(']'));
    Ok(metadata(
        filter,
        [entry],
        match listed {
            Some(item) => holds(text::pattern(item)),
            None => equals(text::pattern(value)),
        },
    ))
}

/// The value at `path` that `filter` left.
pub fn metadata<'k>(filter: &str, path: impl IntoIterator<Item = &'k str>, value: ValueMatcher) -> MetadataMatcher {
    let segment = |key: &str| PathSegment { segment: Some(Segment::Key(key.to_owned())) };
    MetadataMatcher {
        filter: filter.to_owned(),
        path: path.into_iter().map(segment).collect(),
        value: Some(value),
        ..Default::default()
    }
}

/// A text that looks so.
pub fn equals(matcher: StringMatcher) -> ValueMatcher {
    ValueMatcher { match_pattern: Some(value_matcher::MatchPattern::StringMatch(matcher)) }
}

fn holds(matcher: StringMatcher) -> ValueMatcher {
    let one = list_matcher::MatchPattern::OneOf(Box::new(equals(matcher)));
    let list = ListMatcher { match_pattern: Some(one) };
    ValueMatcher { match_pattern: Some(value_matcher::MatchPattern::ListMatch(Box::new(list))) }
}

/// Attributes of who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OfSource {
    /// Identity of the client.
    Principal,
    /// Trust domain of that identity.
    TrustDomain,
    /// Namespace of that identity.
    Namespace,
    /// Service account of that identity; in this namespace, unless the value says another.
    Account(String),
    /// Address of the connection.
    Peer,
    /// Address of the client that a proxy in between tells.
    Remote,
    /// Issuer and subject of a token.
    RequestPrincipal,
    /// A claim of a token, by its path.
    Claim(Vec<String>),
    /// A header.
    Header(String),
    /// None that is known.
    Unknown,
}

impl OfSource {
    /// The attribute that a key of `when` names.
    pub fn of_key(key: &str, namespace: &str) -> Self {
        match key {
            "source.ip" => Self::Peer,
            "remote.ip" => Self::Remote,
            "source.namespace" => Self::Namespace,
            "source.principal" => Self::Principal,
            "source.trustDomain" => Self::TrustDomain,
            "source.serviceAccount" => Self::Account(namespace.to_owned()),
            "request.auth.principal" => Self::RequestPrincipal,
            "request.auth.audiences" => Self::Claim(vec!["aud".into()]),
            "request.auth.presenter" => Self::Claim(vec!["azp".into()]),
            _ => Self::of_brackets(key),
        }
    }

    fn of_brackets(key: &str) -> Self {
        let inner = |prefix: &str| key.strip_prefix(prefix)?.strip_prefix('[')?.strip_suffix(']');
        let name = inner("request.headers").filter(|name| !name.is_empty());
        let claims = inner("request.auth.claims").filter(|path| !path.is_empty());
        match (name, claims) {
            (Some(name), _) => Self::Header(name.to_owned()),
            (None, Some(path)) => Self::Claim(path.split("][").map(str::to_owned).collect()),
            (None, None) => Self::Unknown,
        }
    }

    fn needs_http(&self) -> bool {
        matches!(self, Self::RequestPrincipal | Self::Claim(_) | Self::Header(_))
    }
}

impl Attribute for OfSource {
    type Term = Principal;

    fn term(&self, value: &str, place: Place) -> Result<Principal, Unusable> {
        if place == Place::Tcp && self.needs_http() {
            return Err(Unusable);
        }
        let identifier = match self {
            Self::Principal => identity(text::prefixed("spiffe://", value)),
            Self::TrustDomain if value.contains('*') => {
                identity(text::regex(format!("spiffe://{}/.*", text::wildcards(value, "[^/]*"))))
            }
            Self::TrustDomain => identity(text::starting(format!("spiffe://{value}/"))),
            Self::Namespace => identity(text::regex(format!(".*/ns/{}/.*", text::wildcards(value, ".*")))),
            Self::Account(own) => {
                let (namespace, account) = value.split_once('/').unwrap_or((own, value));
                let [namespace, account] = [namespace, account].map(text::quoted);
                identity(text::regex(format!("spiffe://[^/]+/ns/{namespace}/sa/{account}")))
            }
            Self::Peer => Identifier::DirectRemoteIp(range(value)?),
            Self::Remote => Identifier::RemoteIp(range(value)?),
            Self::RequestPrincipal => return Ok(token_identity(value)),
            Self::Claim(path) => return Ok(claim(path.iter().map(String::as_str), holds_or_equals(value))),
            Self::Header(name) => Identifier::Header(text::header(name, value, false)),
            Self::Unknown => return Err(Unusable),
        };
        Ok(Principal { identifier: Some(identifier) })
    }
}

fn identity(name: StringMatcher) -> Identifier {
    Identifier::Authenticated(Authenticated { principal_name: Some(name) })
}

#[allow(deprecated)] // Istio writes the plain metadata matcher, which all versions of Envoy know.
fn claim<'k>(path: impl IntoIterator<Item = &'k str>, value: ValueMatcher) -> Principal {
    Principal { identifier: Some(Identifier::Metadata(claim_matcher(path, value))) }
}

/// A condition on a claim.
pub fn claim_matcher<'k>(path: impl IntoIterator<Item = &'k str>, value: ValueMatcher) -> MetadataMatcher {
    metadata(authentication::FILTER, std::iter::once(authentication::PAYLOAD).chain(path), value)
}

/// A claim may be a text or a list of texts.
fn holds_or_equals(value: &str) -> ValueMatcher {
    any_of_it(text::pattern(value))
}

/// Looks so, or is a list of which one does.
pub fn any_of_it(matcher: StringMatcher) -> ValueMatcher {
    let either = vec![holds(matcher.clone()), equals(matcher)];
    ValueMatcher { match_pattern: Some(value_matcher::MatchPattern::OrMatch(OrMatcher { value_matchers: either })) }
}

/// `issuer/subject`, of which both may hold slashes: every way to read the pattern counts.
fn token_identity(value: &str) -> Principal {
    let both = |issuer: StringMatcher, subject: StringMatcher| {
        Principal::all(vec![claim(["iss"], equals(issuer)), claim(["sub"], equals(subject))])
    };
    let splits = value.match_indices('/').map(|(at, _)| (&value[..at], &value[at + 1..]));
    let present = || text::pattern("*");
    let mut ways: Vec<Principal> =
        splits.map(|(issuer, subject)| both(text::pattern(issuer), text::pattern(subject))).collect();
    if value == "*" {
        ways.push(both(present(), present()));
    } else if value.starts_with('*') {
        ways.push(both(present(), text::pattern(value)));
    } else if value.ends_with('*') {
        ways.push(both(text::pattern(value), present()));
    } else if ways.is_empty() {
        ways.push(both(text::pattern(value), text::exact("")));
    }
    if ways.len() == 1 { ways.remove(0) } else { Principal::one_of(ways) }
}
