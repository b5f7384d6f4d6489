//! What routes do.

use lateen_api::envoy::envoy::config::core::v3 as core;
use lateen_api::envoy::envoy::config::route::v3 as proto;
use lateen_api::envoy::envoy::r#type::matcher::v3::RegexMatchAndSubstitute;
use lateen_api::google::protobuf::Duration;
use lateen_api::istio as api;

use super::header::{self, operations};
use super::matching::{Via, by_segments, holds_for_caller, regex, route_match};
use super::select::destination_cluster;
use super::{fault, retry};
use crate::gateway_api::escaped;
use crate::reads::{Fact, ReadSet};
use crate::resource::{Config, Kind, ROUTE_SEMANTICS};
use crate::translate::name::ClusterName;
use crate::translate::provenance::{IstioMetadata, with_safe_retries};
use crate::translate::scope::Scope;
use crate::translate::wire::{flag, number, parse_duration, percent};

/// Every path.
pub fn any_path() -> proto::RouteMatch {
    proto::RouteMatch {
        path_specifier: Some(proto::route_match::PathSpecifier::Prefix("/".into())),
        ..Default::default()
    }
}

/// The route to a service that no VirtualService is for.
pub fn default_route(cluster: &ClusterName, scope: &Scope<'_>, reads: &mut ReadSet) -> proto::Route {
    let hash = hash_policy(cluster, scope, reads);
    let mesh_retry = scope.snapshot.mesh.raw.default_http_retry_policy.as_ref();
    let action = proto::RouteAction {
        cluster_specifier: Some(proto::route_action::ClusterSpecifier::Cluster(cluster.to_string())),
        timeout: Some(Duration::default()),
        max_stream_duration: Some(retry::unlimited()),
        retry_policy: retry::policy(None, mesh_retry, !hash.is_empty()),
        hash_policy: hash,
        ..Default::default()
    };
    proto::Route {
        name: "default".into(),
        r#match: Some(any_path()),
        decorator: Some(operation(cluster)),
        metadata: with_safe_retries(None, retry::is_safe(None, None, scope)),
        action: Some(proto::route::Action::Route(action)),
        ..Default::default()
    }
}

fn operation(cluster: &ClusterName) -> proto::Decorator {
    proto::Decorator { operation: format!("{}:{}/*", cluster.host, cluster.port), ..Default::default() }
}

/// A VirtualService as it applies to one port.
pub struct Rule<'a> {
    /// The VirtualService.
    pub vs: &'a Config<api::VirtualService>,
    /// Port of the request.
    pub port: u16,
    /// The caller.
    pub scope: &'a Scope<'a>,
    /// The way that requests come.
    pub via: Via<'a>,
}

