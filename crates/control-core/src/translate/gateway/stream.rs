//! Byte streams at gateways: TCP, TLS that ends here without HTTP in it, and TLS that is passed on.

use std::collections::BTreeSet;

use lateen_api::istio as api;

use super::merge::Server;
use super::{bound, names_gateway};
use crate::reads::{Fact, ReadSet};
use crate::resource::Config;
use crate::translate::listener::{Target, destinations};
use crate::translate::scope::Scope;

/// Where the connections of a server go, whatever their server name: as the first TCP route for it says.
pub fn plain(server: &Server<'_>, scope: &Scope<'_>, reads: &mut ReadSet) -> Option<Vec<Target>> {
    reads.read(Fact::Services);
    let gateway = server.gateway.full_name();
    for (vs, _) in bound(server, scope, reads) {
        let fits = |m: &api::L4MatchAttributes| holds(server, &gateway, m.port, &m.gateways, vs);
        let route = vs.spec.tcp.iter().find(|r| r.matches.is_empty() || r.matches.iter().any(fits));
        if let Some(route) = route {
            return Some(destinations(&route.route, vs, server.port(), scope)).filter(|t| !t.is_empty());
        }
    }
    None
}

/// Where connections go by their server name; each name only once, as the oldest route says.
pub fn by_name(
    server: &Server<'_>,
    scope: &Scope<'_>,
    taken: &mut BTreeSet<String>,
    reads: &mut ReadSet,
) -> Vec<(Vec<String>, Vec<Target>)> {
    reads.read(Fact::Services);
    let gateway = server.gateway.full_name();
    let mut all = Vec::new();
    for (vs, _) in bound(server, scope, reads) {
        for route in &vs.spec.tls {
            for m in route.matches.iter().filter(|m| holds(server, &gateway, m.port, &m.gateways, vs)) {
                let names: Vec<String> = m.sni_hosts.iter().map(|n| n.to_ascii_lowercase()).collect();
                let targets = destinations(&route.route, vs, server.port(), scope);
                if !targets.is_empty() && names.iter().all(|n| !taken.contains(n)) {
                    taken.extend(names.iter().cloned());
                    all.push((names, targets));
                }
            }
        }
    }
    all
}

fn holds(
    server: &Server<'_>,
    gateway: &str,
    port: Option<u32>,
    gateways: &[String],
    vs: &Config<api::VirtualService>,
) -> bool {
    port.is_none_or(|p| p == u32::from(server.port()))
        && (gateways.is_empty() || names_gateway(gateways, &vs.meta.namespace, gateway))
}
