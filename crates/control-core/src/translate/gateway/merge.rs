//! Which servers a gateway serves, by the port it listens on.
//!
//! Servers of several Gateways share a port when all of them are plain HTTP, or when all are told apart by the server
//! name of TLS. Of two that cannot share it the older one stays.

use std::collections::{BTreeMap, BTreeSet};

use lateen_api::istio as api;
use lateen_api::istio::ServerTlsMode;
use lateen_mesh::{Protocol, labels};

use super::host::ServerHost;
use crate::reads::{Fact, ReadSet};
use crate::resource::Config;
use crate::snapshot::{ServiceTarget, Snapshot};
use crate::translate::listener::WILDCARD;
use crate::view::ProxyView;

/// Annotation of Gateways that are made from other objects: the Services whose pods serve it, in place of labels.
const SERVICES: &str = "internal.istio.io/gateway-service";

/// Annotation of Gateways that are made from ListenerSets: the namespace of the Gateway that they add to.
const PARENT_NAMESPACE: &str = "internal.istio.io/parent-namespace";
/// Annotation of Gateways that are made of the Gateway API's.
const SEMANTICS: &str = "internal.istio.io/gateway-semantics";

/// A server of a Gateway, on one port of the proxy.
#[derive(Clone, Debug)]
pub struct Server<'a> {
    /// The Gateway.
    pub gateway: &'a Config<api::Gateway>,
    /// The server as written.
    pub spec: &'a api::Server,
    /// What is spoken.
    pub protocol: Protocol,
    /// Its hosts.
    pub hosts: Vec<ServerHost>,
    /// Its route configuration; `None` if it is not HTTP.
    pub routes: Option<String>,
}

impl<'a> Server<'a> {
    fn new(gateway: &'a Config<api::Gateway>, spec: &'a api::Server, port: u16) -> Self {
        let protocol = Protocol::parse(&spec.port.protocol);
        let hosts = spec.hosts.iter().map(|h| ServerHost::parse(h, &gateway.meta.namespace)).collect();
        let mut server = Self { gateway, spec, protocol, hosts, routes: None };
        server.routes = server.route_name(port);
        server
    }

    fn route_name(&self, port: u16) -> Option<String> {
        let mut name = if self.protocol.is_http() {
            format!("http.{port}")
        } else if self.is_http() {
            let (spec, meta) = (&self.spec.port, &self.gateway.meta);
            format!("https.{}.{}.{}.{}", spec.number, spec.name, meta.name, meta.namespace)
        } else {
            return None;
        };
        if !self.spec.bind.is_empty() {
            name.push('.');
            name.push_str(&self.spec.bind);
        }
        Some(name)
    }

    /// Port of the Gateway, which is that of the Service in front.
    pub fn port(&self) -> u16 {
        u16::try_from(self.spec.port.number).unwrap_or(0)
    }

    /// How TLS is dealt with, if it is TLS.
    pub fn tls(&self) -> Option<ServerTlsMode> {
        let settings = self.spec.tls.as_ref().filter(|_| !self.protocol.is_http())?;
        Some(settings.mode.unwrap_or(ServerTlsMode::Passthrough))
    }

    /// Is TLS passed on as it is.
    pub fn passes_through(&self) -> bool {
        matches!(self.tls(), Some(ServerTlsMode::Passthrough | ServerTlsMode::AutoPassthrough))
    }

    /// Is it HTTP, in plain text or in TLS that ends here.
    pub fn is_http(&self) -> bool {
        let in_tls = self.protocol == Protocol::Https && self.tls().is_some() && !self.passes_through();
        self.protocol.is_http() || in_tls
    }

    /// Are clients of plain HTTP sent to https.
    pub fn redirects(&self) -> bool {
        self.spec.tls.as_ref().is_some_and(|tls| tls.https_redirect)
    }

    /// Does it take all requests for its hosts, also those that no route is for.
    pub fn keeps_its_hosts(&self) -> bool {
        self.gateway.meta.annotations.contains_key(SEMANTICS)
    }

    /// Its address.
    pub fn bind(&self) -> &'a str {
        if self.spec.bind.is_empty() { WILDCARD } else { &self.spec.bind }
    }

    /// Server names of its TLS; none if it takes all.
    pub fn server_names(&self) -> Vec<String> {
        let names: BTreeSet<&str> = self.hosts.iter().map(|h| h.host.as_str()).collect();
        if names.contains("*") { Vec::new() } else { names.into_iter().map(str::to_owned).collect() }
    }
}

