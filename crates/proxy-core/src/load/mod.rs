//! Loading xDS resources into [`Tables`].

// Other servers still send fields that Envoy deprecates but honours.
#![allow(deprecated)]

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use lateen_api::envoy::envoy::config::cluster::v3::Cluster as ProtoCluster;
use lateen_api::envoy::envoy::config::endpoint::v3::ClusterLoadAssignment;
use lateen_api::envoy::envoy::config::listener::v3::Listener as ProtoListener;
use lateen_api::envoy::envoy::config::route::v3::RouteConfiguration;
use lateen_api::type_url;

mod access_log;
mod build;
mod cluster;
mod convert;
mod endpoint;
mod error;
mod external;
mod filter;
mod http;
mod istio;
mod jwt;
mod listener;
mod rbac;
mod route;
mod table;
mod tls;

pub use error::LoadError;

use crate::cluster::{Cluster, ClusterConfig, ClusterState, Discovery};
use crate::interner::Interner;
use crate::listener::Listener;
use crate::tables::{ClusterId, RouteTableId, Tables};
use crate::tls::CommonTls;
use crate::virtual_host::RouteTable;

/// Names given numbers while resources are loaded.
pub struct Context<'l> {
    clusters: &'l mut Interner,
    route_tables: &'l mut Interner,
    /// What can't be read, but has a safe form that is put in its place.
    problems: Vec<String>,
}

impl<'l> Context<'l> {
    fn new(clusters: &'l mut Interner, route_tables: &'l mut Interner) -> Self {
        Self { clusters, route_tables, problems: Vec::new() }
    }

    fn cluster(&mut self, name: &str) -> ClusterId {
        ClusterId(self.clusters.intern(name))
    }
}

/// Secrets that a proxy gets with its identity, not from discovery.
const BORN_WITH: [&str; 2] = ["default", "ROOTCA"];

/// Resources to subscribe to because others refer to them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Route configurations.
    pub routes: BTreeSet<String>,
    /// Endpoint assignments.
    pub endpoints: BTreeSet<String>,
    /// Secrets; those with which every proxy is born are not among them.
    pub secrets: BTreeSet<String>,
}

/// A cluster as loaded, before it has endpoints.
struct Loaded {
    config: Arc<ClusterConfig>,
    assignment: Option<ClusterLoadAssignment>,
    state: Arc<ClusterState>,
    /// Gone from discovery, but something may still refer to it.
    removed: bool,
}

/// Takes resources as they come and builds [`Tables`] from those that are good.
#[derive(Default)]
pub struct Loader {
    cluster_names: Interner,
    route_names: Interner,
    clusters: BTreeMap<u32, Loaded>,
    built: HashMap<u32, Arc<Cluster>>,
    stale: BTreeSet<u32>,
    /// As they came: decoded they take several times as much.
    assignments: HashMap<String, Bytes>,
    resolved: HashMap<String, Vec<IpAddr>>,
    routes: HashMap<u32, Arc<RouteTable>>,
    published_routes: HashMap<u32, Arc<RouteTable>>,
    listeners: HashMap<String, Arc<Listener>>,
    published_listeners: HashMap<String, Arc<Listener>>,
    generation: u64,
    waiting: bool,
}

impl Loader {
    /// Takes a change of one type. Bad resources change nothing and are returned with the reason; the others count.
    /// A listener whose authorization rules can't be read is returned too, but it does change: it lets nothing pass,
    /// for what its rules deny must not go on under the old ones.
    pub fn apply(&mut self, type_url: &str, upserts: &[(String, Bytes)], removed: &[String]) -> Vec<(String, String)> {
        let mut rejected = Vec::new();
        for (name, bytes) in upserts {
            if let Err(error) = self.upsert(type_url, name, bytes) {
                rejected.push((name.clone(), error.to_string()));
            }
        }
        for name in removed {
            self.remove(type_url, name);
        }
        rejected
    }

    fn upsert(&mut self, type_url: &str, name: &str, bytes: &Bytes) -> Result<(), LoadError> {
        match type_url {
            type_url::LISTENER => self.upsert_listener(convert::decode(bytes)?),
            type_url::ROUTE => self.upsert_route(convert::decode(bytes)?),
            type_url::CLUSTER => self.upsert_cluster(convert::decode(bytes)?),
            type_url::ENDPOINT => self.upsert_endpoints(name, bytes),
            other => Err(LoadError::Unsupported(format!("resource type {other}"))),
        }
    }

    fn upsert_listener(&mut self, proto: ProtoListener) -> Result<(), LoadError> {
        let mut context = Context::new(&mut self.cluster_names, &mut self.route_names);
        let listener = listener::listener(&mut context, &proto)?;
        let problems = context.problems;
        self.listeners.insert(proto.name, Arc::new(listener));
        if problems.is_empty() { Ok(()) } else { Err(LoadError::Invalid(problems.join("; "))) }
    }

