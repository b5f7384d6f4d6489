//! The client's side of the protocol as a state machine.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use lateen_api::discovery::{DeltaDiscoveryRequest, DeltaDiscoveryResponse, Node, Resource, Status};

use super::handle::Wanted;
use crate::WILDCARD;

/// gRPC's code for a refused argument, as used in a NACK.
const INVALID_ARGUMENT: i32 = 3;
/// Longest text of a NACK; the server only shows it.
const MAX_ERROR_BYTES: usize = 4096;

/// Changed and removed resources of one type, from one response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Update {
    /// The type of all resources here.
    pub type_url: String,
    /// New or changed: name, version, encoded message.
    pub upserts: Vec<(String, String, Bytes)>,
    /// Names that are gone or never were.
    pub removed: Vec<String>,
}

/// A resource that could not be applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejected {
    /// Its name.
    pub name: String,
    /// Why, for the operator.
    pub reason: String,
}

/// Takes updates. The resources not returned are in use from then on; the returned ones are
/// refused, and what was held under their names before stays.
pub trait Apply {
    /// Applies the good resources of an update and names the bad ones.
    fn apply(&mut self, update: Update) -> Vec<Rejected>;
}

impl<F: FnMut(Update) -> Vec<Rejected>> Apply for F {
    fn apply(&mut self, update: Update) -> Vec<Rejected> {
        self(update)
    }
}

#[derive(Debug, Default)]
struct TypeState {
    /// Names the server was asked for on this stream.
    asked: BTreeSet<String>,
    /// Whether the first request of this stream has been sent.
    opened: bool,
    /// What was applied: name to version. Survives the stream.
    held: BTreeMap<String, String>,
}

/// One client's state across streams.
#[derive(Debug)]
pub struct Session {
    node: Node,
    node_sent: bool,
    types: BTreeMap<String, TypeState>,
    answers: VecDeque<DeltaDiscoveryRequest>,
}

impl Session {
    /// A client that presents itself as `node`.
    pub fn new(node: Node) -> Self {
        Session { node, node_sent: false, types: BTreeMap::new(), answers: VecDeque::new() }
    }

    /// A new stream begins: everything is asked for again, with the versions held.
    pub fn reconnected(&mut self) {
        self.node_sent = false;
        self.answers.clear();
        for state in self.types.values_mut() {
            state.asked.clear();
            state.opened = false;
        }
    }

    /// The next message to send: answers first, then differences to what is wanted.
    pub fn next_request(&mut self, wanted: &Wanted) -> Option<DeltaDiscoveryRequest> {
        let mut request = match self.answers.pop_front() {
            Some(answer) => answer,
            None => self.subscription_change(wanted)?,
        };
        if !std::mem::replace(&mut self.node_sent, true) {
            request.node = Some(self.node.clone());
        }
        Some(request)
    }

    fn subscription_change(&mut self, wanted: &Wanted) -> Option<DeltaDiscoveryRequest> {
        wanted.types().find_map(|type_url| {
            let names = wanted.names(type_url)?;
            if let Some(state) = self.types.get_mut(type_url) {
                return state.change(type_url, names);
            }
            let mut state = TypeState::default();
            let request = state.change(type_url, names);
            self.types.insert(type_url.to_owned(), state);
            request
        })
    }

    /// Takes a response: applies it and queues the answer.
    pub fn on_response(&mut self, response: DeltaDiscoveryResponse, handler: &mut impl Apply) {
        let DeltaDiscoveryResponse { resources, type_url, removed_resources, nonce, .. } = response;
        let mut rejected = Vec::new();
        let mut upserts = Vec::with_capacity(resources.len());
        for resource in resources {
            match payload(resource, &type_url) {
                Ok(Some(upsert)) => upserts.push(upsert),
                Ok(None) => {}
                Err(bad) => rejected.push(bad),
            }
        }
        let offered: Vec<(String, String)> =
            upserts.iter().map(|(name, version, _)| (name.clone(), version.clone())).collect();
        let removed = removed_resources.clone();
        if !upserts.is_empty() || !removed.is_empty() || rejected.is_empty() {
            rejected.extend(handler.apply(Update { type_url: type_url.clone(), upserts, removed }));
        }
        let state = self.types.entry(type_url.clone()).or_default();
        let bad: BTreeSet<&str> = rejected.iter().map(|bad| bad.name.as_str()).collect();
        for (name, version) in offered.into_iter().filter(|(name, _)| !bad.contains(name.as_str())) {
            state.held.insert(name, version);
        }
        for name in &removed_resources {
            state.held.remove(name);
        }
        self.answers.push_back(answer(type_url, nonce, &rejected));
    }

