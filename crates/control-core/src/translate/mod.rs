//! Translation of a snapshot into xDS resources, one resource at a time.
//!
//! [`names`] says which resources a proxy has, [`resource`] makes one of them. Both say what they read, so that the
//! caller knows when to ask again; [`projection`] is the part of a proxy that a resource depends on: two proxies with
//! equal projections get equal resources.

mod access_log;
mod authentication;
mod authorization;
mod cluster;
mod endpoint;
pub(crate) mod gateway;
mod http;
mod listener;
pub mod locality;
mod name;
mod name_table;
mod provenance;
mod route;
mod scope;
mod secret;
#[cfg(test)]
mod tests;
mod tls;
mod wire;

use std::collections::BTreeMap;

use lateen_api::discovery::Any;
use lateen_api::type_url;
use lateen_mesh::Locality;

use crate::reads::{Fact, ReadSet};
use crate::snapshot::Snapshot;
use crate::view::ProxyView;

pub(crate) use authorization::has_provider;
pub use gateway::{ServerHost, shared};
pub use name::ClusterName;
pub(crate) use route::applies_to_mesh;
pub use scope::Scope;
pub use secret::is_granted;

/// One resource and what it was made from.
#[derive(Clone, Debug, PartialEq)]
pub struct Generated {
    /// The packed resource.
    pub resource: Any,
    /// What it was made from.
    pub reads: ReadSet,
}

impl Generated {
    /// Does it depend on the proxy's own pod, so that no other proxy may get it.
    pub fn is_of_one_workload(&self) -> bool {
        self.reads.iter().any(|fact| matches!(fact, Fact::Workload(_)))
    }
}

/// Names of the resources that a proxy has of one type.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    /// The names, sorted.
    pub names: Vec<String>,
    /// What the list was made from.
    pub reads: ReadSet,
}

impl Names {
    fn sorted((mut names, reads): (Vec<String>, ReadSet)) -> Self {
        names.sort();
        names.dedup();
        Names { names, reads }
    }
}

/// The part of a proxy that resources depend on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Projection {
    /// What makes calls from it different from calls of others.
    Caller {
        /// Is it a sidecar.
        sidecar: bool,
        /// Its namespace.
        namespace: String,
        /// Its labels.
        labels: BTreeMap<String, String>,
        /// Where it is.
        locality: Locality,
        /// Has it Istio's filters.
        lateen: bool,
        /// Has it addresses of both families.
        dual_stack: bool,
        /// Does it answer DNS, and with addresses that the control plane allocated.
        allocated: (bool, bool),
        /// Does it serve clients of HTTP/1.0.
        http10: bool,
    },
    /// All of it.
    Whole(Box<ProxyView>),
}

/// Names of all resources of a type that `view` has. Routes and endpoints are asked for by name as listeners and
/// clusters refer to them; the list is there for those who want to see all of them.
pub fn names(type_url: &str, view: &ProxyView, snapshot: &Snapshot) -> Names {
    Names::sorted(match type_url {
        type_url::LISTENER => listener::names(view, snapshot),
        type_url::CLUSTER => cluster::names(view, snapshot),
        type_url::ROUTE => route::names(view, snapshot),
        type_url::ENDPOINT => endpoint::names(view, snapshot),
        type_url::NAME_TABLE => (vec![type_url::NAME_TABLE.to_owned()], ReadSet::new()),
        _ => return Names::default(),
    })
}

/// Of the [`names`] of a type those that `view` has in common with all whose calls have the same [`projection`]. What
/// depends on the addresses of a single one is among them too: it makes no [`resource`] for that one.
pub fn common_names(type_url: &str, view: &ProxyView, snapshot: &Snapshot) -> Names {
    match type_url {
        type_url::LISTENER if !view.is_sidecar() => Names::default(),
        type_url::LISTENER => {
            let anyone = ProxyView { addresses: Vec::new(), ..view.clone() };
            Names::sorted(listener::names(&anyone, snapshot))
        }
        type_url::CLUSTER => Names::sorted(cluster::common_names(view, snapshot)),
        _ => names(type_url, view, snapshot),
    }
}

/// Of the [`names`] of a type those that are not among the [`common_names`].
pub fn own_names(type_url: &str, view: &ProxyView, snapshot: &Snapshot) -> Names {
    match type_url {
        type_url::LISTENER if !view.is_sidecar() => names(type_url, view, snapshot),
        type_url::CLUSTER => Names::sorted(cluster::own_names(view, snapshot)),
        _ => Names::default(),
    }
}

/// Makes one resource; `None` when the proxy has none of this name.
pub fn resource(type_url: &str, name: &str, view: &ProxyView, snapshot: &Snapshot) -> Option<Generated> {
    let mut reads = ReadSet::new();
    let resource = match type_url {
        type_url::LISTENER => Any::pack(&listener::listener(name, view, snapshot, &mut reads)?),
        type_url::CLUSTER => Any::pack(&cluster::cluster(name, view, snapshot, &mut reads)?),
        type_url::ROUTE => Any::pack(&route::route_configuration(name, view, snapshot, &mut reads)),
        type_url::ENDPOINT => Any::pack(&endpoint::load_assignment(name, view, snapshot, &mut reads)),
        type_url::SECRET => Any::pack(&secret::secret(name, view, snapshot, &mut reads)?),
        type_url::NAME_TABLE => Any::pack(&name_table::name_table(view, snapshot, &mut reads)),
        _ => return None,
    };
    Some(Generated { resource, reads })
}

/// What a resource of this type and name depends on of `view`.
pub fn projection(type_url: &str, name: &str, view: &ProxyView) -> Projection {
    let of_caller = match type_url {
        type_url::LISTENER => listener::is_same_for_all(name, view),
        type_url::CLUSTER => !name.starts_with("inbound|"),
        type_url::ROUTE => view.is_sidecar(),
        type_url::ENDPOINT | type_url::NAME_TABLE => true,
        _ => false,
    };
    if !of_caller {
        return Projection::Whole(Box::new(view.clone()));
    }
    Projection::Caller {
        sidecar: view.is_sidecar(),
        namespace: view.namespace.clone(),
        labels: view.labels.clone(),
        locality: view.locality.clone(),
        lateen: view.lateen,
        dual_stack: view.is_dual_stack(),
        allocated: (view.dns_capture, view.dns_auto_allocate),
        http10: view.http10,
    }
}
