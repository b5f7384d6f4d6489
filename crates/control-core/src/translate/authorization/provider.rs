//! External authorizers of the mesh configuration, as the filters that ask them.

use std::collections::BTreeMap;

use lateen_api::envoy::envoy::config::core::v3 as core;
use lateen_api::envoy::envoy::extensions::filters::http::ext_authz::v3 as http;
use lateen_api::envoy::envoy::extensions::filters::network::ext_authz::v3 as network;
use lateen_api::envoy::envoy::r#type::matcher::v3::{ListStringMatcher, MetadataMatcher, StringMatcher};
use lateen_api::envoy::envoy::r#type::v3::HttpStatus;
use lateen_api::google::protobuf::{Any, Duration};
use lateen_mesh::Hostname;
use serde::Deserialize;

use super::{TCP_PREFIX, text};
use crate::reads::{Fact, ReadSet};
use crate::snapshot::Snapshot;
use crate::translate::ClusterName;
use crate::translate::wire;

/// How long an answer may take.
const TIMEOUT: Duration = Duration { seconds: 600, nanos: 0 };
const FORBIDDEN: u16 = 403;

/// An entry of `extensionProviders`, if it is an external authorizer.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Entry {
    name: String,
    envoy_ext_authz_http: Option<Settings>,
    envoy_ext_authz_grpc: Option<Settings>,
}

/// Settings of an external authorizer; some are for HTTP only.
#[derive(Clone, Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Settings {
    service: String,
    port: u32,
    timeout: Option<String>,
    path_prefix: String,
    fail_open: bool,
    clear_route_cache: bool,
    status_on_error: String,
    include_headers_in_check: Vec<String>,
    include_request_headers_in_check: Vec<String>,
    include_additional_headers_in_check: BTreeMap<String, String>,
    include_request_body_in_check: Option<Body>,
    headers_to_upstream_on_allow: Vec<String>,
    headers_to_downstream_on_deny: Vec<String>,
    headers_to_downstream_on_allow: Vec<String>,
}

/// How much of the body the authorizer sees.
#[derive(Clone, Copy, Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Body {
    max_request_bytes: u32,
    allow_partial_message: bool,
    pack_as_bytes: bool,
}

/// An external authorizer that can be asked.
pub struct Provider {
    settings: Settings,
    grpc: bool,
    host: String,
    cluster: String,
    status: u16,
}

/// The authorizer of this name; `None` when there is none or its settings make no sense.
pub fn find(name: &str, snapshot: &Snapshot, reads: &mut ReadSet) -> Option<Provider> {
    let entries = snapshot.mesh.raw.extension_providers.iter();
    let entry = entries.filter_map(|value| Entry::deserialize(value).ok()).find(|entry| entry.name == name)?;
    let grpc = entry.envoy_ext_authz_grpc.is_some();
    let settings = entry.envoy_ext_authz_grpc.or(entry.envoy_ext_authz_http)?;
    let status = match settings.status_on_error.as_str() {
        "" => FORBIDDEN,
        text => text.parse().ok().filter(|status| (100..=511).contains(status))?,
    };
    let port = u16::try_from(settings.port).ok().filter(|port| *port != 0)?;
    if !settings.path_prefix.is_empty() && !settings.path_prefix.starts_with('/') {
        return None;
    }
    let (namespace, host) = match settings.service.split_once('/') {
        Some((namespace, host)) => (Some(namespace), host),
        None => (None, settings.service.as_str()),
    };
    let hostname = Hostname::new(host);
    reads.read(Fact::Service(hostname.clone()));
    let mut services = snapshot.services.of_host(&hostname).iter();
    let service = services.find(|service| namespace.is_none_or(|wanted| service.namespace() == wanted))?;
    service.port(port)?;
    let cluster = ClusterName::outbound(port, "", &hostname).to_string();
    Some(Provider { grpc, host: host.to_owned(), cluster, status, settings })
}

