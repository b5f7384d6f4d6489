//! The listener for traffic to the workload.

use std::collections::BTreeMap;

use lateen_api::envoy::envoy::config::listener::v3 as proto;
use lateen_api::google::protobuf::Duration;
use lateen_mesh::Protocol;

use super::VIRTUAL_INBOUND;
use super::chain::{self, plain_http, tcp_to, texts};
use super::inbound_ports::{InboundPort, inbound_ports};
use super::plan::{WILDCARD, further_addresses};
use crate::reads::{Fact, ReadSet};
use crate::snapshot::{MtlsMode, Snapshot, WorkloadMtls};
use crate::translate::access_log;
use crate::translate::authorization::Authorization;
use crate::translate::http::{Direction, Routes, connection_manager, traffic};
use crate::translate::name;
use crate::translate::provenance::IstioMetadata;
use crate::translate::route::inbound_routes;
use crate::translate::tls;
use crate::translate::wire::{address, duration, number};
use crate::view::ProxyView;

/// What a sidecar offers for HTTP over the mesh's own TLS.
const MESH_HTTP: [&str; 3] = ["istio-http/1.0", "istio-http/1.1", "istio-h2"];
/// What a sidecar offers for other traffic over the mesh's own TLS.
const MESH_TCP: [&str; 2] = ["istio-peer-exchange", "istio"];
/// What a sidecar offers for anything.
const MESH: [&str; 5] = ["istio", "istio-peer-exchange", "istio-http/1.0", "istio-http/1.1", "istio-h2"];

/// A way to serve connections: which ones, and as what.
struct Way {
    transport: &'static str,
    alpn: &'static [&'static str],
    http: bool,
    mtls: bool,
}

const fn way(transport: &'static str, alpn: &'static [&'static str], http: bool, mtls: bool) -> Way {
    Way { transport, alpn, http, mtls }
}

/// The ways to serve a port, by its protocol, by what it accepts, and by what plain HTTP is recognized as.
fn ways(protocol: Protocol, mode: MtlsMode, plain: &'static [&'static str]) -> Vec<Way> {
    use MtlsMode::{Disable, Permissive, Strict};
    if protocol.is_http() {
        return match mode {
            Strict => vec![way("tls", &[], true, true)],
            Permissive => vec![way("tls", &MESH, true, true), way("raw_buffer", &[], true, false)],
            Disable => vec![way("", &[], true, false)],
        };
    }
    if protocol.is_auto() {
        return match mode {
            Strict => vec![way("tls", &MESH_HTTP, true, true), way("tls", &[], false, true)],
            Permissive => vec![
                way("tls", &MESH_HTTP, true, true),
                way("tls", &MESH_TCP, false, true),
                way("raw_buffer", plain, true, false),
                way("raw_buffer", &[], false, false),
                way("tls", &[], false, false),
            ],
            Disable => vec![way("", plain, true, false), way("", &[], false, false)],
        };
    }
    match mode {
        Strict => vec![way("tls", &[], false, true)],
        Permissive => {
            vec![way("tls", &MESH, false, true), way("raw_buffer", &[], false, false), way("tls", &[], false, false)]
        }
        Disable => vec![way("", &[], false, false)],
    }
}

/// The listener that all inbound traffic comes to.
pub fn listener(view: &ProxyView, snapshot: &Snapshot, reads: &mut ReadSet) -> proto::Listener {
    reads.read(Fact::PeerAuthentications);
    let mesh = &snapshot.mesh;
    let ports = inbound_ports(view, snapshot, reads);
    let mtls = snapshot.workload_mtls(&view.namespace, &view.labels);
    let authorization = Authorization::new(view, snapshot, reads);
    let build = Build { view, snapshot, authorization };
    let mut chains = vec![build.to_itself()];
    chains.extend(build.passthrough(None, mtls.default));
    for (port, mode) in mtls.ports.iter().filter(|(port, _)| !ports.contains_key(port)) {
        chains.extend(build.passthrough(Some(*port), *mode));
    }
    for (port, inbound) in &ports {
        chains.extend(build.of_port(*port, inbound, mtls.of_port(*port)));
    }
    let timeout = mesh.protocol_detection_timeout();
    proto::Listener {
        name: VIRTUAL_INBOUND.into(),
        address: Some(address(WILDCARD, mesh.inbound_port())),
        additional_addresses: further_addresses(WILDCARD, mesh.inbound_port(), view),
        filter_chains: chains,
        listener_filters: listener_filters(&ports, &mtls),
        listener_filters_timeout: Some(if timeout.is_zero() { Duration::default() } else { duration(timeout) }),
        continue_on_listener_filters_timeout: true,
        traffic_direction: traffic(Direction::Inbound),
        access_log: access_log::unmatched(mesh),
        ..Default::default()
    }
}

