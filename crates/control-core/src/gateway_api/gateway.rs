//! Gateways, with the ListenerSets attached to them.

use std::collections::BTreeSet;

use lateen_api::gateway_api as api;
use serde_json::{Value, json};

use super::address::{self, Reached};
use super::certificate;
use super::class::Classes;
use super::condition::{Condition, conditions};
use super::listener::{Holder, Listener};
use super::listener_set::ListenerSet;
use super::status::Status;
use super::{Cluster, Objects, Problem};
use crate::resource::{Key, Kind, Object};

/// A Gateway that is served here.
pub(super) struct Gateway<'a> {
    pub(super) object: &'a Object<api::Gateway>,
    /// Hosts of the Services in front.
    pub(super) services: Vec<String>,
    /// What is wrong with its addresses.
    pub(super) bad_address: Option<Problem>,
    /// ServiceAccount of its pods; empty if they aren't ours.
    pub(super) account: String,
    pub(super) listeners: Vec<Listener>,
    /// Those attached to it, oldest first.
    pub(super) sets: Vec<ListenerSet<'a>>,
}

/// The Gateways of our classes, with their ListenerSets; and the statuses of ListenerSets that are attached to none.
pub(super) fn gateways<'a>(objects: &Objects<'a>, cluster: &dyn Cluster) -> (Vec<Gateway<'a>>, Vec<(Key, Status)>) {
    let classes = Classes::new(objects);
    let served = objects.gateways.iter().filter(|gateway| classes.serves(&gateway.spec));
    let mut all: Vec<Gateway<'a>> = served.map(|gateway| Gateway::new(gateway, objects, cluster)).collect();
    let refused = super::listener_set::attach(&mut all, objects, cluster);
    (all, refused)
}

impl<'a> Gateway<'a> {
    fn new(object: &'a Object<api::Gateway>, objects: &Objects<'_>, cluster: &dyn Cluster) -> Self {
        let (services, bad_address) = address::services(object, cluster.domain());
        let account = address::account_name(object);
        let mut gateway = Self { object, services, bad_address, account, listeners: Vec::new(), sets: Vec::new() };
        if gateway.is_accepted() {
            let holder = gateway.holder();
            let made = object.spec.listeners.iter().map(|spec| Listener::new(spec, &holder, objects, cluster));
            gateway.listeners = made.collect();
            settle_conflicts(&mut gateway.listeners, &[]);
        }
        gateway
    }

