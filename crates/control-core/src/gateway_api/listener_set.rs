//! ListenerSets: further listeners of a Gateway, by others than its owner.

use std::collections::BTreeMap;

use lateen_api::gateway_api as api;
use serde_json::{Value, json};

use super::condition::{Condition, conditions};
use super::gateway::{Gateway, settle_conflicts};
use super::listener::{Holder, Listener};
use super::selector::Namespaces;
use super::status::Status;
use super::{Cluster, Objects, Problem};
use crate::resource::{Key, Kind, Object};

/// A ListenerSet attached to a Gateway.
pub(super) struct ListenerSet<'a> {
    pub(super) object: &'a Object<api::ListenerSet>,
    pub(super) listeners: Vec<Listener>,
}

/// Attaches ListenerSets, oldest first; returns the statuses of those that may not attach.
pub(super) fn attach<'a>(
    gateways: &mut [Gateway<'a>],
    objects: &Objects<'a>,
    cluster: &dyn Cluster,
) -> Vec<(Key, Status)> {
    let places: BTreeMap<(String, String), usize> = gateways
        .iter()
        .enumerate()
        .map(|(place, gateway)| {
            let meta = &gateway.object.meta;
            ((meta.namespace.clone(), meta.name.clone()), place)
        })
        .collect();
    let mut refused = Vec::new();
    for set in &objects.listener_sets {
        let parent = &set.spec.parent_ref;
        let namespace = parent.namespace.clone().unwrap_or_else(|| set.meta.namespace.clone());
        // Another controller's Gateway, or one that is still to come.
        let Some(place) = places.get(&(namespace, parent.name.clone())) else { continue };
        let gateway = &mut gateways[*place];
        match refusal(set, gateway, cluster) {
            Some((accepted, programmed)) => refused.push(status(set, Some(accepted), "", Some(programmed), &[])),
            None => attach_to(gateway, set, objects, cluster),
        }
    }
    refused
}

fn attach_to<'a>(
    gateway: &mut Gateway<'a>,
    set: &'a Object<api::ListenerSet>,
    objects: &Objects<'_>,
    cluster: &dyn Cluster,
) {
    let holder = Holder {
        kind: "ListenerSet",
        meta: &set.meta,
        gateway: &gateway.object.meta,
        gateway_tls: gateway.object.spec.tls.as_ref(),
        services: &gateway.services,
        account: &gateway.account,
    };
    let made = set.spec.listeners.iter().map(|spec| Listener::new(spec, &holder, objects, cluster));
    let mut listeners: Vec<Listener> = made.collect();
    // A listener without TLS of its own leaves its port to ListenerSets.
    let earlier: Vec<Listener> = gateway.all_listeners().filter(|l| l.made.is_some()).cloned().collect();
    settle_conflicts(&mut listeners, &earlier);
    gateway.sets.push(ListenerSet { object: set, listeners });
}

/// Why a set may not attach: what Accepted and Programmed say.
fn refusal(set: &Object<api::ListenerSet>, gateway: &Gateway<'_>, cluster: &dyn Cluster) -> Option<(Problem, Problem)> {
    let spec = &gateway.object.spec;
    let choice = spec.allowed_listeners.as_ref().and_then(|allowed| allowed.namespaces.as_ref());
    let from = Namespaces::of(choice, "None", &gateway.object.meta.namespace, cluster);
    if !from.contain(&set.meta.namespace) {
        let message = "The parent Gateway does not allow this reference; check the 'spec.allowedRoutes'";
        let problem = Problem::new("NotAllowed", message);
        return Some((problem.clone(), problem));
    }
    let bad = gateway.bad_address.as_ref().filter(|_| !gateway.is_accepted())?;
    let accepted = Problem::new(bad.reason, format!("Parent not accepted: {}", bad.message));
    Some((accepted, Problem::new(bad.reason, "Failed to assign to any requested addresses")))
}

impl ListenerSet<'_> {
    /// Is any of its listeners served.
    pub(super) fn is_accepted(&self) -> bool {
        self.listeners.iter().any(Listener::is_valid)
    }

    /// Its status.
    pub(super) fn status(&self, gateway: &Gateway<'_>, cluster: &dyn Cluster) -> (Key, Status) {
        if !self.is_accepted() {
            let problem = Problem::new("ListenersNotValid", "None of the ListenerSet's listeners are valid");
            return status(self.object, Some(problem.clone()), "", Some(problem), &self.listeners);
        }
        let reached = gateway.reached(self.listeners.iter().filter(|l| l.is_valid()), cluster);
        status(self.object, None, &reached.message(), reached.problem(), &self.listeners)
    }
}

fn status(
    set: &Object<api::ListenerSet>,
    accepted: Option<Problem>,
    programmed: &str,
    unprogrammed: Option<Problem>,
    listeners: &[Listener],
) -> (Key, Status) {
    let all = [
        Condition::new("Accepted", "Accepted", "Resource accepted").but(accepted),
        Condition::new("Programmed", "Programmed", programmed).but(unprogrammed),
    ];
    let mut status = json!({ "conditions": conditions(all, set.generation) });
    if !listeners.is_empty() {
        let listeners: Vec<Value> = listeners.iter().map(|listener| listener.status(set.generation)).collect();
        status["listeners"] = super::list_of(listeners);
    }
    (Key::new(Kind::ListenerSet, &set.meta.namespace, &set.meta.name), Status::whole(status))
}