impl Rule<'_> {
    /// The routes, in order. What follows a route for everything can never be reached and is left out.
    pub fn routes(&self, reads: &mut ReadSet) -> Vec<proto::Route> {
        let mut all = Vec::new();
        for http in &self.vs.spec.http {
            if http.matches.is_empty() {
                all.extend(self.route(http, None, reads));
                return all;
            }
            for m in &http.matches {
                if holds_for_caller(m, self.vs, self.port, self.via, self.scope) {
                    all.extend(self.route(http, Some(m), reads));
                }
            }
        }
        all
    }

    fn route(
        &self,
        http: &api::HttpRoute,
        m: Option<&api::HttpMatchRequest>,
        reads: &mut ReadSet,
    ) -> Option<proto::Route> {
        let name = match m.map_or("", |m| m.name.as_str()) {
            "" => http.name.clone(),
            own if http.name.is_empty() => own.to_owned(),
            own => format!("{}.{own}", http.name),
        };
        let request = operations(http.headers.as_ref().and_then(|h| h.request.as_ref()));
        let response = operations(http.headers.as_ref().and_then(|h| h.response.as_ref()));
        let clusters = self.clusters(http);
        let action = if let Some(redirect) = &http.redirect {
            proto::route::Action::Redirect(self.redirect(redirect, m))
        } else if let Some(direct) = &http.direct_response {
            proto::route::Action::DirectResponse(direct_response(direct))
        } else {
            proto::route::Action::Route(self.forward(http, m, &clusters, &request, reads)?)
        };
        Some(proto::Route {
            name,
            r#match: Some(m.map_or_else(any_path, |m| route_match(m, by_segments(self.vs)))),
            metadata: with_safe_retries(
                IstioMetadata::default()
                    .config_named(Kind::VirtualService, &self.vs.meta.namespace, &self.vs.meta.name)
                    .build(),
                retry::is_safe(http.retries.as_ref(), Some(&self.vs.meta.annotations), self.scope),
            ),
            decorator: clusters.first().map(|(cluster, ..)| operation(cluster)),
            typed_per_filter_config: fault::filter_settings(http),
            request_headers_to_add: request.add,
            request_headers_to_remove: request.remove,
            response_headers_to_add: response.add,
            response_headers_to_remove: response.remove,
            stat_prefix: m.map(|m| m.stat_prefix.clone()).unwrap_or_default(),
            action: Some(action),
            ..Default::default()
        })
    }

    /// The destinations with their shares; of several those without a share are left out.
    fn clusters<'r>(&self, http: &'r api::HttpRoute) -> Vec<(ClusterName, u32, &'r api::HttpRouteDestination)> {
        let single = http.route.len() == 1;
        let one = |d: &'r api::HttpRouteDestination| {
            let weight = if single { 1 } else { u32::try_from(d.weight).unwrap_or(0) };
            let cluster = destination_cluster(&d.destination, &self.vs.meta.namespace, self.port, self.scope);
            (weight > 0).then_some((cluster, weight, d))
        };
        http.route.iter().filter_map(one).collect()
    }

    fn forward(
        &self,
        http: &api::HttpRoute,
        m: Option<&api::HttpMatchRequest>,
        clusters: &[(ClusterName, u32, &api::HttpRouteDestination)],
        request: &header::Operations,
        reads: &mut ReadSet,
    ) -> Option<proto::RouteAction> {
        let mesh_retry = self.scope.snapshot.mesh.raw.default_http_retry_policy.as_ref();
        let hash = clusters.first().map(|(c, ..)| hash_policy(c, self.scope, reads)).unwrap_or_default();
        let timeout = parse_duration(http.timeout.as_deref());
        let mut action = proto::RouteAction {
            cluster_specifier: Some(specifier(clusters, request.host.as_ref())?),
            cluster_not_found_response_code: not_found(self.vs).into(),
            timeout: Some(timeout.unwrap_or_default()),
            max_stream_duration: Some(timeout.map_or_else(retry::unlimited, retry::limited)),
            retry_policy: retry::policy(http.retries.as_ref(), mesh_retry, !hash.is_empty()),
            request_mirror_policies: self.mirrors(http),
            hash_policy: hash,
            ..Default::default()
        };
        if let [(_, _, only)] = clusters {
            let own = operations(only.headers.as_ref().and_then(|h| h.request.as_ref())).host;
            set_host(&mut action, own.as_ref());
        }
        set_host(&mut action, request.host.as_ref());
        if let Some(rewrite) = &http.rewrite {
            rewrite_into(&mut action, rewrite, m, self.replaced(m, &rewrite.uri));
        }
        Some(action)
    }

    fn mirrors(&self, http: &api::HttpRoute) -> Vec<proto::route_action::RequestMirrorPolicy> {
        let whole = http.mirror_percentage.as_ref().map(|p| p.value).or(http.mirror_percent.map(f64::from));
        let single = http.mirror.iter().map(|d| (d, whole));
        let listed = http.mirrors.iter().map(|m| (&m.destination, m.percentage.as_ref().map(|p| p.value)));
        single
            .chain(listed)
            .filter(|(_, share)| share.is_none_or(|s| s > 0.0))
            .map(|(destination, share)| {
                let cluster = destination_cluster(destination, &self.vs.meta.namespace, self.port, self.scope);
                proto::route_action::RequestMirrorPolicy {
                    cluster: cluster.to_string(),
                    runtime_fraction: Some(core::RuntimeFractionalPercent {
                        default_value: Some(percent(share.unwrap_or(100.0))),
                        ..Default::default()
                    }),
                    trace_sampled: flag(false),
                    disable_shadow_host_suffix_append: true,
                    ..Default::default()
                }
            })
            .collect()
    }

    fn redirect(&self, wanted: &api::HttpRedirect, m: Option<&api::HttpMatchRequest>) -> proto::RedirectAction {
        use proto::redirect_action::{PathRewriteSpecifier, RedirectResponseCode, SchemeRewriteSpecifier};
        let code = match wanted.redirect_code {
            302 => RedirectResponseCode::Found,
            303 => RedirectResponseCode::SeeOther,
            307 => RedirectResponseCode::TemporaryRedirect,
            308 => RedirectResponseCode::PermanentRedirect,
            _ => RedirectResponseCode::MovedPermanently,
        };
        let derived = match wanted.derive_port {
            // The scheme's own port need not be named; if the request names it, so does the redirect.
            Some(api::DerivePort::FromRequestPort) if !is_own_port(&wanted.scheme, self.port) => u32::from(self.port),
            _ => 0,
        };
        let path = match &wanted.prefix_rewrite {
            Some(prefix) => Some(match self.replaced(m, prefix) {
                Some(by) => PathRewriteSpecifier::RegexRewrite(by),
                None => PathRewriteSpecifier::PrefixRewrite(prefix.clone()),
            }),
            None => (!wanted.uri.is_empty()).then(|| PathRewriteSpecifier::PathRedirect(wanted.uri.clone())),
        };
        proto::RedirectAction {
            host_redirect: wanted.authority.clone(),
            port_redirect: wanted.port.unwrap_or(derived),
            response_code: code.into(),
            scheme_rewrite_specifier: (!wanted.scheme.is_empty())
                .then(|| SchemeRewriteSpecifier::SchemeRedirect(wanted.scheme.clone())),
            path_rewrite_specifier: path,
            ..Default::default()
        }
    }

    /// How a prefix of whole segments is replaced where nothing is left of one side: by an expression, so that there is
    /// one slash between what is left.
    fn replaced(&self, m: Option<&api::HttpMatchRequest>, to: &str) -> Option<RegexMatchAndSubstitute> {
        let uri = m.and_then(|m| m.uri.as_ref());
        let prefix = uri.map_or(Some("/"), |uri| uri.prefix.as_deref()).filter(|_| by_segments(self.vs))?;
        let (prefix, to) = (prefix.trim_end_matches('/'), to.trim_end_matches('/'));
        let nothing = prefix.is_empty() || to.is_empty();
        nothing.then(|| substitute(&format!("^{}/*(.*)", escaped(prefix)), &format!(r"{to}/\1")))
    }
}

