//! Listeners: each becomes an Istio Gateway of its own.

use std::collections::BTreeMap;
use std::sync::Arc;

use lateen_api::gateway_api as api;
use lateen_api::istio;
use serde_json::{Value, json};

use super::certificate::{self, Owner, Tls};
use super::condition::{Condition, conditions};
use super::selector::Namespaces;
use super::{Cluster, MADE, Objects, Problem};
use crate::resource::{Config, Meta};

/// Something that has listeners.
pub(super) struct Holder<'a> {
    /// Gateway or ListenerSet.
    pub(super) kind: &'static str,
    pub(super) meta: &'a Meta,
    /// The Gateway itself, or that of the ListenerSet.
    pub(super) gateway: &'a Meta,
    /// TLS of that Gateway.
    pub(super) gateway_tls: Option<&'a api::GatewayTls>,
    /// Hosts of the Services in front.
    pub(super) services: &'a [String],
    /// ServiceAccount of its pods; empty if they aren't ours.
    pub(super) account: &'a str,
}

/// A listener and what is made of it.
#[derive(Clone, Debug)]
pub(super) struct Listener {
    pub(super) name: String,
    pub(super) port: u32,
    pub(super) protocol: String,
    pub(super) hostname: Option<String>,
    /// Where its routes may be.
    pub(super) namespaces: Namespaces,
    /// Kinds of its routes.
    pub(super) kinds: Vec<&'static str>,
    /// What it becomes, if it can be served.
    pub(super) made: Option<Config<istio::Gateway>>,
    /// Secrets it takes.
    pub(super) secrets: Vec<(String, String)>,
    /// Name that routes refer to its Istio Gateway by.
    pub(super) internal: String,
    problems: Problems,
    attached: usize,
}

#[derive(Clone, Debug, Default)]
struct Problems {
    accepted: Option<Problem>,
    programmed: Option<Problem>,
    references: Option<Problem>,
    conflict: Option<Problem>,
}

impl Listener {
    pub(super) fn new(spec: &api::Listener, holder: &Holder<'_>, objects: &Objects<'_>, cluster: &dyn Cluster) -> Self {
        let own = &holder.meta.namespace;
        let choice = spec.allowed_routes.as_ref().and_then(|allowed| allowed.namespaces.as_ref());
        let (kinds, all_known) = kinds(spec);
        let mut listener = Self {
            name: spec.name.clone(),
            port: spec.port,
            protocol: spec.protocol.clone(),
            hostname: spec.hostname.clone().filter(|host| !host.is_empty()),
            namespaces: Namespaces::of(choice, "Same", own, cluster),
            kinds,
            made: None,
            secrets: Vec::new(),
            internal: format!("{own}/{}~{MADE}~{}", holder.meta.name, spec.name),
            problems: Problems::default(),
            attached: 0,
        };
        if !all_known {
            listener.problems.references = Some(Problem::new("InvalidRouteKinds", "Invalid route kinds"));
        }
        listener.problems.accepted = unsupported(&spec.protocol);
        let tls = listener.tls(spec, holder, objects, cluster);
        let in_tls = matches!(spec.protocol.as_str(), "HTTPS" | "TLS");
        match tls {
            // A listener of TLS that says nothing about it isn't there for itself, but for ListenerSets.
            Ok(tls) if listener.problems.accepted.is_none() && (tls.is_some() || !in_tls) => {
                listener.make(holder, tls);
            }
            _ => {}
        }
        listener
    }

    fn tls(
        &mut self,
        spec: &api::Listener,
        holder: &Holder<'_>,
        objects: &Objects<'_>,
        cluster: &dyn Cluster,
    ) -> Result<Option<Tls>, ()> {
        let Some(wanted) = &spec.tls else { return Ok(None) };
        let frontend = holder.gateway_tls.and_then(|tls| tls.frontend.as_ref()).filter(|_| spec.protocol == "HTTPS");
        let validation = frontend.and_then(|all| {
            let own = all.per_port.iter().find(|own| own.port == spec.port).map(|own| &own.tls);
            own.unwrap_or(&all.default).validation.as_ref()
        });
        let owner = Owner { kind: holder.kind, namespace: &holder.meta.namespace };
        certificate::tls(wanted, validation, owner, &holder.gateway.namespace, objects, cluster).map(Some).map_err(
            |bad| {
                self.problems.references = Some(bad.references);
                self.problems.accepted.get_or_insert(bad.accepted);
                self.problems.programmed = Some(Problem::new("Invalid", "Bad TLS configuration"));
            },
        )
    }

