//! What a generated resource was made from, and what an event changed: their intersection says what to make anew.

use std::collections::BTreeSet;
use std::net::IpAddr;

use lateen_mesh::Hostname;

use crate::keys::KeySource;
use crate::resource::Key;

/// One part of the state of the mesh.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Fact {
    /// Settings of the mesh.
    Mesh,
    /// The set of services: which there are, their ports and addresses.
    Services,
    /// One service: its ports and addresses.
    Service(Hostname),
    /// Endpoints of one service.
    Endpoints(Hostname),
    /// Identities behind one service, and whether its endpoints accept mesh TLS.
    Accounts(Hostname),
    /// Which Istio objects there are, and which of them cannot be read; only reports on them need it.
    Declared,
    /// All VirtualServices.
    VirtualServices,
    /// What VirtualServices put in reach of a Sidecar: their hosts, who sees them, and where they lead.
    Reach,
    /// DestinationRules for one host.
    DestinationRules(Hostname),
    /// All PeerAuthentications.
    PeerAuthentications,
    /// All AuthorizationPolicies.
    AuthorizationPolicies,
    /// All RequestAuthentications.
    RequestAuthentications,
    /// The keys that come from one place.
    Keys(KeySource),
    /// All Sidecars.
    Sidecars,
    /// All Gateways.
    Gateways,
    /// A credential, by the namespace and name of its Secret.
    Secret(String, String),
    /// The roots in a ConfigMap, by its namespace and name.
    Roots(String, String),
    /// The objects of the Gateway API, or what they refer to: what they become is still to be worked out.
    GatewayApi,
    /// Services that the workload at an address belongs to, and its pod.
    Workload(IpAddr),
}

/// What a resource was made from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReadSet(BTreeSet<Fact>);

impl ReadSet {
    /// Nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Notes that `fact` was read.
    pub fn read(&mut self, fact: Fact) {
        self.0.insert(fact);
    }

    /// Notes everything of `other`.
    pub fn extend(&mut self, other: ReadSet) {
        self.0.extend(other.0);
    }

    /// The facts read.
    pub fn iter(&self) -> impl Iterator<Item = &Fact> {
        self.0.iter()
    }
}

impl FromIterator<Fact> for ReadSet {
    fn from_iter<I: IntoIterator<Item = Fact>>(facts: I) -> Self {
        Self(facts.into_iter().collect())
    }
}

/// What one or more events changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    facts: BTreeSet<Fact>,
    /// Objects that could not be read, and why; their last good state stays in force.
    pub refused: Vec<(Key, String)>,
}

impl Changes {
    /// Is there nothing to do.
    pub fn is_empty(&self) -> bool {
        self.facts.is_empty()
    }

    /// Notes that `fact` changed.
    pub fn add(&mut self, fact: Fact) {
        self.facts.insert(fact);
    }

    /// Adds the changes of later events.
    pub fn merge(&mut self, later: Changes) {
        self.facts.extend(later.facts);
        self.refused.extend(later.refused);
    }

    /// Must what was made from `reads` be made anew.
    pub fn touch(&self, reads: &ReadSet) -> bool {
        let (few, many) =
            if self.facts.len() < reads.0.len() { (&self.facts, &reads.0) } else { (&reads.0, &self.facts) };
        few.iter().any(|fact| many.contains(fact))
    }

    /// The facts changed.
    pub fn iter(&self) -> impl Iterator<Item = &Fact> {
        self.facts.iter()
    }
}