/// A port of the proxy with the servers on it.
#[derive(Clone, Debug)]
pub struct Port<'a> {
    /// Address.
    pub bind: &'a str,
    /// Number.
    pub number: u16,
    /// What the first server speaks.
    pub protocol: Protocol,
    /// Are its servers told apart by server name.
    pub tls: bool,
    /// Its servers, oldest first.
    pub servers: Vec<Server<'a>>,
}

impl Port<'_> {
    /// Name of its listener.
    pub fn listener(&self) -> String {
        format!("{}_{}", self.bind, self.number)
    }
}

/// The ports of a gateway.
pub fn ports<'a>(view: &ProxyView, snapshot: &'a Snapshot, reads: &mut ReadSet) -> Vec<Port<'a>> {
    reads.read(Fact::Gateways);
    view.addresses.iter().for_each(|a| reads.read(Fact::Workload(*a)));
    let targets = snapshot.service_targets(&view.addresses);
    let mut merge = Merge::default();
    for gateway in snapshot.gateways.iter() {
        let Some(front) = Front::of(gateway, view, &targets) else { continue };
        for spec in &gateway.spec.servers {
            for port in front.ports(u16::try_from(spec.port.number).unwrap_or(0)) {
                merge.add(Server::new(gateway, spec, port), port);
            }
        }
    }
    merge.ports
}

/// The services in front of a proxy through which a Gateway's ports are reached.
pub enum Front<'t> {
    /// Any of them.
    Any(&'t [ServiceTarget]),
    /// Only these.
    Named(Vec<&'t ServiceTarget>),
}

impl<'t> Front<'t> {
    /// `None` if the Gateway is not for this proxy.
    pub fn of(gateway: &Config<api::Gateway>, view: &ProxyView, targets: &'t [ServiceTarget]) -> Option<Self> {
        if let Some(names) = gateway.meta.annotations.get(SERVICES) {
            let meta = &gateway.meta;
            let namespace = meta.annotations.get(PARENT_NAMESPACE).unwrap_or(&meta.namespace);
            let named = |t: &&ServiceTarget| {
                t.service.namespace() == namespace && names.split(',').any(|n| n.trim() == t.service.hostname.as_str())
            };
            let own: Vec<&ServiceTarget> = targets.iter().filter(named).collect();
            return (!own.is_empty()).then_some(Self::Named(own));
        }
        labels::contains_all(&view.labels, &gateway.spec.selector).then_some(Self::Any(targets))
    }

    /// The ports of the proxy that a port of the Gateway means. One that no service leads to is meant as it is.
    fn ports(&self, number: u16) -> Vec<u16> {
        match self {
            Self::Any(targets) => {
                let fits = |t: &&ServiceTarget| t.port.number == number && t.service.translates_gateway_ports;
                vec![targets.iter().find(fits).map_or(number, |t| t.target_port)]
            }
            Self::Named(targets) => {
                let fitting = targets.iter().filter(|t| t.port.number == number);
                fitting.map(|t| t.target_port).collect::<BTreeSet<u16>>().into_iter().collect()
            }
        }
    }
}

#[derive(Default)]
struct Merge<'a> {
    ports: Vec<Port<'a>>,
    /// Server names taken, by port and address.
    names: BTreeMap<(u16, &'a str), BTreeSet<ServerHost>>,
}

impl<'a> Merge<'a> {
    fn add(&mut self, server: Server<'a>, number: u16) {
        let tls = server.tls().is_some();
        let bind = server.bind();
        let first = self.ports.iter().find(|p| p.number == number);
        let fits =
            first.is_none_or(|first| first.tls == tls && (tls || first.bind != bind || both_http(first, &server)));
        if !fits || (tls && !self.claims(&server, number)) {
            return;
        }
        match self.ports.iter_mut().find(|p| p.number == number && p.bind == bind) {
            Some(port) => port.servers.push(server),
            None => {
                self.ports.push(Port { bind, number, protocol: server.protocol, tls, servers: vec![server] });
            }
        }
    }

    /// Takes the server names and the route configuration of a server, if no other has any of them.
    fn claims(&mut self, server: &Server<'a>, number: u16) -> bool {
        let same_routes = |s: &Server<'_>| s.routes.is_some() && s.routes == server.routes;
        if self.ports.iter().flat_map(|p| &p.servers).any(same_routes) {
            return false;
        }
        let taken = self.names.entry((number, server.bind())).or_default();
        if server.hosts.iter().any(|h| taken.contains(h)) {
            return false;
        }
        taken.extend(server.hosts.iter().cloned());
        true
    }
}

fn both_http(port: &Port<'_>, server: &Server<'_>) -> bool {
    port.protocol.is_http() && server.protocol.is_http()
}
