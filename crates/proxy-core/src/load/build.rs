//! From loaded resources to the tables that are published.

use std::collections::BTreeSet;
use std::sync::Arc;

use lateen_api::envoy::envoy::config::core::v3::address;
use lateen_api::envoy::envoy::config::endpoint::v3::lb_endpoint::HostIdentifier;

use super::{Loaded, Loader, RouteTableId, Tables, convert, endpoint};
use crate::balance::Ring;
use crate::chain::Terminal;
use crate::cluster::{Cluster, ClusterConfig, Discovery};
use crate::endpoint::{EndpointSet, Transport};
use crate::http::Routes;
use crate::listener::Listener;
use crate::route::Action;
use crate::tables::ClusterId;
use crate::tls::CommonTls;
use crate::virtual_host::RouteTable;

impl Loader {
    /// The tables as of now. A route table or listener that needs something not there yet keeps its last form, unless
    /// `impatient` says to take it as it is.
    pub fn tables(&mut self, impatient: bool) -> Arc<Tables> {
        self.build_clusters();
        self.waiting = false;
        self.publish_routes(impatient);
        self.publish_listeners(impatient);
        self.drop_removed_clusters();
        self.generation += 1;
        Arc::new(self.snapshot())
    }

    fn build_clusters(&mut self) {
        for id in std::mem::take(&mut self.stale) {
            let Some(loaded) = self.clusters.get(&id) else {
                continue;
            };
            let old = self.built.get(&id).map(|cluster| cluster.endpoints.clone());
            let endpoints = Arc::new(self.endpoints(loaded, old.as_deref()));
            let ring = Ring::build(loaded.config.policy, loaded.config.locality_weighted, &endpoints);
            let cluster = Cluster { config: loaded.config.clone(), endpoints, ring, state: loaded.state.clone() };
            self.built.insert(id, Arc::new(cluster));
        }
    }

    fn endpoints(&self, loaded: &Loaded, old: Option<&EndpointSet>) -> EndpointSet {
        let resolve = |host: &str| self.resolved.get(host).cloned().unwrap_or_default();
        let build = |assignment: &_| endpoint::endpoints(&loaded.config, assignment, &resolve, old);
        let built = match &loaded.config.discovery {
            Discovery::Eds(name) => self.assignments.get(&**name).map(|bytes| build(&convert::decode(bytes)?)),
            _ => loaded.assignment.as_ref().map(build),
        };
        // Assignments are checked when they come; one that came before its cluster may still not fit it.
        built.and_then(Result::ok).unwrap_or_default()
    }

    fn warm(&self, id: ClusterId) -> bool {
        match self.clusters.get(&id.0).map(|loaded| &loaded.config.discovery) {
            Some(Discovery::Eds(name)) => self.assignments.contains_key(&**name),
            // A cluster that doesn't exist is answered for by the route: waiting would not bring it.
            _ => true,
        }
    }

    fn publish_routes(&mut self, impatient: bool) {
        let mut next = std::collections::HashMap::with_capacity(self.routes.len());
        for (id, table) in &self.routes {
            let published = self.published_routes.get(id);
            let changed = published.is_none_or(|published| !Arc::ptr_eq(published, table));
            if changed && !impatient && !clusters_of_table(table).all(|id| self.warm(id)) {
                self.waiting = true;
                if let Some(published) = published {
                    next.insert(*id, published.clone());
                }
                continue;
            }
            next.insert(*id, table.clone());
        }
        self.published_routes = next;
    }

    fn publish_listeners(&mut self, impatient: bool) {
        let mut next = std::collections::HashMap::with_capacity(self.listeners.len());
        for (name, listener) in &self.listeners {
            let published = self.published_listeners.get(name);
            let changed = published.is_none_or(|published| !Arc::ptr_eq(published, listener));
            let ready = || {
                route_tables(listener).iter().all(|id| self.published_routes.contains_key(&id.0))
                    && clusters_of_listener(listener).iter().all(|id| self.warm(*id))
            };
            if changed && !impatient && !ready() {
                self.waiting = true;
                if let Some(published) = published {
                    next.insert(name.clone(), published.clone());
                }
                continue;
            }
            next.insert(name.clone(), listener.clone());
        }
        self.published_listeners = next;
    }