/// Inspectors look only where there is something to tell apart: on other ports they would wait for a client that
/// may be waiting for the server.
fn listener_filters(ports: &BTreeMap<u16, InboundPort>, mtls: &WorkloadMtls) -> Vec<proto::ListenerFilter> {
    let known = ports.keys().chain(mtls.ports.keys().filter(|p| !ports.contains_key(p)));
    let plain: Vec<u16> = known.filter(|p| mtls.of_port(**p) == MtlsMode::Disable).copied().collect();
    let declared: Vec<u16> = ports.iter().filter(|(_, p)| !p.protocol.is_auto()).map(|(n, _)| *n).collect();
    let mut filters = vec![chain::original_dst()];
    let anywhere_tls = mtls.default != MtlsMode::Disable || mtls.ports.values().any(|m| *m != MtlsMode::Disable);
    if anywhere_tls {
        filters.push(chain::tls_inspector(&plain));
    }
    filters.push(chain::http_inspector(&declared));
    filters
}

struct Build<'a> {
    view: &'a ProxyView,
    snapshot: &'a Snapshot,
    authorization: Authorization,
}

impl Build<'_> {
    /// Connections to the listener's own port go nowhere: they would come back for ever.
    fn to_itself(&self) -> proto::FilterChain {
        proto::FilterChain {
            name: "virtualInbound-blackhole".into(),
            filter_chain_match: Some(proto::FilterChainMatch {
                destination_port: number(self.snapshot.mesh.inbound_port()),
                ..Default::default()
            }),
            filters: tcp_to(Direction::Inbound, name::BLACK_HOLE, vec![], self.view, self.snapshot),
            ..Default::default()
        }
    }

    /// Chains for ports that no service leads to.
    fn passthrough(&self, port: Option<u16>, mode: MtlsMode) -> Vec<proto::FilterChain> {
        let one = |way: Way| {
            let name = if way.http { "virtualInbound-catchall-http" } else { VIRTUAL_INBOUND };
            let filters = if way.http {
                let routes = inbound_routes(name::INBOUND_PASSTHROUGH, 0, None);
                vec![self.manager(name::INBOUND_PASSTHROUGH, Routes::Inline(Box::new(routes)))]
            } else {
                self.stream(name::INBOUND_PASSTHROUGH)
            };
            self.chain(name, port, &way, filters)
        };
        ways(Protocol::Auto, mode, plain_http(self.view)).into_iter().map(one).collect()
    }

    fn of_port(&self, port: u16, inbound: &InboundPort, mode: MtlsMode) -> Vec<proto::FilterChain> {
        let cluster = name::inbound(port);
        let service = inbound.services.first();
        let one = |way: Way| {
            let filters = if way.http {
                let host = service.map(|s| s.hostname.as_str());
                let routes = inbound_routes(&cluster, inbound.service_port, host);
                vec![self.manager(&format!("inbound_0.0.0.0_{port}"), Routes::Inline(Box::new(routes)))]
            } else {
                self.stream(&cluster)
            };
            let mut chain = self.chain(&format!("0.0.0.0_{port}"), Some(port), &way, filters);
            chain.metadata = service.and_then(|s| IstioMetadata::default().services([&**s]).build());
            chain
        };
        ways(inbound.protocol, mode, plain_http(self.view)).into_iter().map(one).collect()
    }

    fn manager(&self, prefix: &str, routes: Routes) -> proto::Filter {
        let authorization = self.authorization.http();
        connection_manager(Direction::Inbound, prefix, routes, authorization, self.view, self.snapshot)
    }

    fn stream(&self, cluster: &str) -> Vec<proto::Filter> {
        tcp_to(Direction::Inbound, cluster, self.authorization.tcp(), self.view, self.snapshot)
    }

    fn chain(&self, name: &str, port: Option<u16>, way: &Way, filters: Vec<proto::Filter>) -> proto::FilterChain {
        let alpn: &[&str] = if way.http || !self.view.lateen {
            &["h2", "http/1.1"]
        } else {
            &["istio-peer-exchange", "h2", "http/1.1"]
        };
        proto::FilterChain {
            name: name.to_owned(),
            filter_chain_match: Some(proto::FilterChainMatch {
                destination_port: port.and_then(|p| number(p.into())),
                transport_protocol: way.transport.into(),
                application_protocols: texts(way.alpn),
                ..Default::default()
            }),
            filters,
            transport_socket: way.mtls.then(|| tls::mesh_server(&self.snapshot.mesh, alpn)),
            ..Default::default()
        }
    }
}