/// Is it the port of a redirect's scheme, which need not be named; without a scheme that of either.
fn is_own_port(scheme: &str, port: u16) -> bool {
    match scheme {
        "" => matches!(port, 80 | 443),
        scheme if scheme.eq_ignore_ascii_case("https") => port == 443,
        _ => port == 80,
    }
}

fn substitute(pattern: &str, substitution: &str) -> RegexMatchAndSubstitute {
    RegexMatchAndSubstitute { pattern: Some(regex(pattern)), substitution: substitution.to_owned() }
}

/// The clusters of a route. A host that the whole route sets is not changed for single destinations.
fn specifier(
    clusters: &[(ClusterName, u32, &api::HttpRouteDestination)],
    whole_host: Option<&String>,
) -> Option<proto::route_action::ClusterSpecifier> {
    let weighted = |(cluster, weight, destination): &(ClusterName, u32, &api::HttpRouteDestination)| {
        let headers = destination.headers.as_ref();
        let request = operations(headers.and_then(|h| h.request.as_ref()));
        let response = operations(headers.and_then(|h| h.response.as_ref()));
        proto::weighted_cluster::ClusterWeight {
            name: cluster.to_string(),
            weight: number(*weight),
            request_headers_to_add: request.add,
            request_headers_to_remove: request.remove,
            response_headers_to_add: response.add,
            response_headers_to_remove: response.remove,
            host_rewrite_specifier: request
                .host
                .filter(|_| whole_host.is_none())
                .map(proto::weighted_cluster::cluster_weight::HostRewriteSpecifier::HostRewriteLiteral),
            ..Default::default()
        }
    };
    match clusters {
        [] => None,
        [(only, _, destination)] if destination.headers.is_none() => {
            Some(proto::route_action::ClusterSpecifier::Cluster(only.to_string()))
        }
        many => Some(proto::route_action::ClusterSpecifier::WeightedClusters(proto::WeightedCluster {
            clusters: many.iter().map(weighted).collect(),
            ..Default::default()
        })),
    }
}

