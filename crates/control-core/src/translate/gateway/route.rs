//! Route configurations of gateways.

use std::collections::BTreeMap;

use lateen_api::envoy::envoy::config::route::v3 as proto;
use lateen_mesh::Hostname;

use super::bound;
use super::merge::{self, Server};
use crate::reads::{Fact, ReadSet};
use crate::snapshot::Snapshot;
use crate::translate::route::{Rule, Via};
use crate::translate::scope::Scope;
use crate::translate::wire::flag;
use crate::view::ProxyView;

/// The route configuration of a gateway's port (`http.80`) or of one of its HTTPS servers (`https.443.name.gw.ns`).
pub fn route_configuration(
    name: &str,
    view: &ProxyView,
    snapshot: &Snapshot,
    reads: &mut ReadSet,
) -> proto::RouteConfiguration {
    let ports = merge::ports(view, snapshot, reads);
    let servers: Vec<Server<'_>> =
        ports.into_iter().flat_map(|p| p.servers).filter(|s| s.routes.as_deref() == Some(name)).collect();
    let scope = Scope::new(view, snapshot, reads);
    let mut hosts = virtual_hosts(&servers, &scope, reads);
    if hosts.is_empty() {
        hosts.push(nothing(servers.first().map_or(0, Server::port)));
    }
    proto::RouteConfiguration {
        name: name.to_owned(),
        virtual_hosts: hosts,
        validate_clusters: flag(false),
        ignore_port_in_host_matching: true,
        ..Default::default()
    }
}

fn virtual_hosts(servers: &[Server<'_>], scope: &Scope<'_>, reads: &mut ReadSet) -> Vec<proto::VirtualHost> {
    reads.read(Fact::Services);
    let mut all: BTreeMap<Hostname, proto::VirtualHost> = BTreeMap::new();
    for server in servers {
        let port = server.port();
        let gateway = server.gateway.full_name();
        let host = |all: &mut BTreeMap<Hostname, proto::VirtualHost>, name: Hostname, routes: Vec<proto::Route>| {
            let host = all.entry(name).or_insert_with_key(|name| virtual_host(name, port));
            host.routes.extend(routes);
            if server.redirects() {
                host.require_tls = proto::virtual_host::TlsRequirementType::All.into();
            }
        };
        for (vs, names) in bound(server, scope, reads) {
            let routes = Rule { vs, port, scope, via: Via::Gateway(&gateway) }.routes(reads);
            names.into_iter().for_each(|name| host(&mut all, name, routes.clone()));
        }
        // Without routes of its own a host is redirected, or isn't found: no wider host may take its requests.
        if server.redirects() || server.keeps_its_hosts() {
            server.hosts.iter().for_each(|h| host(&mut all, h.host.clone(), Vec::new()));
        }
    }
    let mut hosts: Vec<proto::VirtualHost> = all.into_values().collect();
    for host in &mut hosts {
        // Of several VirtualServices for one host a route for everything comes last.
        host.routes.sort_by_key(takes_everything);
    }
    hosts
}

fn virtual_host(name: &Hostname, port: u16) -> proto::VirtualHost {
    proto::VirtualHost {
        name: format!("{name}:{port}"),
        domains: vec![name.to_string()],
        include_request_attempt_count: true,
        ..Default::default()
    }
}

/// No host is served: 404 for every request.
fn nothing(port: u16) -> proto::VirtualHost {
    proto::VirtualHost { name: format!("blackhole:{port}"), domains: vec!["*".into()], ..Default::default() }
}

fn takes_everything(route: &proto::Route) -> bool {
    use proto::route_match::PathSpecifier;
    let Some(condition) = &route.r#match else { return true };
    let any_path = match &condition.path_specifier {
        Some(PathSpecifier::Prefix(prefix)) => prefix == "/",
        Some(PathSpecifier::SafeRegex(regex)) => regex.regex == ".*",
        _ => false,
    };
    any_path && condition.headers.is_empty() && condition.query_parameters.is_empty()
}
