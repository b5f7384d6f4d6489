//! What all kinds of routes have in common: attaching, and the status.

use std::collections::BTreeMap;

use lateen_api::gateway_api as api;
use serde_json::{Value, json};

use super::attach::{self, Attachment, Places, Route, Target};
use super::condition::{Condition, conditions};
use super::gateway::Gateway;
use super::status::Status;
use super::{CONTROLLER, Cluster, Problem};

/// Why a reference does not attach, the more telling reason first.
const RANKING: [&str; 3] = ["NotAllowedByListeners", "NoMatchingListenerHostname", "NoMatchingParent"];

/// Attaches a route and counts it at its listeners; returns all attachments, also those denied.
pub(super) fn attach(
    route: &Route<'_>,
    gateways: &mut [Gateway<'_>],
    places: &Places,
    cluster: &dyn Cluster,
) -> Vec<Attachment> {
    let all = attach::attachments(route, gateways, places, cluster);
    let mut counted = Vec::new();
    for attachment in all.iter().filter(|attachment| attachment.denied.is_none()) {
        if let Target::Listener { place, .. } = attachment.target
            && !counted.contains(&place)
        {
            counted.push(place);
            attach::count(gateways, place);
        }
    }
    all
}

/// What is wrong with a route itself, as it is served at listeners and to callers in the mesh.
#[derive(Debug, Default)]
pub(super) struct Problems {
    pub(super) at_listeners: Option<Problem>,
    pub(super) in_mesh: Option<Problem>,
}

/// The status of a route: one entry for each reference, whether the route attaches there to one listener or more.
pub(super) fn status(attachments: &[Attachment], namespace: &str, generation: i64, problems: &Problems) -> Status {
    let mut by_reference: BTreeMap<std::cmp::Reverse<String>, (&api::ParentRef, Vec<&Attachment>)> = BTreeMap::new();
    for attachment in attachments {
        let key = std::cmp::Reverse(attach::order(&attachment.reference, namespace));
        by_reference.entry(key).or_insert_with(|| (&attachment.reference, Vec::new())).1.push(attachment);
    }
    let parents: Vec<Value> = by_reference
        .into_values()
        .map(|(reference, all)| {
            let bound = all.iter().filter(|attachment| attachment.denied.is_none()).count();
            let message = match bound {
                0 | 1 => "Route was valid".to_owned(),
                several => format!("Route was valid, bound to {several} parents"),
            };
            let in_mesh = all.iter().any(|attachment| attachment.target.is_mesh());
            let own = if in_mesh { problems.in_mesh.clone() } else { problems.at_listeners.clone() };
            // What is wrong with the route as such keeps it from being accepted; the rest is about its references.
            let (unaccepted, unresolved) = match own {
                Some(problem) if problem.reason == "UnsupportedValue" => (Some(problem), None),
                other => (None, other),
            };
            let accepted = Condition::new("Accepted", "Accepted", message).but(denial(&all).or(unaccepted));
            let resolved = Condition::new("ResolvedRefs", "ResolvedRefs", "All references resolved").but(unresolved);
            json!({
                "controllerName": CONTROLLER,
                "parentRef": reference,
                "conditions": conditions([accepted, resolved], generation),
            })
        })
        .collect();
    Status::entries("parents", CONTROLLER, parents)
}

/// Why none of the attachments holds, if none does.
fn denial(all: &[&Attachment]) -> Option<Problem> {
    if all.iter().any(|attachment| attachment.denied.is_none()) {
        return None;
    }
    let reason = RANKING.into_iter().find(|reason| all.iter().any(|a| has(a, reason)))?;
    let mut messages: Vec<&str> = Vec::new();
    for problem in all.iter().filter(|a| has(a, reason)).filter_map(|a| a.denied.as_ref()) {
        if !messages.contains(&problem.message.as_str()) {
            messages.push(&problem.message);
        }
    }
    Some(Problem::new(reason, messages.join("; ")))
}

fn has(attachment: &Attachment, reason: &str) -> bool {
    attachment.denied.as_ref().is_some_and(|problem| problem.reason == reason)
}