    fn holder(&self) -> Holder<'_> {
        Holder {
            kind: "Gateway",
            meta: &self.object.meta,
            gateway: &self.object.meta,
            gateway_tls: self.object.spec.tls.as_ref(),
            services: &self.services,
            account: &self.account,
        }
    }

    /// Is there an address that can be used.
    pub(super) fn is_accepted(&self) -> bool {
        self.bad_address.is_none() || !self.services.is_empty()
    }

    /// All its listeners, its own first.
    pub(super) fn all_listeners(&self) -> impl Iterator<Item = &Listener> {
        self.listeners.iter().chain(self.sets.iter().flat_map(|set| &set.listeners))
    }

    /// What became of its addresses, for these listeners.
    pub(super) fn reached<'l>(&self, listeners: impl Iterator<Item = &'l Listener>, cluster: &dyn Cluster) -> Reached {
        let ports: BTreeSet<u32> = listeners.map(|listener| listener.port).collect();
        Reached::find(&self.services, &ports, address::is_managed(&self.object.spec), cluster)
    }

    /// Its status.
    pub(super) fn status(&self, objects: &Objects<'_>, cluster: &dyn Cluster) -> (Key, Status) {
        let meta = &self.object.meta;
        let generation = self.object.generation;
        let reached = self.reached(self.all_listeners().filter(|l| !l.is_in_conflict()), cluster);
        let accepted = Condition::new("Accepted", "Accepted", "Resource accepted");
        let problem = self.bad_address.clone().or_else(|| self.bad_parameters());
        let mut all = vec![
            accepted.but(problem),
            Condition::new("Programmed", "Programmed", reached.message()).but(reached.problem()),
            Condition::new("ResolvedRefs", "ResolvedRefs", "All references resolved")
                .but(self.bad_client_certificate(objects, cluster)),
        ];
        if self.has_insecure_frontend() {
            let message = "Clients are let in whose certificates are not valid";
            let problem = Problem::new("ConfigurationChanged", message);
            all.push(Condition::negative("InsecureFrontendValidationMode", "", "").but(Some(problem)));
        }
        let mut status = json!({ "conditions": conditions(all, generation) });
        let addresses = reached.shown();
        if !addresses.is_empty() {
            status["addresses"] = super::list_of(addresses);
        }
        let attached = self.sets.iter().filter(|set| set.is_accepted()).count();
        if attached > 0 {
            status["attachedListenerSets"] = json!(attached);
        }
        if !self.listeners.is_empty() {
            let listeners: Vec<Value> = self.listeners.iter().map(|l| l.status(generation)).collect();
            status["listeners"] = super::list_of(listeners);
        }
        (Key::new(Kind::KubernetesGateway, &meta.namespace, &meta.name), Status::whole(status))
    }

    /// Only ConfigMaps are parameters of a deployment.
    fn bad_parameters(&self) -> Option<Problem> {
        let parameters = self.object.spec.infrastructure.as_ref()?.parameters_ref.as_ref()?;
        let fits = parameters.group.is_empty() && parameters.kind == "ConfigMap";
        (!fits).then(|| {
            let message = format!(
                "unsupported infrastructure.parametersRef: group \"{}\" kind \"{}\", only ConfigMap is supported",
                parameters.group, parameters.kind
            );
            Problem::new("InvalidParameters", message)
        })
    }

    fn has_insecure_frontend(&self) -> bool {
        let frontend = self.object.spec.tls.as_ref().and_then(|tls| tls.frontend.as_ref());
        let all = frontend.into_iter().flat_map(|f| f.per_port.iter().map(|port| &port.tls).chain([&f.default]));
        all.filter_map(|tls| tls.validation.as_ref()).any(certificate::is_insecure)
    }

    /// What is wrong with the certificate that it is to show to backends.
    fn bad_client_certificate(&self, objects: &Objects<'_>, cluster: &dyn Cluster) -> Option<Problem> {
        let reference = self.object.spec.tls.as_ref()?.backend.as_ref()?.client_certificate_ref.as_ref()?;
        let refuse = |why: String| {
            let shown = certificate::shown(reference);
            Problem::new("InvalidClientCertificateRef", format!("invalid clientCertificateRef {shown}, {why}"))
        };
        if !certificate::is_kind(reference, "Secret", "Secret") {
            return Some(refuse("only secret is allowed".to_owned()));
        }
        let own = self.object.meta.namespace.as_str();
        let namespace = reference.namespace.as_deref().unwrap_or(own);
        let to = super::grant::To { group: "", kind: "Secret", namespace, name: &reference.name };
        if !objects.grants(super::grant::From { kind: "Gateway", namespace: own }, to) {
            let name = &reference.name;
            let message = format!(
                "clientCertificateRef {name}/{namespace} not accessible to a Gateway in namespace \"{own}\" (missing \
                 a ReferenceGrant?)"
            );
            return Some(Problem::new("RefNotPermitted", message));
        }
        certificate::check_pair(namespace, &reference.name, cluster).err().map(refuse)
    }
}

/// Of listeners that take the same requests the first stays; `earlier` come before all of them.
pub(super) fn settle_conflicts(listeners: &mut [Listener], earlier: &[Listener]) {
    for index in 0..listeners.len() {
        let (before, rest) = listeners.split_at_mut(index);
        let mut standing = earlier.iter().chain(before.iter()).filter(|other| !other.is_in_conflict());
        let reason = standing.find_map(|other| rest[0].conflict_with(other));
        if let Some(reason) = reason {
            rest[0].conflicts(reason);
        }
    }
}