    /// Names and versions in use, for status pages.
    pub fn held(&self, type_url: &str) -> impl Iterator<Item = (&str, &str)> {
        let held = self.types.get(type_url).map(|state| &state.held);
        held.into_iter().flatten().map(|(name, version)| (name.as_str(), version.as_str()))
    }
}

impl TypeState {
    fn change(&mut self, type_url: &str, names: &BTreeSet<String>) -> Option<DeltaDiscoveryRequest> {
        let subscribe: Vec<String> = names.difference(&self.asked).cloned().collect();
        let unsubscribe: Vec<String> = self.asked.difference(names).cloned().collect();
        if subscribe.is_empty() && unsubscribe.is_empty() {
            return None;
        }
        self.asked.clone_from(names);
        if !names.contains(WILDCARD) {
            self.held.retain(|name, _| names.contains(name));
        }
        let first = !std::mem::replace(&mut self.opened, true);
        Some(DeltaDiscoveryRequest {
            type_url: type_url.to_owned(),
            initial_resource_versions: if first { self.held_versions() } else { Default::default() },
            resource_names_subscribe: subscribe,
            resource_names_unsubscribe: unsubscribe,
            ..Default::default()
        })
    }

    fn held_versions<M: FromIterator<(String, String)>>(&self) -> M {
        self.held.iter().map(|(name, version)| (name.clone(), version.clone())).collect()
    }
}

/// The name, version and body of a resource; `None` for one that only extends its life.
fn payload(resource: Resource, type_url: &str) -> Result<Option<(String, String, Bytes)>, Rejected> {
    let Some(any) = resource.resource else {
        return Ok(None);
    };
    if any.type_url != type_url {
        let reason = format!("is of type {}, in a response of type {type_url}", any.type_url);
        return Err(Rejected { name: resource.name, reason });
    }
    // A copy: what was received is a slice of a buffer that may have held megabytes of other resources, and would keep all of it.
    Ok(Some((resource.name, resource.version, Bytes::copy_from_slice(&any.value))))
}

fn answer(type_url: String, nonce: String, rejected: &[Rejected]) -> DeltaDiscoveryRequest {
    let error_detail = (!rejected.is_empty()).then(|| Status {
        code: INVALID_ARGUMENT,
        message: reasons(rejected),
        ..Default::default()
    });
    DeltaDiscoveryRequest { type_url, response_nonce: nonce, error_detail, ..Default::default() }
}

fn reasons(rejected: &[Rejected]) -> String {
    let mut text = String::new();
    for (index, Rejected { name, reason }) in rejected.iter().enumerate() {
        let line = format!("{name}: {reason}");
        if text.len() + line.len() > MAX_ERROR_BYTES && index > 0 {
            text.push_str(&format!("; and {} more", rejected.len() - index));
            break;
        }
        if index > 0 {
            text.push_str("; ");
        }
        text.push_str(&line);
    }
    text
}

#[cfg(test)]
mod tests {
    use lateen_api::discovery::Any;

    use super::*;

    #[test]
    fn a_resource_keeps_no_more_memory_than_its_own() {
        let received = Bytes::from(vec![7; 1 << 20]);
        let any = Any { type_url: "t".into(), value: received.slice(10..20) };
        let resource = Resource { name: "r".into(), version: "1".into(), resource: Some(any), ..Default::default() };
        let (_, _, bytes) = payload(resource, "t").unwrap().unwrap();
        assert_eq!(bytes, received.slice(10..20));
        assert!(received.is_unique(), "the resource holds what it was received in");
    }
}