    fn upsert_route(&mut self, proto: RouteConfiguration) -> Result<(), LoadError> {
        let mut context = Context::new(&mut self.cluster_names, &mut self.route_names);
        let table = table::route_table(&mut context, &proto)?;
        let id = self.route_names.intern(&proto.name);
        self.routes.insert(id, Arc::new(table));
        Ok(())
    }

    fn upsert_cluster(&mut self, proto: ProtoCluster) -> Result<(), LoadError> {
        let id = self.cluster_names.intern(&proto.name);
        let config = Arc::new(cluster::cluster(ClusterId(id), &proto)?);
        if let Some(assignment) = &proto.load_assignment {
            // Told now, while the cluster can still be refused.
            endpoint::endpoints(&config, assignment, &|_| Vec::new(), None)?;
        }
        let state = self.clusters.get(&id).map(|old| old.state.clone()).unwrap_or_default();
        self.clusters.insert(id, Loaded { config, assignment: proto.load_assignment, state, removed: false });
        self.stale.insert(id);
        Ok(())
    }

    fn upsert_endpoints(&mut self, name: &str, bytes: &Bytes) -> Result<(), LoadError> {
        let proto: ClusterLoadAssignment = convert::decode(bytes)?;
        let name = if proto.cluster_name.is_empty() { name.to_owned() } else { proto.cluster_name.clone() };
        let users = self.clusters_of(&name);
        for id in &users {
            endpoint::endpoints(&self.clusters[id].config, &proto, &|_| Vec::new(), None)?;
        }
        self.assignments.insert(name, bytes.clone());
        self.stale.extend(users);
        Ok(())
    }

    fn clusters_of(&self, assignment: &str) -> Vec<u32> {
        let direct = self
            .cluster_names
            .get(assignment)
            .filter(|id| self.clusters.get(id).is_some_and(|loaded| uses(&loaded.config, assignment)));
        match direct {
            Some(id) => vec![id],
            None => {
                let all = self.clusters.iter();
                all.filter(|(_, loaded)| uses(&loaded.config, assignment)).map(|(id, _)| *id).collect()
            }
        }
    }

    fn remove(&mut self, type_url: &str, name: &str) {
        match type_url {
            type_url::LISTENER => {
                self.listeners.remove(name);
            }
            type_url::ROUTE => {
                if let Some(id) = self.route_names.get(name) {
                    self.routes.remove(&id);
                }
            }
            type_url::CLUSTER => {
                let loaded = self.cluster_names.get(name).and_then(|id| self.clusters.get_mut(&id));
                if let Some(loaded) = loaded {
                    loaded.removed = true;
                }
            }
            type_url::ENDPOINT => {
                self.assignments.remove(name);
                self.stale.extend(self.clusters_of(name));
            }
            _ => {}
        }
    }

    /// Takes the addresses that a name resolved to.
    pub fn resolved(&mut self, host: &str, addresses: Vec<IpAddr>) {
        if self.resolved.get(host) == Some(&addresses) {
            return;
        }
        self.resolved.insert(host.to_owned(), addresses);
        let named = self.clusters.iter().filter(|(_, loaded)| build::names(loaded).any(|name| name == host));
        self.stale.extend(named.map(|(id, _)| *id).collect::<Vec<_>>());
    }

    /// Names to resolve.
    pub fn names(&self) -> BTreeSet<String> {
        self.clusters.values().filter(|loaded| !loaded.removed).flat_map(build::names).map(str::to_owned).collect()
    }

    /// Resources to subscribe to.
    pub fn wanted(&self) -> Wanted {
        let mut wanted = Wanted::default();
        for id in self.listeners.values().flat_map(|listener| build::route_tables(listener)) {
            wanted.routes.extend(self.route_names.name(id.0).map(|name| name.to_string()));
        }
        for loaded in self.clusters.values().filter(|loaded| !loaded.removed) {
            if let Discovery::Eds(name) = &loaded.config.discovery {
                wanted.endpoints.insert(name.to_string());
            }
        }
        let (listeners, clusters) = (self.listeners.values(), self.clusters.values());
        let contexts = listeners.flat_map(|listener| build::downstream_tls(listener));
        let upstream = clusters.filter(|loaded| !loaded.removed).flat_map(|loaded| build::upstream_tls(&loaded.config));
        let secrets =
            contexts.chain(upstream).flat_map(CommonTls::secrets).filter(|name| !BORN_WITH.contains(&&***name));
        wanted.secrets.extend(secrets.map(|name| name.to_string()));
        wanted
    }

    /// Whether some route or listener is held back because what it needs isn't there yet.
    pub fn waiting(&self) -> bool {
        self.waiting
    }
}

fn uses(config: &ClusterConfig, assignment: &str) -> bool {
    matches!(&config.discovery, Discovery::Eds(name) if &**name == assignment)
}

#[cfg(test)]
mod tests;
