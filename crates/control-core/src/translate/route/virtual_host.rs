//! Virtual hosts: one for each service, or for each host of a VirtualService that no service has.

use std::collections::BTreeSet;
use std::sync::Arc;

use lateen_api::envoy::envoy::config::route::v3 as proto;
use lateen_api::istio as api;
use lateen_mesh::Hostname;

use super::action::{self, Rule};
use super::matching::Via;
use super::select::{virtual_services, virtual_services_for};
use super::{domains, retry};
use crate::reads::ReadSet;
use crate::resource::{Config, Service};
use crate::snapshot::hosts;
use crate::translate::name::{self, ClusterName};
use crate::translate::scope::Scope;

/// The port whose routes also serve hosts that no service has.
const DEFAULT_HTTP_PORT: u16 = 80;

/// The virtual hosts of a port, or of one service on it.
pub fn virtual_hosts(
    scope: &Scope<'_>,
    port: u16,
    only: Option<&Hostname>,
    reads: &mut ReadSet,
) -> Vec<proto::VirtualHost> {
    let mut taken = BTreeSet::new();
    let mut all = Vec::new();
    let services = scope.callable_on_port(port);
    let http =
        services.into_iter().filter(|s| s.port(port).is_some_and(|p| p.protocol.is_http() || p.protocol.is_auto()));
    for service in http.filter(|s| only.is_none_or(|host| s.hostname == *host)) {
        let domains = domains::of_service(&service, port, scope);
        all.extend(build(
            service.hostname.as_str(),
            domains,
            service_routes(&service, port, scope, reads),
            port,
            &mut taken,
        ));
    }
    if only.is_none() {
        for (host, vs) in unserved(scope, port) {
            let domains = domains::of_name(host.as_str(), port, &scope.view.namespace);
            let rule = Rule { vs, port, scope, via: Via::Mesh };
            all.extend(build(host.as_str(), domains, rule.routes(reads), port, &mut taken));
        }
    }
    all
}

/// Hosts of VirtualServices that are no service of the mesh. They are served on the port of plain HTTP.
fn unserved<'a>(scope: &Scope<'a>, port: u16) -> Vec<(Hostname, &'a Config<api::VirtualService>)> {
    if port != DEFAULT_HTTP_PORT {
        return Vec::new();
    }
    let covers_service =
        |host: &Hostname| host.is_wildcard() && scope.snapshot.services.hosts().any(|h| host.covers(h));
    let mut seen = BTreeSet::new();
    let mut found: Vec<(Hostname, &Config<api::VirtualService>)> = Vec::new();
    for vs in virtual_services(scope) {
        for host in hosts(vs) {
            let known = !scope.snapshot.services.of_host(&host).is_empty();
            let in_reach = scope.includes_host(&vs.meta.namespace, &host, Some(port));
            if !known && in_reach && !covers_service(&host) && host.as_str() != "*" && seen.insert(host.clone()) {
                found.push((host, vs));
            }
        }
    }
    found
}

fn service_routes(service: &Arc<Service>, port: u16, scope: &Scope<'_>, reads: &mut ReadSet) -> Vec<proto::Route> {
    let has_rules = |spec: &api::VirtualService| !spec.http.is_empty();
    for vs in virtual_services_for(&service.hostname, scope, has_rules) {
        let routes = Rule { vs, port, scope, via: Via::Mesh }.routes(reads);
        if !routes.is_empty() {
            return routes;
        }
    }
    let cluster = ClusterName::outbound(port, "", &service.hostname);
    vec![action::default_route(&cluster, scope, reads)]
}

/// A virtual host with those of `domains` that no other has; none if there is none left.
fn build(
    host: &str,
    domains: Vec<String>,
    routes: Vec<proto::Route>,
    port: u16,
    taken: &mut BTreeSet<String>,
) -> Option<proto::VirtualHost> {
    let domains: Vec<String> = domains.into_iter().filter(|d| taken.insert(d.clone())).collect();
    (!domains.is_empty()).then(|| proto::VirtualHost {
        name: format!("{host}:{port}"),
        domains,
        routes,
        include_request_attempt_count: true,
        ..Default::default()
    })
}

/// What happens to requests for unknown hosts.
pub fn catch_all(scope: &Scope<'_>) -> proto::VirtualHost {
    let (name, action) = if scope.allows_any() {
        let to = proto::RouteAction {
            cluster_specifier: Some(proto::route_action::ClusterSpecifier::Cluster(name::PASSTHROUGH.into())),
            timeout: Some(lateen_api::google::protobuf::Duration::default()),
            max_stream_duration: Some(retry::unlimited()),
            ..Default::default()
        };
        ("allow_any", proto::route::Action::Route(to))
    } else {
        (
            "block_all",
            proto::route::Action::DirectResponse(proto::DirectResponseAction { status: 502, ..Default::default() }),
        )
    };
    proto::VirtualHost {
        name: name.into(),
        domains: vec!["*".into()],
        routes: vec![proto::Route {
            name: name.into(),
            r#match: Some(action::any_path()),
            action: Some(action),
            ..Default::default()
        }],
        include_request_attempt_count: true,
        ..Default::default()
    }
}
