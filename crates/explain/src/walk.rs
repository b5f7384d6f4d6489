//! The walk of a call through the tables, in the order in which the proxy asks them.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use lateen_proxy_core::chain::{FilterChain, TcpProxy, TcpTarget, Terminal};
use lateen_proxy_core::head::SimpleHead;
use lateen_proxy_core::http::Hcm;
use lateen_proxy_core::jwt::{Passed, Signatures};
use lateen_proxy_core::listener::Listener;
use lateen_proxy_core::normalize::{Normalized, normalize};
use lateen_proxy_core::rbac::{self, Check, Denial, Peer, Request, Unasked, client_address};
use lateen_proxy_core::route::{Action, Target};
use lateen_proxy_core::virtual_host::RouteResult;
use lateen_proxy_core::{ConnInfo, RequestHead, Tables, Transport};

use crate::call::{Call, Protection, Speaks, Way};
use crate::outcome::{Failure, Outcome};

/// The client's port; no rule of interest looks at it.
const CLIENT_PORT: u16 = 40000;
/// Where captured connections are accepted.
const OUTBOUND: &str = "virtualOutbound";
const INBOUND: &str = "virtualInbound";

/// What tokens are judged by.
pub struct Judge<'j> {
    /// Tells whether signatures are right.
    pub signatures: &'j dyn Signatures,
    /// Seconds since 1970.
    pub now: u64,
}

/// Explains what the proxy with these tables does with `call`.
#[must_use]
pub fn explain(tables: &Tables, call: &Call, judge: &Judge<'_>) -> Outcome {
    let mut outcome = Outcome::default();
    let Some(listener) = find_listener(tables, call) else {
        return outcome.failed(Failure::NoListener);
    };
    outcome.listener = Some(listener.name.to_string());
    let Some(chain) = find_chain(&listener, call) else {
        return outcome.failed(Failure::NoFilterChain);
    };
    outcome.filter_chain = Some(chain.name.to_string());
    if let Some(failure) = handshake(&chain, call) {
        return outcome.failed(failure);
    }
    match &chain.terminal {
        Terminal::Tcp(tcp) => {
            if let Err(denial) = decide(&tcp.checks, call, None, call.client) {
                return outcome.denied(&denial);
            }
            outcome.clusters = tcp_clusters(tables, tcp);
            outcome
        }
        Terminal::Http(hcm) => request(tables, hcm, &chain, call, judge, outcome),
        Terminal::Close(_) => outcome.failed(Failure::NoFilterChain),
    }
}

fn find_listener(tables: &Tables, call: &Call) -> Option<Arc<Listener>> {
    let destination = SocketAddr::new(call.address, call.port);
    let captured =
        |name: &str| tables.listener(name).map(|listener| tables.by_destination(listener, destination).clone());
    let owner = || {
        tables
            .listeners()
            .find(|listener| {
                owns(listener.address, destination) || listener.more_addresses.iter().any(|at| owns(*at, destination))
            })
            .cloned()
    };
    match call.way {
        Way::Outbound => captured(OUTBOUND),
        Way::Inbound => captured(INBOUND),
        Way::Gateway => owner(),
        Way::Direct => owner().or_else(|| captured(OUTBOUND)),
    }
}

fn owns(address: SocketAddr, destination: SocketAddr) -> bool {
    address.port() == destination.port() && (address.ip() == destination.ip() || address.ip().is_unspecified())
}

fn find_chain(listener: &Listener, call: &Call) -> Option<Arc<FilterChain>> {
    let looks = |ports: &Option<lateen_proxy_core::listener::PortRanges>| {
        ports.as_ref().is_some_and(|except| !except.contains(call.port))
    };
    let encrypted = call.protection != Protection::Plaintext && looks(&listener.sniff.tls);
    let protocols = match call.protection {
        Protection::Plaintext => call.application_protocols(looks(&listener.sniff.http)),
        _ if encrypted => call.application_protocols(false),
        _ => vec![],
    };
    let server_name = call.server_name().filter(|_| encrypted).map(str::to_ascii_lowercase);
    let source = SocketAddr::new(call.client, CLIENT_PORT);
    let info = ConnInfo {
        destination: SocketAddr::new(call.address, call.port),
        source,
        direct_source: source,
        transport: if encrypted { Transport::Tls } else { Transport::Raw },
        server_name: server_name.as_deref(),
        application_protocols: &protocols,
    };
    listener.filter_chain(&info).cloned()
}

