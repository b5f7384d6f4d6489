//! Listeners (LDS).

mod chain;
mod inbound;
mod inbound_ports;
mod outbound;
mod plan;
mod tcp_routes;

pub use chain::{proxy_protocol, tcp_filters, tls_inspector};
pub use inbound_ports::{InboundPort, inbound_ports};
pub use plan::WILDCARD;
pub use tcp_routes::{Target, destinations};

use lateen_api::envoy::envoy::config::listener::v3 as proto;

use super::gateway;
use super::scope::Scope;
use crate::reads::{Fact, ReadSet};
use crate::snapshot::Snapshot;
use crate::view::ProxyView;

/// Name of the listener that all outbound traffic comes to.
const VIRTUAL_OUTBOUND: &str = "virtualOutbound";
/// Name of the listener that all inbound traffic comes to.
const VIRTUAL_INBOUND: &str = "virtualInbound";

/// Names of all listeners of a proxy.
pub fn names(view: &ProxyView, snapshot: &Snapshot) -> (Vec<String>, ReadSet) {
    if !view.is_sidecar() {
        return gateway::listener_names(view, snapshot);
    }
    let mut reads = ReadSet::new();
    let scope = Scope::new(view, snapshot, &mut reads);
    let mut all: Vec<String> = plan::outbound(&scope, None, &mut reads).into_keys().collect();
    all.push(VIRTUAL_OUTBOUND.into());
    all.push(VIRTUAL_INBOUND.into());
    (all, reads)
}

/// Names of the route configurations that a proxy's listeners refer to.
pub fn route_names(scope: &Scope<'_>, reads: &mut ReadSet) -> Vec<String> {
    if !scope.view.is_sidecar() {
        return gateway::route_names(scope.view, scope.snapshot, reads);
    }
    plan::outbound(scope, None, reads).into_values().filter_map(|p| p.routes).collect()
}

/// Makes one listener.
pub fn listener(name: &str, view: &ProxyView, snapshot: &Snapshot, reads: &mut ReadSet) -> Option<proto::Listener> {
    if !view.is_sidecar() {
        return gateway::listener(name, view, snapshot, reads);
    }
    reads.read(Fact::Mesh);
    let scope = Scope::new(view, snapshot, reads);
    match name {
        VIRTUAL_OUTBOUND => Some(outbound::catch_all(&scope)),
        VIRTUAL_INBOUND => Some(inbound::listener(view, snapshot, reads)),
        _ => {
            let port = name.rsplit_once('_')?.1.parse().ok()?;
            let plan = plan::outbound(&scope, Some(port), reads).remove(name)?;
            Some(outbound::listener(name, &plan, &scope, reads))
        }
    }
}

/// Is a listener the same for all callers like `view`: those for the workload's own ports and addresses are not, and
/// the ports of a gateway depend on the services in front of it.
pub fn is_same_for_all(name: &str, view: &ProxyView) -> bool {
    if !view.is_sidecar() {
        return false;
    }
    let bind = name.rsplit_once('_').map_or(name, |(bind, _)| bind);
    let own = bind.parse().is_ok_and(|address| view.addresses.contains(&address));
    name != VIRTUAL_INBOUND && !own
}