impl Provider {
    /// The filter that asks about requests with this mark.
    pub fn for_requests(&self, marked: MetadataMatcher) -> Any {
        use http::ext_authz::Services;
        let settings = &self.settings;
        let services = if self.grpc { Services::GrpcService(self.grpc()) } else { Services::HttpService(self.http()) };
        wire::any(&http::ExtAuthz {
            transport_api_version: core::ApiVersion::V3.into(),
            failure_mode_allow: settings.fail_open,
            clear_route_cache: settings.clear_route_cache,
            with_request_body: settings.include_request_body_in_check.map(|body| http::BufferSettings {
                max_request_bytes: body.max_request_bytes,
                allow_partial_message: body.allow_partial_message,
                pack_as_bytes: body.pack_as_bytes,
            }),
            status_on_error: Some(HttpStatus { code: self.status.into() }),
            filter_enabled_metadata: Some(marked),
            allowed_headers: if self.grpc { None } else { self.shown() },
            services: Some(services),
            ..Default::default()
        })
    }

    /// The filter that asks about byte streams with this mark; an authorizer that speaks HTTP can't be asked.
    pub fn for_streams(&self, marked: MetadataMatcher) -> Option<Any> {
        let filter = network::ExtAuthz {
            stat_prefix: TCP_PREFIX.to_owned(),
            grpc_service: Some(self.grpc()),
            failure_mode_allow: self.settings.fail_open,
            transport_api_version: core::ApiVersion::V3.into(),
            filter_enabled_metadata: Some(marked),
            ..Default::default()
        };
        self.grpc.then(|| wire::any(&filter))
    }

    fn timeout(&self) -> Option<Duration> {
        wire::parse_duration(self.settings.timeout.as_deref()).or(Some(TIMEOUT))
    }

    fn grpc(&self) -> core::GrpcService {
        let target = core::grpc_service::EnvoyGrpc {
            cluster_name: self.cluster.clone(),
            authority: self.host.clone(),
            ..Default::default()
        };
        core::GrpcService {
            timeout: self.timeout(),
            target_specifier: Some(core::grpc_service::TargetSpecifier::EnvoyGrpc(target)),
            ..Default::default()
        }
    }

    fn http(&self) -> http::HttpService {
        let settings = &self.settings;
        let added = settings.include_additional_headers_in_check.iter();
        let header = |(key, value): (&String, &String)| core::HeaderValue {
            key: key.clone(),
            value: value.clone(),
            ..Default::default()
        };
        let request = http::AuthorizationRequest { headers_to_add: added.map(header).collect(), ..Default::default() };
        let response = http::AuthorizationResponse {
            allowed_upstream_headers: names(&settings.headers_to_upstream_on_allow),
            allowed_client_headers: names(&settings.headers_to_downstream_on_deny),
            allowed_client_headers_on_success: names(&settings.headers_to_downstream_on_allow),
            ..Default::default()
        };
        http::HttpService {
            path_prefix: settings.path_prefix.clone(),
            server_uri: Some(core::HttpUri {
                uri: format!("http://{}", self.host),
                timeout: self.timeout(),
                http_upstream_type: Some(core::http_uri::HttpUpstreamType::Cluster(self.cluster.clone())),
            }),
            authorization_request: (!request.headers_to_add.is_empty()).then_some(request),
            authorization_response: Some(response),
            ..Default::default()
        }
    }

    /// Headers of the request that the authorizer sees; the older setting counts when the newer is absent.
    fn shown(&self) -> Option<ListStringMatcher> {
        let newer = &self.settings.include_request_headers_in_check;
        names(if newer.is_empty() { &self.settings.include_headers_in_check } else { newer })
    }
}

/// Header names by pattern.
fn names(patterns: &[String]) -> Option<ListStringMatcher> {
    let matcher = |name: &String| StringMatcher { ignore_case: true, ..text::pattern(name) };
    (!patterns.is_empty()).then(|| ListStringMatcher { patterns: patterns.iter().map(matcher).collect() })
}
