//! The state of the mesh at one moment, indexed for translation.
//!
//! Indexes are shared: a new snapshot copies only those that an event changed.

pub mod delegation;
mod destination_rules;
mod destinations;
mod endpoints;
mod peer_authentication;
mod policies;
mod services;
mod sidecars;
mod targets;
mod virtual_services;
mod visibility;

pub use destination_rules::{DestinationRules, TrafficRule};
pub(crate) use destinations::{Place, destinations};
pub use endpoints::{Endpoint, EndpointIndex, ServiceEndpoints};
pub use peer_authentication::{MtlsMode, PeerAuthentications, WorkloadMtls};
pub use policies::{Attached, Policies};
pub use services::ServiceIndex;
pub use sidecars::{EgressListener, EgressScope, Sidecars};
pub use targets::ServiceTarget;
pub use virtual_services::{VirtualServices, hosts};

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::ops::Bound;
use std::sync::Arc;

use lateen_api::istio as api;
use lateen_mesh::Locality;

use crate::gateway_api::Converted;
use crate::keys::KeySource;
use crate::resource::{Config, Credential, Key, MeshConfig, Pem, Pod};

/// Where wildcards are among sorted host names.
const WILDCARDS: (Bound<&str>, Bound<&str>) = (Bound::Included("*"), Bound::Excluded("+"));

/// An Istio object as it was last seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Declared {
    /// Counts changes of its spec.
    pub generation: i64,
    /// Why it cannot be read, if it cannot; what was read of it before stays in force.
    pub refused: Option<String>,
}

/// The state of the mesh at one moment.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// The Istio objects that there are.
    pub declared: Arc<BTreeMap<Key, Declared>>,
    /// Settings of the mesh.
    pub mesh: Arc<MeshConfig>,
    /// Services by host, port and namespace.
    pub services: Arc<ServiceIndex>,
    /// Endpoints by service.
    pub endpoints: Arc<EndpointIndex>,
    /// Pods by address.
    pub pods: Arc<BTreeMap<IpAddr, Arc<Pod>>>,
    /// Where nodes are.
    pub nodes: Arc<BTreeMap<String, Locality>>,
    /// VirtualServices, with the routes of their delegates.
    pub virtual_services: Arc<VirtualServices>,
    /// What is not in effect of VirtualServices that delegate, and why.
    pub delegation_findings: Arc<BTreeMap<Key, Vec<String>>>,
    /// VirtualServices without hosts, and those that delegate to each.
    pub delegates: Arc<BTreeMap<Key, BTreeSet<Key>>>,
    /// Gateways, oldest first.
    pub gateways: Arc<Vec<Config<api::Gateway>>>,
    /// DestinationRules by namespace.
    pub destination_rules: Arc<DestinationRules>,
    /// PeerAuthentications by namespace.
    pub peer_authentications: Arc<PeerAuthentications>,
    /// AuthorizationPolicies by namespace.
    pub authorization_policies: Arc<Policies<api::AuthorizationPolicy>>,
    /// RequestAuthentications by namespace.
    pub request_authentications: Arc<Policies<api::RequestAuthentication>>,
    /// Key sets that were fetched, by where they come from.
    pub key_sets: Arc<BTreeMap<KeySource, Arc<str>>>,
    /// Sidecars by namespace.
    pub sidecars: Arc<Sidecars>,
    /// Credentials by the namespace and name of their Secret.
    pub credentials: Arc<BTreeMap<(String, String), Arc<Credential>>>,
    /// Roots by the namespace and name of their ConfigMap.
    pub roots: Arc<BTreeMap<(String, String), Pem>>,
    /// What the objects of the Gateway API become; routes and gateways are among those above.
    pub gateway_api: Arc<Converted>,
}

impl Snapshot {
    /// The node of the workload at one of `addresses`; empty if it is no known pod.
    pub fn node_of(&self, addresses: &[IpAddr]) -> &str {
        addresses.iter().find_map(|address| self.pods.get(address)).map_or("", |pod| &pod.node)
    }

    /// The labels that the pod `name` of `namespace` at one of `addresses` has by now, if it is known.
    pub fn labels_of(&self, namespace: &str, name: &str, addresses: &[IpAddr]) -> Option<&BTreeMap<String, String>> {
        let mut pods = addresses.iter().filter_map(|address| self.pods.get(address));
        pods.find(|pod| pod.namespace == namespace && pod.name == name).map(|pod| &pod.labels)
    }

    /// Where the workload at one of `addresses` is: as its pod says, else where its node is.
    pub fn locality_of(&self, addresses: &[IpAddr]) -> Locality {
        let Some(pod) = addresses.iter().find_map(|address| self.pods.get(address)) else {
            return Locality::default();
        };
        pod.locality.clone().or_else(|| self.nodes.get(&pod.node).cloned()).unwrap_or_default()
    }
}
