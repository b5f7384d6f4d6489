//! RBAC filters written as JSON, read into Envoy's messages.

#![allow(deprecated)] // The plain metadata matcher is what Istio writes.

use anyhow::{Context, bail};
use lateen_api::envoy::envoy::config::core::v3::{CidrRange, TypedExtensionConfig};
use lateen_api::envoy::envoy::config::core::v3::{
    GrpcService,
    grpc_service::{EnvoyGrpc, TargetSpecifier},
};
use lateen_api::envoy::envoy::config::rbac::v3::{
    Permission, Policy, Principal, Rbac, permission, permission::Rule, principal, principal::Identifier,
};
use lateen_api::envoy::envoy::config::route::v3::{HeaderMatcher, header_matcher::HeaderMatchSpecifier};
use lateen_api::envoy::envoy::extensions::filters::http::ext_authz::v3::{ExtAuthz, ext_authz::Services};
use lateen_api::envoy::envoy::extensions::filters::{http, network};
use lateen_api::envoy::envoy::extensions::path::r#match::uri_template::v3::UriTemplateMatchConfig;
use lateen_api::envoy::envoy::r#type::matcher::v3::{
    MetadataMatcher, PathMatcher, RegexMatcher, StringMatcher, ValueMatcher,
    metadata_matcher::{PathSegment, path_segment::Segment},
    path_matcher, string_matcher, value_matcher,
};
use lateen_api::google::protobuf::{Any, UInt32Value};
use prost::{Message, Name};
use serde_json::{Map, Value};

/// The typed configuration of a filter.
pub fn typed_config(filter: &Value) -> anyhow::Result<Any> {
    let config = &filter["typedConfig"];
    let rules = rbac(&config["rules"])?;
    let shadow_rules = rbac(&config["shadowRules"])?;
    let shadow_rules_stat_prefix = text(&config["shadowRulesStatPrefix"]);
    match filter["name"].as_str() {
        Some("envoy.filters.http.rbac") => {
            Ok(any(&http::rbac::v3::Rbac { rules, shadow_rules, shadow_rules_stat_prefix, ..Default::default() }))
        }
        Some("envoy.filters.network.rbac") => {
            let stat_prefix = text(&config["statPrefix"]);
            let filter = network::rbac::v3::Rbac {
                rules,
                shadow_rules,
                shadow_rules_stat_prefix,
                stat_prefix,
                ..Default::default()
            };
            Ok(any(&filter))
        }
        Some("envoy.filters.http.ext_authz") => {
            let filter_enabled_metadata = Some(metadata(&config["filterEnabledMetadata"])?);
            // Who would be asked is of no interest: nobody is.
            let target = EnvoyGrpc { cluster_name: "authorizer".into(), ..Default::default() };
            let service =
                GrpcService { target_specifier: Some(TargetSpecifier::EnvoyGrpc(target)), ..Default::default() };
            let services = Some(Services::GrpcService(service));
            Ok(any(&ExtAuthz { filter_enabled_metadata, services, ..Default::default() }))
        }
        other => bail!("filter {other:?} is not known here"),
    }
}

