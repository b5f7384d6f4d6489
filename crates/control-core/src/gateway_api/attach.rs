//! What routes attach to: listeners, Services and ServiceEntries.

use std::collections::BTreeMap;

use lateen_api::gateway_api as api;
use lateen_mesh::Hostname;

use super::gateway::Gateway;
use super::listener::Listener;
use super::{Cluster, Problem};

/// Kinds of routes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RouteKind {
    Http,
    Grpc,
    Tls,
    Tcp,
}

impl RouteKind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Http => "HTTPRoute",
            Self::Grpc => "GRPCRoute",
            Self::Tls => "TLSRoute",
            Self::Tcp => "TCPRoute",
        }
    }
}

/// Where a listener is: its Gateway, its ListenerSet there (if it is of one), and itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    gateway: usize,
    set: Option<usize>,
    listener: usize,
}

/// All listeners, by what routes refer to.
#[derive(Default)]
pub(super) struct Places(BTreeMap<(&'static str, String, String), Vec<Place>>);

impl Places {
    pub(super) fn new(gateways: &[Gateway<'_>]) -> Self {
        let mut all = Self::default();
        for (place, gateway) in gateways.iter().enumerate() {
            let meta = &gateway.object.meta;
            let own = (0..gateway.listeners.len()).map(|listener| Place { gateway: place, set: None, listener });
            all.0.insert(("Gateway", meta.namespace.clone(), meta.name.clone()), own.collect());
            for (index, set) in gateway.sets.iter().enumerate() {
                let meta = &set.object.meta;
                let of_set =
                    (0..set.listeners.len()).map(|listener| Place { gateway: place, set: Some(index), listener });
                all.0.insert(("ListenerSet", meta.namespace.clone(), meta.name.clone()), of_set.collect());
            }
        }
        all
    }
}

/// The listener at a place.
pub(super) fn listener<'g>(gateways: &'g [Gateway<'_>], place: Place) -> &'g Listener {
    let gateway = &gateways[place.gateway];
    match place.set {
        Some(set) => &gateway.sets[set].listeners[place.listener],
        None => &gateway.listeners[place.listener],
    }
}

/// Counts a route at a listener.
pub(super) fn count(gateways: &mut [Gateway<'_>], place: Place) {
    let gateway = &mut gateways[place.gateway];
    match place.set {
        Some(set) => gateway.sets[set].listeners[place.listener].attach(),
        None => gateway.listeners[place.listener].attach(),
    }
}

/// What a route attaches to by one of its references.
#[derive(Clone, Debug)]
pub(super) enum Target {
    /// A listener.
    Listener {
        place: Place,
        /// Name of its Istio Gateway.
        internal: String,
        hostname: Option<String>,
        /// Hosts of other listeners on the port, whose requests this one never gets.
        others: Vec<String>,
    },
    /// Callers in the mesh of these hosts.
    Mesh { hosts: Vec<String>, port: Option<u32> },
}

/// One reference of a route to one target.
#[derive(Clone, Debug)]
pub(super) struct Attachment {
    pub(super) reference: api::ParentRef,
    pub(super) target: Target,
    /// Why it does not attach.
    pub(super) denied: Option<Problem>,
}

/// What a route brings to its references.
pub(super) struct Route<'a> {
    pub(super) kind: RouteKind,
    pub(super) namespace: &'a str,
    pub(super) hostnames: &'a [String],
    pub(super) parents: &'a [api::ParentRef],
}

/// All that a route attaches to or is denied; references to what others control, or to what is still to come, are left
/// out.
pub(super) fn attachments(
    route: &Route<'_>,
    gateways: &[Gateway<'_>],
    places: &Places,
    cluster: &dyn Cluster,
) -> Vec<Attachment> {
    let mut all: Vec<Attachment> = Vec::new();
    for reference in route.parents {
        let group = reference.group.as_deref().unwrap_or(api::GROUP);
        let kind = reference.kind.as_deref().unwrap_or("Gateway");
        match (group, kind) {
            (api::GROUP, "Gateway") => all.extend(to_listeners(route, reference, "Gateway", gateways, places)),
            (api::GROUP, "ListenerSet") => all.extend(to_listeners(route, reference, "ListenerSet", gateways, places)),
            ("" | "core", "Service") => all.push(to_service(route, reference, cluster)),
            ("networking.istio.io", "ServiceEntry") => all.push(to_entry(route, reference, cluster)),
            _ => {}
        }
    }
    all.sort_by_cached_key(|attachment| std::cmp::Reverse(order(&attachment.reference, route.namespace)));
    all
}

/// The order in which references are shown, backwards.
pub(super) fn order(reference: &api::ParentRef, namespace: &str) -> String {
    format!(
        "{}/{}/{}/{}/{}.{}",
        reference.group.as_deref().unwrap_or(api::GROUP),
        reference.kind.as_deref().unwrap_or("Gateway"),
        reference.name,
        reference.section_name.as_deref().unwrap_or_default(),
        reference.port.unwrap_or(0),
        reference.namespace.as_deref().unwrap_or(namespace),
    )
}

fn to_listeners(
    route: &Route<'_>,
    reference: &api::ParentRef,
    kind: &'static str,
    gateways: &[Gateway<'_>],
    places: &Places,
) -> Vec<Attachment> {
    let namespace = reference.namespace.as_deref().unwrap_or(route.namespace);
    let found = places.0.get(&(kind, namespace.to_owned(), reference.name.clone()));
    let one = |place: &Place| {
        let found = listener(gateways, *place);
        let same_port =
            |other: &&Listener| other.port == found.port && other.protocol == found.protocol && !other.is_in_conflict();
        let others = gateways[place.gateway].all_listeners().filter(same_port);
        let others = others.filter(|other| other.hostname != found.hostname);
        let target = Target::Listener {
            place: *place,
            internal: found.internal.clone(),
            hostname: found.hostname.clone(),
            others: others.filter_map(|other| other.hostname.clone()).collect(),
        };
        Attachment { reference: reference.clone(), target, denied: denied(route, reference, found) }
    };
    found.into_iter().flatten().map(one).collect()
}

/// Why a listener does not take a route.
fn denied(route: &Route<'_>, reference: &api::ParentRef, listener: &Listener) -> Option<Problem> {
    if let Some(port) = reference.port.filter(|port| *port != listener.port) {
        return Some(Problem::new("NoMatchingParent", format!("port {port} not found")));
    }
    if let Some(section) = reference.section_name.as_ref().filter(|name| **name != listener.name) {
        return Some(Problem::new("NoMatchingParent", format!("sectionName \"{section}\" not found")));
    }
    if listener.is_in_conflict() {
        let message = format!("listener \"{}\" is in conflict with another one", listener.name);
        return Some(Problem::new("NotAllowedByListeners", message));
    }
    let hostname = listener.hostname.as_deref().unwrap_or_default();
    // Connections of TCP have no host.
    let by_host = route.kind != RouteKind::Tcp && !route.hostnames.is_empty() && !hostname.is_empty();
    let own = Hostname::new(hostname);
    if by_host && !route.hostnames.iter().any(|host| overlaps(&Hostname::new(host), &own)) {
        let message = format!("no hostnames matched parent hostname \"{hostname}\"");
        return Some(Problem::new("NoMatchingListenerHostname", message));
    }
    if !listener.namespaces.contain(route.namespace) {
        let message = format!(
            "hostnames matched parent hostname \"{hostname}\", but namespace \"{}\" is not allowed by the parent",
            route.namespace
        );
        return Some(Problem::new("NotAllowedByListeners", message));
    }
    let kind = route.kind.name();
    (!listener.kinds.contains(&kind))
        .then(|| Problem::new("NotAllowedByListeners", format!("kind {}/v1/{kind} is not allowed", api::GROUP)))
}

fn overlaps(one: &Hostname, other: &Hostname) -> bool {
    one.covers(other) || other.covers(one)
}

fn to_service(route: &Route<'_>, reference: &api::ParentRef, cluster: &dyn Cluster) -> Attachment {
    let namespace = reference.namespace.as_deref().unwrap_or(route.namespace);
    let host = format!("{}.{namespace}.svc.{}", reference.name, cluster.domain());
    let missing = !cluster.has_host(&host);
    let denied =
        missing.then(|| Problem::new("NoMatchingParent", format!("parent service: \"{}\" not found", reference.name)));
    let target = Target::Mesh { hosts: vec![host], port: reference.port };
    Attachment { reference: reference.clone(), target, denied }
}

fn to_entry(route: &Route<'_>, reference: &api::ParentRef, cluster: &dyn Cluster) -> Attachment {
    let namespace = reference.namespace.as_deref().unwrap_or(route.namespace);
    let hosts = cluster.entry_hosts(namespace, &reference.name);
    let denied = hosts
        .is_none()
        .then(|| Problem::new("NoMatchingParent", format!("parent service entry: \"{}\" not found", reference.name)));
    let target = Target::Mesh { hosts: hosts.unwrap_or_default(), port: reference.port };
    Attachment { reference: reference.clone(), target, denied }
}

impl Target {
    /// Are requests taken from callers in the mesh.
    pub(super) fn is_mesh(&self) -> bool {
        matches!(self, Self::Mesh { .. })
    }

    /// May a route with this host get requests from a listener: not those that a narrower listener on the port takes.
    pub(super) fn leaves(&self, host: &str) -> bool {
        let Self::Listener { hostname, others, .. } = self else { return true };
        let own = hostname.as_deref().unwrap_or_default();
        if !own.is_empty() && !own.starts_with('*') {
            return true;
        }
        let host = Hostname::new(host);
        if !own.is_empty() && !overlaps(&host, &Hostname::new(own)) {
            return false;
        }
        !others.iter().any(|other| other.len() >= own.len() && Hostname::new(other).covers(&host))
    }
}
