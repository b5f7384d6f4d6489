//! All configuration that serves requests, as one immutable value.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use crate::cluster::Cluster;
use crate::interner::Interner;
use crate::listener::Listener;
use crate::virtual_host::RouteTable;

/// The number of a cluster's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ClusterId(pub u32);

/// The number of a route table's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RouteTableId(pub u32);

/// All configuration that serves requests. A request sees one of these from its beginning to its end.
#[derive(Debug, Clone, Default)]
pub struct Tables {
    /// Counts the changes.
    pub generation: u64,
    pub(crate) listeners: HashMap<Arc<str>, Arc<Listener>>,
    pub(crate) by_address: HashMap<SocketAddr, Arc<Listener>>,
    pub(crate) clusters: Vec<Option<Arc<Cluster>>>,
    pub(crate) cluster_names: Arc<Interner>,
    pub(crate) routes: Vec<Option<Arc<RouteTable>>>,
    pub(crate) route_names: Arc<Interner>,
}

impl Tables {
    /// The cluster with the number `id`.
    pub fn cluster(&self, id: ClusterId) -> Option<&Arc<Cluster>> {
        self.clusters.get(id.0 as usize)?.as_ref()
    }

    /// The number of the cluster `name`, when it exists.
    pub fn cluster_id(&self, name: &str) -> Option<ClusterId> {
        self.cluster_names.get(name).map(ClusterId).filter(|id| self.cluster(*id).is_some())
    }

    /// The name with the number `id`, also when no cluster has it (yet).
    pub fn cluster_name(&self, id: ClusterId) -> &str {
        self.cluster_names.name(id.0).map_or("", |name| name)
    }

    /// The cluster `name`.
    pub fn cluster_by_name(&self, name: &str) -> Option<&Arc<Cluster>> {
        self.cluster(ClusterId(self.cluster_names.get(name)?))
    }

    /// All clusters.
    pub fn clusters(&self) -> impl Iterator<Item = &Arc<Cluster>> {
        self.clusters.iter().flatten()
    }

    /// The route table with the number `id`.
    pub fn route_table(&self, id: RouteTableId) -> Option<&Arc<RouteTable>> {
        self.routes.get(id.0 as usize)?.as_ref()
    }

    /// The name with the number `id`, also when no route table has it (yet).
    pub fn route_table_name(&self, id: RouteTableId) -> &str {
        self.route_names.name(id.0).map_or("", |name| name)
    }

    /// The route table `name`.
    pub fn route_table_by_name(&self, name: &str) -> Option<&Arc<RouteTable>> {
        self.route_table(RouteTableId(self.route_names.get(name)?))
    }

    /// All route tables.
    pub fn route_tables(&self) -> impl Iterator<Item = &Arc<RouteTable>> {
        self.routes.iter().flatten()
    }

    /// The listener `name`.
    pub fn listener(&self, name: &str) -> Option<&Arc<Listener>> {
        self.listeners.get(name)
    }

    /// All listeners.
    pub fn listeners(&self) -> impl Iterator<Item = &Arc<Listener>> {
        self.listeners.values()
    }

    /// Listeners to open sockets for.
    pub fn bound_listeners(&self) -> impl Iterator<Item = &Arc<Listener>> {
        self.listeners().filter(|listener| listener.bind_to_port)
    }

    /// The listener that serves a connection accepted by `listener` whose original destination is `destination`: the
    /// one at that very address, else the one at any address with that port, else `listener` itself.
    pub fn by_destination<'t>(&'t self, listener: &'t Arc<Listener>, destination: SocketAddr) -> &'t Arc<Listener> {
        if !listener.use_original_dst {
            return listener;
        }
        let any = match destination.ip() {
            IpAddr::V4(_) => IpAddr::from([0u8; 4]),
            IpAddr::V6(_) => IpAddr::from([0u16; 8]),
        };
        [destination, SocketAddr::new(any, destination.port())]
            .iter()
            .find_map(|address| self.by_address.get(address))
            .filter(|found| !found.bind_to_port)
            .unwrap_or(listener)
    }
}