fn set_host(action: &mut proto::RouteAction, host: Option<&String>) {
    if let Some(host) = host {
        action.host_rewrite_specifier =
            Some(proto::route_action::HostRewriteSpecifier::HostRewriteLiteral(host.clone()));
    }
}

/// The answer where a destination is not there: the Gateway API has it that this is an error of the server.
fn not_found(vs: &Config<api::VirtualService>) -> proto::route_action::ClusterNotFoundResponseCode {
    use proto::route_action::ClusterNotFoundResponseCode as Code;
    let of_gateway_api = vs.meta.annotations.get(ROUTE_SEMANTICS).is_some_and(|semantics| semantics == "gateway");
    if of_gateway_api { Code::InternalServerError } else { Code::ServiceUnavailable }
}

fn rewrite_into(
    action: &mut proto::RouteAction,
    wanted: &api::HttpRewrite,
    m: Option<&api::HttpMatchRequest>,
    replaced: Option<RegexMatchAndSubstitute>,
) {
    if let Some(by) = &wanted.uri_regex_rewrite {
        action.regex_rewrite = Some(substitute(&by.pattern, &by.rewrite));
    } else if !wanted.uri.is_empty() {
        match (m.and_then(|m| m.uri.as_ref()).and_then(|u| u.regex.as_ref()), replaced) {
            // An expression has no prefix to replace: the whole path is replaced.
            (Some(pattern), _) => action.regex_rewrite = Some(substitute(pattern, &wanted.uri)),
            (None, Some(by)) => action.regex_rewrite = Some(by),
            (None, None) => action.prefix_rewrite = wanted.uri.clone(),
        }
    }
    if !wanted.authority.is_empty() {
        set_host(action, Some(&wanted.authority));
    }
}

fn direct_response(wanted: &api::HttpDirectResponse) -> proto::DirectResponseAction {
    use core::data_source::Specifier;
    let body = wanted.body.as_ref().and_then(|body| match (&body.string, &body.bytes) {
        (Some(text), _) => Some(Specifier::InlineString(text.clone())),
        (None, Some(encoded)) => {
            use base64::Engine;
            base64::engine::general_purpose::STANDARD.decode(encoded).ok().map(Specifier::InlineBytes)
        }
        (None, None) => None,
    });
    proto::DirectResponseAction {
        status: wanted.status,
        body: body.map(|specifier| core::DataSource { specifier: Some(specifier), ..Default::default() }),
        ..Default::default()
    }
}

/// What is hashed to choose an endpoint, if the destination's policy says so.
fn hash_policy(cluster: &ClusterName, scope: &Scope<'_>, reads: &mut ReadSet) -> Vec<proto::route_action::HashPolicy> {
    reads.read(Fact::DestinationRules(cluster.host.clone()));
    let Some(service) = scope.service(&cluster.host) else { return Vec::new() };
    let Some(hash) = crate::translate::cluster::consistent_hash(cluster, &service, scope) else { return Vec::new() };
    use proto::route_action::hash_policy as of;
    use proto::route_action::hash_policy::PolicySpecifier;
    let specifier = if let Some(name) = hash.http_header_name {
        PolicySpecifier::Header(of::Header { header_name: name, ..Default::default() })
    } else if let Some(cookie) = hash.http_cookie {
        PolicySpecifier::Cookie(of::Cookie {
            name: cookie.name,
            path: cookie.path,
            ttl: parse_duration(cookie.ttl.as_deref()),
            attributes: cookie
                .attributes
                .into_iter()
                .map(|a| of::CookieAttribute { name: a.name, value: a.value })
                .collect(),
        })
    } else if let Some(name) = hash.http_query_parameter_name {
        PolicySpecifier::QueryParameter(of::QueryParameter { name })
    } else if hash.use_source_ip == Some(true) {
        PolicySpecifier::ConnectionProperties(of::ConnectionProperties { source_ip: true })
    } else {
        return Vec::new();
    };
    vec![proto::route_action::HashPolicy { policy_specifier: Some(specifier), ..Default::default() }]
}