    /// Removed clusters go once nothing that is published refers to them.
    fn drop_removed_clusters(&mut self) {
        if !self.clusters.values().any(|loaded| loaded.removed) {
            return;
        }
        let mut used: BTreeSet<u32> = BTreeSet::new();
        used.extend(self.published_routes.values().flat_map(|table| clusters_of_table(table)).map(|id| id.0));
        used.extend(
            self.published_listeners.values().flat_map(|listener| clusters_of_listener(listener)).map(|id| id.0),
        );
        self.clusters.retain(|id, loaded| !loaded.removed || used.contains(id));
        self.built.retain(|id, _| self.clusters.contains_key(id));
    }

    fn snapshot(&self) -> Tables {
        let mut tables = Tables {
            generation: self.generation,
            clusters: vec![None; self.cluster_names.len()],
            cluster_names: Arc::new(self.cluster_names.clone()),
            routes: vec![None; self.route_names.len()],
            route_names: Arc::new(self.route_names.clone()),
            ..Tables::default()
        };
        for (id, cluster) in &self.built {
            tables.clusters[*id as usize] = Some(cluster.clone());
        }
        for (id, table) in &self.published_routes {
            tables.routes[*id as usize] = Some(table.clone());
        }
        for listener in self.published_listeners.values() {
            tables.listeners.insert(listener.name.clone(), listener.clone());
            for address in std::iter::once(&listener.address).chain(&listener.more_addresses) {
                tables.by_address.insert(*address, listener.clone());
            }
        }
        tables
    }
}

/// Names that a cluster's endpoints have in place of addresses.
pub fn names(loaded: &Loaded) -> impl Iterator<Item = &str> {
    let groups = loaded.assignment.iter().flat_map(|assignment| &assignment.endpoints);
    let endpoints = groups.flat_map(|group| &group.lb_endpoints);
    let is_dns = matches!(loaded.config.discovery, Discovery::Dns { .. });
    endpoints.filter(move |_| is_dns).filter_map(|endpoint| {
        let Some(HostIdentifier::Endpoint(inner)) = &endpoint.host_identifier else {
            return None;
        };
        match inner.address.as_ref()?.address.as_ref()? {
            address::Address::SocketAddress(socket) => {
                socket.address.parse::<std::net::IpAddr>().is_err().then_some(socket.address.as_str())
            }
            _ => None,
        }
    })
}

/// Route tables that a listener takes from discovery.
pub fn route_tables(listener: &Listener) -> Vec<RouteTableId> {
    listener
        .all_chains()
        .filter_map(|chain| match &chain.terminal {
            Terminal::Http(hcm) => match hcm.routes {
                Routes::Discovered(id) => Some(id),
                Routes::Inline(_) => None,
            },
            _ => None,
        })
        .collect()
}

/// TLS contexts towards clients.
pub fn downstream_tls(listener: &Listener) -> impl Iterator<Item = &CommonTls> {
    listener.all_chains().filter_map(|chain| Some(&chain.tls.as_ref()?.common))
}

/// TLS contexts towards endpoints.
pub fn upstream_tls(config: &ClusterConfig) -> impl Iterator<Item = &CommonTls> {
    config.transports.iter().filter_map(|(_, transport)| match transport {
        Transport::Tls(tls) => Some(&tls.common),
        Transport::Plain => None,
    })
}

fn clusters_of_listener(listener: &Listener) -> Vec<ClusterId> {
    let mut all = Vec::new();
    for chain in listener.all_chains() {
        match &chain.terminal {
            Terminal::Tcp(tcp) => all.extend(tcp.clusters()),
            Terminal::Http(hcm) => {
                if let Routes::Inline(table) = &hcm.routes {
                    all.extend(clusters_of_table(table));
                }
            }
            Terminal::Close(_) => {}
        }
    }
    all
}

fn clusters_of_table(table: &RouteTable) -> impl Iterator<Item = ClusterId> + '_ {
    let routes = table.hosts.iter().flat_map(|host| &host.routes);
    routes.flat_map(|route| {
        let forward = match &route.action {
            Action::Forward(forward) => Some(forward),
            _ => None,
        };
        forward.into_iter().flat_map(|forward| {
            let mirrors = forward.mirrors.iter().flat_map(|mirror| mirror.forward.target.clusters());
            forward.target.clusters().chain(mirrors)
        })
    })
}
