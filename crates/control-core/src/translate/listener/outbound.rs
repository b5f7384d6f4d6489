//! Listeners for traffic from the workload.

use lateen_api::envoy::envoy::config::listener::v3 as proto;
use lateen_api::google::protobuf::Duration;

use super::chain::{self, plain_http, texts};
use super::plan::{Plan, TcpChain, WILDCARD, further_addresses};
use super::{VIRTUAL_OUTBOUND, chain::tcp_to};
use crate::reads::ReadSet;
use crate::translate::access_log;
use crate::translate::http::{Direction, Routes, connection_manager, traffic};
use crate::translate::name;
use crate::translate::provenance::IstioMetadata;
use crate::translate::scope::Scope;
use crate::translate::wire::{address, duration, flag, number};

/// The listener that all outbound traffic comes to; it hands connections over to the listener of their destination
/// and keeps those that no listener is for.
pub fn catch_all(scope: &Scope<'_>) -> proto::Listener {
    let mesh = &scope.snapshot.mesh;
    let to_itself = proto::FilterChain {
        name: "virtualOutbound-blackhole".into(),
        filter_chain_match: Some(proto::FilterChainMatch {
            destination_port: number(mesh.outbound_port()),
            ..Default::default()
        }),
        filters: tcp_to(Direction::Outbound, name::BLACK_HOLE, vec![], scope.view, scope.snapshot),
        ..Default::default()
    };
    proto::Listener {
        name: VIRTUAL_OUTBOUND.into(),
        address: Some(address(WILDCARD, mesh.outbound_port())),
        additional_addresses: further_addresses(WILDCARD, mesh.outbound_port(), scope.view),
        use_original_dst: flag(true),
        filter_chains: vec![to_itself, unknown(scope, "virtualOutbound-catchall-tcp")],
        traffic_direction: traffic(Direction::Outbound),
        access_log: access_log::unmatched(mesh),
        ..Default::default()
    }
}

/// What happens to connections that no service is known for.
fn unknown(scope: &Scope<'_>, name: &str) -> proto::FilterChain {
    let cluster = if scope.allows_any() { name::PASSTHROUGH } else { name::BLACK_HOLE };
    proto::FilterChain {
        name: name.into(),
        filters: tcp_to(Direction::Outbound, cluster, vec![], scope.view, scope.snapshot),
        ..Default::default()
    }
}

/// The listener of a plan.
pub fn listener(name: &str, plan: &Plan, scope: &Scope<'_>, reads: &mut ReadSet) -> proto::Listener {
    let by_name = plan.chains.iter().any(|c| !c.sni.is_empty());
    let (for_all, limited): (Vec<&TcpChain>, Vec<&TcpChain>) = plan.chains.iter().partition(|c| c.takes_all());
    let mut chains: Vec<proto::FilterChain> = limited.into_iter().map(|c| tcp_chain(c, scope, reads)).collect();
    let mut rest = for_all.first().map(|c| tcp_chain(c, scope, reads));
    match &plan.routes {
        // Chains are chosen by one property after the other, without a way back: beside a chain for HTTP only the
        // default chain gets everything else.
        Some(routes) => chains.insert(0, http_chain(name, routes, scope)),
        None => chains.extend(rest.take()),
    }
    let takes_all = plan.routes.is_none() && !for_all.is_empty();
    let mut listener = proto::Listener {
        name: name.to_owned(),
        address: Some(address(&plan.bind, plan.port.into())),
        additional_addresses: further_addresses(&plan.bind, plan.port.into(), scope.view),
        filter_chains: chains,
        default_filter_chain: rest.or_else(|| (!takes_all).then(|| unknown(scope, "PassthroughFilterChain"))),
        bind_to_port: flag(false),
        traffic_direction: traffic(Direction::Outbound),
        metadata: IstioMetadata::default().config(Some(&plan.source)).build(),
        ..Default::default()
    };
    if plan.routes.is_some() || by_name {
        listener.listener_filters.push(chain::tls_inspector(&[]));
        wait_for_bytes(&mut listener, scope);
    }
    if plan.routes.is_some() {
        listener.listener_filters.push(chain::http_inspector(&[]));
    }
    listener
}

fn wait_for_bytes(listener: &mut proto::Listener, scope: &Scope<'_>) {
    let timeout = scope.snapshot.mesh.protocol_detection_timeout();
    listener.listener_filters_timeout = Some(if timeout.is_zero() { Duration::default() } else { duration(timeout) });
    listener.continue_on_listener_filters_timeout = true;
}

fn http_chain(name: &str, routes: &str, scope: &Scope<'_>) -> proto::FilterChain {
    let prefix = format!("outbound_{name}");
    let manager = connection_manager(
        Direction::Outbound,
        &prefix,
        Routes::Named(routes.to_owned()),
        vec![],
        scope.view,
        scope.snapshot,
    );
    proto::FilterChain {
        filter_chain_match: Some(proto::FilterChainMatch {
            transport_protocol: "raw_buffer".into(),
            application_protocols: texts(plain_http(scope.view)),
            ..Default::default()
        }),
        filters: vec![manager],
        ..Default::default()
    }
}

fn tcp_chain(chain: &TcpChain, scope: &Scope<'_>, reads: &mut ReadSet) -> proto::FilterChain {
    let limits = (!chain.sni.is_empty() || !chain.ranges.is_empty()).then(|| proto::FilterChainMatch {
        server_names: chain.sni.clone(),
        prefix_ranges: chain::prefix_ranges(&chain.ranges),
        ..Default::default()
    });
    proto::FilterChain {
        filter_chain_match: limits,
        filters: chain::tcp_filters(&chain.targets, vec![], scope, reads),
        ..Default::default()
    }
}