    fn make(&mut self, holder: &Holder<'_>, tls: Option<Tls>) {
        let host = self.hostname.as_deref().unwrap_or("*");
        let hosts = self.namespaces.prefixes().into_iter().map(|namespace| format!("{namespace}/{host}")).collect();
        let tls = tls.map(|tls| {
            self.secrets = tls.secrets;
            tls.settings
        });
        let (name, namespace) = (&holder.meta.name, &holder.meta.namespace);
        let mut annotations = BTreeMap::from([
            ("internal.istio.io/gateway-semantics".to_owned(), "gateway".to_owned()),
            ("internal.istio.io/gateway-service".to_owned(), holder.services.join(",")),
            ("internal.istio.io/parents".to_owned(), format!("{}/{name}/{}.{namespace}", holder.kind, self.name)),
            ("internal.istio.io/service-account-name".to_owned(), holder.account.to_owned()),
        ]);
        if holder.kind == "ListenerSet" {
            let parent = holder.gateway.namespace.clone();
            annotations.insert("internal.istio.io/parent-namespace".to_owned(), parent);
        }
        let port = istio::DeclaredPort {
            name: "default".to_owned(),
            number: self.port,
            protocol: self.protocol.clone(),
            target_port: None,
        };
        let server = istio::Server { port, hosts, tls, ..Default::default() };
        let meta = Meta {
            namespace: namespace.clone(),
            name: format!("{name}~{MADE}~{}", self.name),
            annotations,
            created: holder.meta.created.clone(),
            ..Default::default()
        };
        let spec = Arc::new(istio::Gateway { servers: vec![server], ..Default::default() });
        self.made = Some(Config { meta, spec, allocated: Vec::new() });
    }

    /// Notes that another listener has its host already.
    pub(super) fn conflicts(&mut self, reason: &'static str) {
        let message = "Listener has a conflict with another listener attached to the same Gateway";
        self.problems.conflict = Some(Problem::new(reason, message));
        self.made = None;
        self.secrets.clear();
    }

    /// Is nothing wrong that keeps it from being served.
    pub(super) fn is_valid(&self) -> bool {
        self.problems.conflict.is_none() && self.problems.accepted.is_none() && self.problems.programmed.is_none()
    }

    /// Has it lost to another listener.
    pub(super) fn is_in_conflict(&self) -> bool {
        self.problems.conflict.is_some()
    }

    /// Counts a route.
    pub(super) fn attach(&mut self) {
        self.attached += 1;
    }

    /// Does one listener take requests that the other takes as well; the reason of the conflict.
    pub(super) fn conflict_with(&self, other: &Listener) -> Option<&'static str> {
        if self.port != other.port {
            return None;
        }
        if family(&self.protocol) != family(&other.protocol) {
            return Some("ProtocolConflict");
        }
        let same = self.protocol == other.protocol && self.hostname == other.hostname;
        same.then_some("HostnameConflict")
    }

    /// Its part of the status.
    pub(super) fn status(&self, generation: i64) -> Value {
        const FINE: &str = "No errors found";
        let problems = self.problems.clone();
        let lost = problems.conflict.clone();
        let mut all = vec![
            Condition::new("Accepted", "Accepted", FINE).but(lost.clone().or(problems.accepted)),
            Condition::negative("Conflicted", "NoConflicts", FINE).but(lost.clone()),
            Condition::new("Programmed", "Programmed", FINE).but(lost.clone().or(problems.programmed)),
        ];
        if lost.is_none() {
            all.push(Condition::new("ResolvedRefs", "ResolvedRefs", FINE).but(problems.references));
        }
        let kinds: Vec<Value> = self.kinds.iter().map(|kind| json!({"group": api::GROUP, "kind": kind})).collect();
        json!({
            "name": self.name,
            "attachedRoutes": self.attached,
            "conditions": conditions(all, generation),
            "supportedKinds": super::list_of(kinds),
        })
    }
}

/// Protocols that can share a port.
fn family(protocol: &str) -> &str {
    match protocol {
        "HTTPS" | "TLS" => "TLS",
        other => other,
    }
}

fn terminates(spec: &api::Listener) -> bool {
    spec.tls.as_ref().is_some_and(|tls| tls.mode != Some(api::CertificateMode::Passthrough))
}

/// Kinds of routes that a listener takes, and whether all that it names are among those it can take.
fn kinds(spec: &api::Listener) -> (Vec<&'static str>, bool) {
    let possible: &[&'static str] = match spec.protocol.as_str() {
        "HTTP" | "HTTPS" => &["HTTPRoute", "GRPCRoute"],
        "TLS" if terminates(spec) => &["TLSRoute", "TCPRoute"],
        "TLS" => &["TLSRoute"],
        "TCP" => &["TCPRoute"],
        _ => &[],
    };
    let named = spec.allowed_routes.as_ref().map_or(&[][..], |allowed| &allowed.kinds);
    if named.is_empty() {
        return (possible.to_vec(), true);
    }
    let is = |kind: &api::RouteKind, name: &str| {
        kind.kind == name && kind.group.as_deref().is_none_or(|group| group == api::GROUP)
    };
    let taken: Vec<_> = possible.iter().copied().filter(|name| named.iter().any(|kind| is(kind, name))).collect();
    let all_known = taken.len() == named.len();
    (taken, all_known)
}

fn unsupported(protocol: &str) -> Option<Problem> {
    const KNOWN: [&str; 4] = ["HTTP", "HTTPS", "TCP", "TLS"];
    if KNOWN.contains(&protocol) {
        return None;
    }
    let upper = protocol.to_ascii_uppercase();
    let hint = match KNOWN.contains(&upper.as_str()) {
        true => format!(". hint: \"{upper}\" (uppercase) may be supported"),
        false => String::new(),
    };
    Some(Problem::new("UnsupportedProtocol", format!("protocol \"{protocol}\" is unsupported{hint}")))
}