/// Whether the chain's TLS refuses what the client does.
fn handshake(chain: &FilterChain, call: &Call) -> Option<Failure> {
    match (&chain.tls, call.protection) {
        (Some(_), Protection::Plaintext) => Some(Failure::TlsError),
        (Some(tls), Protection::Tls) if tls.require_client_certificate => Some(Failure::MtlsError),
        // The bytes of a handshake that nobody terminates are no HTTP.
        (None, Protection::Tls | Protection::MutualTls) if matches!(chain.terminal, Terminal::Http(_)) => {
            Some(Failure::ProtocolError)
        }
        _ => None,
    }
}

fn request(
    tables: &Tables,
    hcm: &Hcm,
    chain: &FilterChain,
    call: &Call,
    judge: &Judge<'_>,
    mut outcome: Outcome,
) -> Outcome {
    if call.speaks == Speaks::Tcp {
        return outcome.failed(Failure::ProtocolError);
    }
    let Normalized::Path(path) = normalize(&call.path, hcm.normalization()) else {
        return outcome.failed(Failure::BadPath);
    };
    let mut head = SimpleHead {
        method: call.method.clone(),
        path: path.into_owned(),
        authority: call.host.clone(),
        scheme: if chain.tls.is_some() { "https" } else { "http" }.to_owned(),
        headers: call.headers.clone(),
        claims: None,
    };
    for check in &hcm.filters.checks {
        let Check::Tokens(tokens) = check else { continue };
        match tokens.authenticate(&head, judge.now, judge.signatures) {
            Ok(passed) => amend(&mut head, passed),
            Err(status) => return outcome.refused(status),
        }
    }
    let remote = client_address(hcm, &head, call.client);
    if let Err(denial) = decide(&hcm.filters.checks, call, Some(&head), remote) {
        return outcome.denied(&denial);
    }
    outcome.route_table = Some(hcm.route_table_name(tables).to_owned());
    let Some(table) = hcm.route_table(tables) else {
        return outcome.failed(Failure::NoRoute);
    };
    let (host, route) = match table.route(&head, 0) {
        RouteResult::NoHost => return outcome.failed(Failure::NoVirtualHost),
        RouteResult::NoRoute { host } => {
            outcome.virtual_host = Some(host.name.to_string());
            let failure = if host.require_tls && chain.tls.is_none() { Failure::TlsRedirect } else { Failure::NoRoute };
            return outcome.failed(failure);
        }
        RouteResult::Found { host, route } => (host, route),
    };
    outcome.virtual_host = Some(host.name.to_string());
    if host.require_tls && chain.tls.is_none() {
        return outcome.failed(Failure::TlsRedirect);
    }
    outcome.route = Some(route.name.to_string());
    outcome.source = route.provenance.as_deref().map(str::to_owned);
    if let Action::Forward(forward) = &route.action {
        outcome.clusters = route_clusters(tables, &forward.target);
    }
    outcome
}

/// What a good token changes.
fn amend(head: &mut SimpleHead, passed: Passed) {
    head.headers.retain(|(name, _)| !passed.removed.iter().any(|removed| **removed == **name));
    let text = |value: Vec<u8>| String::from_utf8_lossy(&value).into_owned();
    head.headers.extend(passed.added.into_iter().map(|(name, value)| (name.into(), text(value))));
    head.path = passed.path.unwrap_or_else(|| std::mem::take(&mut head.path));
    head.claims.get_or_insert_default().extend(passed.claims);
}

/// What authorization says.
fn decide<'c>(
    checks: &'c [Check],
    call: &Call,
    head: Option<&dyn RequestHead>,
    remote: IpAddr,
) -> Result<(), Denial<'c>> {
    let uris: Vec<String> = call.principal.iter().map(|principal| format!("spiffe://{principal}")).collect();
    let peer = (call.protection == Protection::MutualTls).then_some(Peer { uris: &uris, ..Peer::default() });
    let destination = SocketAddr::new(call.address, call.port);
    let server_name = call.server_name().unwrap_or_default();
    let request = Request { head, destination, direct: call.client, remote, server_name, peer };
    rbac::decide(checks, &request, Unasked::Denied, |_| {})
}

fn route_clusters(tables: &Tables, target: &Target) -> Vec<(String, u32)> {
    match target {
        Target::Single(cluster) => vec![(tables.cluster_name(*cluster).to_owned(), 1)],
        Target::Header(_) => vec![],
        Target::Weighted { clusters, .. } => {
            clusters.iter().map(|one| (tables.cluster_name(one.cluster).to_owned(), one.weight)).collect()
        }
    }
}

fn tcp_clusters(tables: &Tables, tcp: &TcpProxy) -> Vec<(String, u32)> {
    match &tcp.target {
        TcpTarget::Single(cluster) => vec![(tables.cluster_name(*cluster).to_owned(), 1)],
        TcpTarget::Weighted { clusters, .. } => {
            clusters.iter().map(|(cluster, weight)| (tables.cluster_name(*cluster).to_owned(), *weight)).collect()
        }
    }
}