fn any<M: Message + Name>(message: &M) -> Any {
    Any { type_url: M::type_url(), value: message.encode_to_vec() }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// The only field of an object, which says what it is.
fn only(value: &Value) -> anyhow::Result<(&str, &Value)> {
    let fields = value.as_object().with_context(|| format!("{value} is no object"))?;
    let (name, inner) = fields.iter().next().context("an empty object")?;
    Ok((name, inner))
}

fn all<T>(list: &Value, read: impl Fn(&Value) -> anyhow::Result<T>) -> anyhow::Result<Vec<T>> {
    list.as_array().with_context(|| format!("{list} is no list"))?.iter().map(read).collect()
}

fn rbac(value: &Value) -> anyhow::Result<Option<Rbac>> {
    let Some(fields) = value.as_object() else { return Ok(None) };
    let action = match fields.get("action").and_then(Value::as_str) {
        None | Some("ALLOW") => 0,
        Some("DENY") => 1,
        Some("LOG") => 2,
        Some(other) => bail!("action {other}"),
    };
    let none = Map::new();
    let policies = fields.get("policies").and_then(Value::as_object).unwrap_or(&none).iter().map(|(name, policy)| {
        let permissions = all(&policy["permissions"], permission)?;
        let principals = all(&policy["principals"], principal)?;
        Ok((name.clone(), Policy { permissions, principals, ..Default::default() }))
    });
    let policies = policies.collect::<anyhow::Result<_>>()?;
    Ok(Some(Rbac { action, policies, ..Default::default() }))
}

fn permission(value: &Value) -> anyhow::Result<Permission> {
    let (name, inner) = only(value)?;
    let set = || Ok::<_, anyhow::Error>(permission::Set { rules: all(&inner["rules"], permission)? });
    let rule = match name {
        "andRules" => Rule::AndRules(set()?),
        "orRules" => Rule::OrRules(set()?),
        "notRule" => Rule::NotRule(Box::new(permission(inner)?)),
        "any" => Rule::Any(true),
        "header" => Rule::Header(header(inner)?),
        "urlPath" => Rule::UrlPath(PathMatcher { rule: Some(path_matcher::Rule::Path(string(&inner["path"])?)) }),
        "uriTemplate" => Rule::UriTemplate(TypedExtensionConfig {
            name: text(&inner["name"]),
            typed_config: Some(any(&UriTemplateMatchConfig {
                path_template: text(&inner["typedConfig"]["pathTemplate"]),
            })),
        }),
        "destinationIp" => Rule::DestinationIp(range(inner)?),
        "destinationPort" => Rule::DestinationPort(number(inner)?),
        "requestedServerName" => Rule::RequestedServerName(string(inner)?),
        "metadata" => Rule::Metadata(metadata(inner)?),
        other => bail!("permission {other}"),
    };
    Ok(Permission { rule: Some(rule) })
}

fn principal(value: &Value) -> anyhow::Result<Principal> {
    let (name, inner) = only(value)?;
    let set = || Ok::<_, anyhow::Error>(principal::Set { ids: all(&inner["ids"], principal)? });
    let identifier = match name {
        "andIds" => Identifier::AndIds(set()?),
        "orIds" => Identifier::OrIds(set()?),
        "notId" => Identifier::NotId(Box::new(principal(inner)?)),
        "any" => Identifier::Any(true),
        "header" => Identifier::Header(header(inner)?),
        "authenticated" => Identifier::Authenticated(principal::Authenticated {
            principal_name: Some(string(&inner["principalName"])?),
        }),
        "directRemoteIp" => Identifier::DirectRemoteIp(range(inner)?),
        "remoteIp" => Identifier::RemoteIp(range(inner)?),
        "metadata" => Identifier::Metadata(metadata(inner)?),
        other => bail!("principal {other}"),
    };
    Ok(Principal { identifier: Some(identifier) })
}

fn number(value: &Value) -> anyhow::Result<u32> {
    Ok(value.as_u64().with_context(|| format!("{value} is no number"))?.try_into()?)
}

fn range(value: &Value) -> anyhow::Result<CidrRange> {
    let prefix_len = Some(UInt32Value { value: number(&value["prefixLen"])? });
    Ok(CidrRange { address_prefix: text(&value["addressPrefix"]), prefix_len })
}

fn string(value: &Value) -> anyhow::Result<StringMatcher> {
    let fields = value.as_object().context("a string matcher")?;
    let ignore_case = fields.get("ignoreCase").is_some_and(|flag| flag == true);
    let (name, inner) = fields.iter().find(|(name, _)| *name != "ignoreCase").context("a pattern")?;
    let pattern = match name.as_str() {
        "exact" => string_matcher::MatchPattern::Exact(text(inner)),
        "prefix" => string_matcher::MatchPattern::Prefix(text(inner)),
        "suffix" => string_matcher::MatchPattern::Suffix(text(inner)),
        "safeRegex" => {
            let regex = text(&inner["regex"]);
            string_matcher::MatchPattern::SafeRegex(RegexMatcher { regex, ..Default::default() })
        }
        other => bail!("string matcher {other}"),
    };
    Ok(StringMatcher { ignore_case, match_pattern: Some(pattern) })
}

fn header(value: &Value) -> anyhow::Result<HeaderMatcher> {
    let how = match value.get("stringMatch") {
        Some(matcher) => HeaderMatchSpecifier::StringMatch(string(matcher)?),
        None => HeaderMatchSpecifier::PresentMatch(value["presentMatch"] == true),
    };
    Ok(HeaderMatcher { name: text(&value["name"]), header_match_specifier: Some(how), ..Default::default() })
}

fn metadata(value: &Value) -> anyhow::Result<MetadataMatcher> {
    let segment = |segment: &Value| Ok(PathSegment { segment: Some(Segment::Key(text(&segment["key"]))) });
    let pattern = value_matcher::MatchPattern::StringMatch(string(&value["value"]["stringMatch"])?);
    Ok(MetadataMatcher {
        filter: text(&value["filter"]),
        path: all(&value["path"], segment)?,
        value: Some(ValueMatcher { match_pattern: Some(pattern) }),
        ..Default::default()
    })
}
