//! Listeners of gateways.

use std::collections::BTreeSet;
use std::time::Duration;

use lateen_api::envoy::envoy::config::listener::v3 as proto;

use super::merge::{self, Port, Server};
use super::{stream, tls};
use crate::reads::{Fact, ReadSet};
use crate::resource::{Key, Kind};
use crate::snapshot::Snapshot;
use crate::translate::access_log;
use crate::translate::authorization::Authorization;
use crate::translate::http::{Direction, Routes, connection_manager, traffic};
use crate::translate::listener::{Target, proxy_protocol, tcp_filters, tls_inspector};
use crate::translate::provenance::IstioMetadata;
use crate::translate::scope::Scope;
use crate::translate::wire::{address, duration};
use crate::view::ProxyView;

/// Longest TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(15);

/// Makes the listener of a port; `None` if nothing is served on it.
pub fn listener(name: &str, view: &ProxyView, snapshot: &Snapshot, reads: &mut ReadSet) -> Option<proto::Listener> {
    reads.read(Fact::Mesh);
    let port = merge::ports(view, snapshot, reads).into_iter().find(|p| p.listener() == name)?;
    let scope = Scope::new(view, snapshot, reads);
    let authorization = Authorization::new(view, snapshot, reads);
    let chains = Build { scope: &scope, authorization }.chains(&port, reads);
    if chains.is_empty() {
        return None;
    }
    let mut filters = Vec::new();
    if view.topology(&snapshot.mesh).proxy_protocol {
        filters.push(proxy_protocol());
    }
    if port.tls {
        filters.push(tls_inspector(&[]));
    }
    Some(proto::Listener {
        name: name.to_owned(),
        address: Some(address(port.bind, port.number.into())),
        filter_chains: chains,
        listener_filters: filters,
        traffic_direction: traffic(Direction::Gateway),
        access_log: access_log::unmatched(&snapshot.mesh),
        metadata: IstioMetadata::default().config(port.servers.first().map(source).as_ref()).build(),
        ..Default::default()
    })
}

/// The Gateway that a server is of.
fn source(server: &Server<'_>) -> Key {
    let meta = &server.gateway.meta;
    Key::new(Kind::Gateway, &meta.namespace, &meta.name)
}

struct Build<'s> {
    scope: &'s Scope<'s>,
    authorization: Authorization,
}

impl Build<'_> {
    fn chains(&self, port: &Port<'_>, reads: &mut ReadSet) -> Vec<proto::FilterChain> {
        if let (true, Some(first)) = (port.protocol.is_http(), port.servers.first()) {
            return self.http(first, proto::FilterChain::default()).into_iter().collect();
        }
        let mut taken = BTreeSet::new();
        port.servers.iter().flat_map(|server| self.of_server(server, &mut taken, reads)).collect()
    }

    fn of_server(
        &self,
        server: &Server<'_>,
        taken: &mut BTreeSet<String>,
        reads: &mut ReadSet,
    ) -> Vec<proto::FilterChain> {
        if server.passes_through() {
            let routed = stream::by_name(server, self.scope, taken, reads);
            let chain = |(names, targets): (Vec<String>, Vec<Target>)| self.tcp(server, names, &targets, reads);
            return routed.into_iter().map(chain).collect();
        }
        if server.is_http() {
            return self.http(server, self.terminated(server)).into_iter().collect();
        }
        let mut chains = Vec::new();
        if server.tls().is_some() {
            let routed = stream::by_name(server, self.scope, taken, reads);
            chains.extend(routed.into_iter().map(|(names, targets)| self.stream(server, names, &targets, reads)));
        }
        let plain = stream::plain(server, self.scope, reads);
        let names = if server.tls().is_some() { server.server_names() } else { Vec::new() };
        chains.extend(plain.map(|targets| self.stream(server, names, &targets, reads)));
        chains
    }

    /// A chain for a byte stream, out of the TLS that a server ends, if it does.
    fn stream(
        &self,
        server: &Server<'_>,
        names: Vec<String>,
        targets: &[Target],
        reads: &mut ReadSet,
    ) -> proto::FilterChain {
        let socket = tls::server(server, self.scope);
        let connect = socket.is_some().then(|| duration(HANDSHAKE));
        let chain = self.tcp(server, names, targets, reads);
        proto::FilterChain { transport_socket: socket, transport_socket_connect_timeout: connect, ..chain }
    }

    /// A chain that ends the TLS of a server.
    fn terminated(&self, server: &Server<'_>) -> proto::FilterChain {
        proto::FilterChain {
            filter_chain_match: by_name(server.server_names()),
            transport_socket: tls::server(server, self.scope),
            transport_socket_connect_timeout: Some(duration(HANDSHAKE)),
            ..Default::default()
        }
    }

    fn http(&self, server: &Server<'_>, chain: proto::FilterChain) -> Option<proto::FilterChain> {
        let routes = server.routes.clone()?;
        let authorization = self.authorization.http();
        let (view, snapshot) = (self.scope.view, self.scope.snapshot);
        let prefix = format!("outbound_{}_{}", server.bind(), server.port());
        let manager = connection_manager(
            Direction::Gateway,
            &prefix,
            Routes::Named(routes.clone()),
            authorization,
            view,
            snapshot,
        );
        let metadata = IstioMetadata::default().config(Some(&source(server))).build();
        Some(proto::FilterChain { name: routes, filters: vec![manager], metadata, ..chain })
    }

    fn tcp(
        &self,
        server: &Server<'_>,
        names: Vec<String>,
        targets: &[Target],
        reads: &mut ReadSet,
    ) -> proto::FilterChain {
        proto::FilterChain {
            name: format!("{}.{}", server.spec.port.name, server.gateway.full_name()),
            filter_chain_match: by_name(names),
            filters: tcp_filters(targets, self.authorization.tcp(), self.scope, reads),
            metadata: IstioMetadata::default().config(Some(&source(server))).build(),
            ..Default::default()
        }
    }
}

fn by_name(server_names: Vec<String>) -> Option<proto::FilterChainMatch> {
    let any = server_names.is_empty() || server_names.iter().any(|n| n == "*");
    (!any).then(|| proto::FilterChainMatch { server_names, ..Default::default() })
}
