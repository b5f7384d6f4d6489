//! Who owns whom: a value, fed by the watches.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};

use lateen_apiserver::Gvr;
use serde_json::Value;

use crate::controllers::object::Meta;

/// Identifies an object for ever.
pub type Uid = String;

/// Deleted objects remembered, so that their dependents needn't wait.
const REMEMBERED: usize = 10_000;

/// What the collector knows of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Its kind.
    pub kind: Gvr,
    /// Its namespace, or "".
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its owners.
    pub owners: Vec<Uid>,
    /// How it is being deleted, if the collector has to do with that.
    pub ending: Option<Ending>,
}

/// A deletion that the collector takes part in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// After its dependents.
    Foreground,
    /// Leaving its dependents alone.
    Orphan,
}

impl Ending {
    /// The finalizer that asks for it.
    #[must_use]
    pub fn finalizer(self) -> &'static str {
        match self {
            Self::Foreground => "foregroundDeletion",
            Self::Orphan => "orphan",
        }
    }

    /// How `object` is being deleted.
    #[must_use]
    pub fn of(object: &Value) -> Option<Self> {
        let finalizers = object.items("/metadata/finalizers");
        [Self::Orphan, Self::Foreground]
            .into_iter()
            .find(|e| object.is_terminating() && finalizers.iter().any(|f| f == e.finalizer()))
    }
}

/// What is known of an owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// It is there.
    Present,
    /// It was there and was deleted.
    Gone,
    /// It was never seen: it may yet be, or have been deleted long ago.
    Unknown,
}

/// All objects and their owners.
#[derive(Debug, Default)]
pub struct Graph {
    nodes: HashMap<Uid, Node>,
    dependents: HashMap<Uid, BTreeSet<Uid>>,
    gone: HashSet<Uid>,
    gone_order: VecDeque<Uid>,
}

impl Graph {
    /// Take in an object as it is now. The result names the objects to look at.
    pub fn put(&mut self, kind: &Gvr, object: &Value) -> Vec<Uid> {
        let uid = object.uid().to_owned();
        if uid.is_empty() {
            return Vec::new();
        }
        let owners: Vec<Uid> =
            object.items("/metadata/ownerReferences").iter().map(|r| r.text("/uid").to_owned()).collect();
        let node = Node {
            kind: kind.clone(),
            namespace: object.namespace().to_owned(),
            name: object.name().to_owned(),
            owners,
            ending: Ending::of(object),
        };
        if self.nodes.get(&uid) == Some(&node) {
            return Vec::new();
        }
        self.unlink(&uid);
        for owner in &node.owners {
            self.dependents.entry(owner.clone()).or_default().insert(uid.clone());
        }
        let look = node.ending.is_some() || !node.owners.is_empty();
        self.nodes.insert(uid.clone(), node);
        if look { vec![uid] } else { Vec::new() }
    }

    /// The object is gone. The result names the objects to look at: its dependents, and the
    /// owners that wait for it.
    pub fn remove(&mut self, object: &Value) -> Vec<Uid> {
        let uid = object.uid();
        self.unlink(uid);
        let node = self.nodes.remove(uid);
        if self.gone.insert(uid.to_owned()) {
            self.gone_order.push_back(uid.to_owned());
        }
        if self.gone_order.len() > REMEMBERED
            && let Some(oldest) = self.gone_order.pop_front()
        {
            self.gone.remove(&oldest);
        }
        let owners = node.map(|n| n.owners).unwrap_or_default();
        self.dependents(uid).into_iter().chain(owners).collect()
    }

    fn unlink(&mut self, uid: &str) {
        let owners = self.nodes.get(uid).map(|n| n.owners.clone()).unwrap_or_default();
        for owner in owners {
            if let Some(set) = self.dependents.get_mut(&owner) {
                set.remove(uid);
                if set.is_empty() {
                    self.dependents.remove(&owner);
                }
            }
        }
    }

    /// What is known of an object.
    #[must_use]
    pub fn node(&self, uid: &str) -> Option<&Node> {
        self.nodes.get(uid)
    }

    /// The objects that name `uid` as an owner.
    #[must_use]
    pub fn dependents(&self, uid: &str) -> Vec<Uid> {
        self.dependents.get(uid).into_iter().flatten().cloned().collect()
    }

    /// What is known of an owner.
    #[must_use]
    pub fn owner(&self, uid: &str) -> Owner {
        if self.nodes.contains_key(uid) {
            Owner::Present
        } else if self.gone.contains(uid) {
            Owner::Gone
        } else {
            Owner::Unknown
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lateen_apiserver::gvr;
    use serde_json::json;

    fn object(uid: &str, owners: &[&str]) -> Value {
        let owners: Vec<Value> = owners.iter().map(|o| json!({"uid": o})).collect();
        json!({"metadata": {"uid": uid, "name": uid, "namespace": "n", "ownerReferences": owners}})
    }

    #[test]
    fn dependents_are_looked_at_when_their_owner_goes() {
        let mut graph = Graph::default();
        assert!(graph.put(&gvr::DEPLOYMENTS, &object("d", &[])).is_empty());
        assert_eq!(graph.put(&gvr::REPLICA_SETS, &object("r", &["d"])), ["r"]);
        assert!(graph.put(&gvr::REPLICA_SETS, &object("r", &["d"])).is_empty());
        assert_eq!(graph.owner("d"), Owner::Present);
        assert_eq!(graph.remove(&object("d", &[])), ["r"]);
        assert_eq!(graph.owner("d"), Owner::Gone);
        assert_eq!(graph.owner("x"), Owner::Unknown);
    }

    #[test]
    fn an_owner_that_waits_is_looked_at_when_its_dependent_goes() {
        let mut graph = Graph::default();
        let mut owner = object("d", &[]);
        owner["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        owner["metadata"]["finalizers"] = json!(["foregroundDeletion"]);
        assert_eq!(graph.put(&gvr::DEPLOYMENTS, &owner), ["d"]);
        assert_eq!(graph.node("d").unwrap().ending, Some(Ending::Foreground));
        graph.put(&gvr::REPLICA_SETS, &object("r", &["d"]));
        assert_eq!(graph.remove(&object("r", &["d"])), ["d"]);
        assert!(graph.dependents("d").is_empty());
    }

    #[test]
    fn a_changed_owner_reference_moves_the_dependent() {
        let mut graph = Graph::default();
        graph.put(&gvr::PODS, &object("p", &["a"]));
        graph.put(&gvr::PODS, &object("p", &["b"]));
        assert!(graph.dependents("a").is_empty());
        assert_eq!(graph.dependents("b"), ["p"]);
    }
}
