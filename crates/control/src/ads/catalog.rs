//! The resources of one proxy, made or taken from the cache.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use lateen_api::discovery::Node;
use lateen_api::envoy::google::protobuf::value::Kind;
use lateen_api::type_url;
use lateen_control_core::reads::Fact;
use lateen_control_core::snapshot::Snapshot;
use lateen_control_core::translate::{self, Names, Projection};
use lateen_control_core::view::{ProxyKind, ProxyView};
use lateen_mesh::SpiffeId;
use lateen_xds::server::{Catalog, Entry, Session};
use tonic::Status;

use super::cache::{Cache, Caches, Lookup, NameList, ResourceId};
use super::version;
use crate::state::Published;

/// Types whose resources a proxy gets without naming them.
const WILDCARD: [&str; 3] = [type_url::CLUSTER, type_url::LISTENER, type_url::NAME_TABLE];

/// The proxy at the other end of a stream.
pub(super) struct Proxy {
    view: ProxyView,
    name: String,
    version: String,
    caller: Projection,
    /// What it shares with all proxies that call as it does.
    shared: Arc<Cache>,
    /// What only it has.
    own: Cache,
    lists: HashMap<Arc<str>, Lists>,
    /// Names in the lists that make no resource as yet; which state would change that isn't known.
    absent: BTreeSet<ResourceId>,
    /// May it have credentials.
    secrets: bool,
    /// Who it has proven to be.
    identity: Option<SpiffeId>,
}

/// The names that a proxy has of one type.
struct Lists {
    common: NameList,
    own: Names,
}

impl Proxy {
    pub(super) fn new(
        node: &Node,
        identity: Option<SpiffeId>,
        snapshot: &Snapshot,
        caches: &Caches,
    ) -> Result<Self, Status> {
        let view = ProxyView::from_node(node);
        let mut view = view.map_err(|error| Status::invalid_argument(error.to_string()))?;
        if view.locality.is_empty() {
            view.locality = snapshot.locality_of(&view.addresses);
        }
        relabel(&mut view, snapshot);
        let caller = caller(&view);
        Ok(Proxy {
            name: format!("{}.{}", view.pod, view.namespace),
            version: node_version(node),
            shared: caches.of(&caller),
            own: Cache::default(),
            lists: HashMap::new(),
            absent: BTreeSet::new(),
            secrets: false,
            identity,
            caller,
            view,
        })
    }

    /// `pod.namespace`
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn kind(&self) -> &'static str {
        match self.view.kind {
            ProxyKind::Sidecar => "sidecar",
            ProxyKind::Router => "router",
        }
    }

    pub(super) fn cluster_id(&self) -> &str {
        &self.view.cluster
    }

    /// Lets it have credentials, or no longer.
    pub(super) fn grant_secrets(&mut self, granted: bool) {
        self.secrets = granted;
    }

    /// Whether this is our own proxy.
    pub(super) fn is_lateen(&self) -> bool {
        self.view.lateen
    }

    pub(super) fn version(&self) -> &str {
        &self.version
    }

    /// Takes a newer publication: tells the session what may have changed for this proxy.
    pub(super) fn advance(&mut self, from: u64, published: &Published, caches: &Caches, session: &mut Session) {
        let types: Vec<Arc<str>> = session.types().cloned().collect();
        if relabel(&mut self.view, &published.snapshot) {
            self.caller = caller(&self.view);
            self.shared = caches.of(&self.caller);
            self.own = Cache::default();
            self.lists.clear();
            types.iter().for_each(|type_url| session.changed_all(type_url));
        }
        if self.credentials_changed(from, published) {
            session.changed_all(type_url::SECRET);
        }
        for cache in [&*self.shared, &self.own] {
            match cache.advance(from, published) {
                Some(steps) => {
                    for (type_url, name) in steps.iter().flat_map(|stale| stale.iter()) {
                        session.changed(type_url, name);
                    }
                }
                None => types.iter().for_each(|type_url| session.changed_all(type_url)),
            }
        }
        for type_url in &types {
            if self.names_changed(type_url, from, published) {
                session.changed_all(type_url);
            }
        }
        for (type_url, name) in std::mem::take(&mut self.absent) {
            session.changed(&type_url, &name);
        }
    }

    /// Whether it may have a credential: as its permission says, or because its gateway names it.
    fn may_have(&self, name: &str, snapshot: &Snapshot) -> bool {
        let (namespace, account) =
            self.identity.as_ref().map_or(("", ""), |id| (id.namespace.as_str(), id.service_account.as_str()));
        self.secrets || translate::is_granted(name, namespace, account, snapshot)
    }

    /// Whether a Secret, or roots in a ConfigMap, came, changed or went that may be for it. One that wasn't there has
    /// left nothing in a cache.
    fn credentials_changed(&self, from: u64, published: &Published) -> bool {
        let granted = &published.snapshot.gateway_api.granted;
        let own = |fact: &Fact| match fact {
            Fact::Secret(namespace, name) => {
                *namespace == self.view.namespace
                    || granted.iter().any(|g| g.namespace == self.view.namespace && g.secret.1 == *name)
            }
            Fact::Roots(..) => true,
            _ => false,
        };
        let changes = published.changes_since(from);
        changes.is_none_or(|mut changes| changes.any(|changes| changes.iter().any(own)))
    }

    /// Brings the lists of names of a type up to date; answers whether they changed.
    fn names_changed(&mut self, type_url: &str, from: u64, published: &Published) -> bool {
        let Some(known) = self.lists.get(type_url) else { return false };
        let common = self.common_names(type_url, published);
        let mut changed = !Arc::ptr_eq(&common, &known.common);
        let touched = published.changes_since(from);
        let touched = touched.is_none_or(|mut changes| changes.any(|changes| changes.touch(&known.own.reads)));
        let own = touched.then(|| translate::own_names(type_url, &self.view, &published.snapshot));
        let Some(known) = self.lists.get_mut(type_url) else { return false };
        known.common = common;
        if let Some(own) = own {
            changed |= own.names != known.own.names;
            known.own = own;
        }
        changed
    }

    fn common_names(&self, type_url: &str, published: &Published) -> NameList {
        let make = || translate::common_names(type_url, &self.view, &published.snapshot);
        self.shared.names(type_url, published.version, make)
    }
}

/// What a proxy gets as of one publication.
pub(super) struct ProxyCatalog<'a> {
    proxy: &'a mut Proxy,
    published: &'a Published,
}

impl<'a> ProxyCatalog<'a> {
    pub(super) fn new(proxy: &'a mut Proxy, published: &'a Published) -> Self {
        ProxyCatalog { proxy, published }
    }

    fn make(&self, type_url: &str, name: &str, previous: Option<Entry>) -> Option<Entry> {
        let Proxy { view, caller, shared, own, .. } = &*self.proxy;
        let Some(made) = translate::resource(type_url, name, view, &self.published.snapshot) else {
            if previous.is_some() {
                shared.forget(type_url, name, self.published.version);
                own.forget(type_url, name, self.published.version);
            }
            return None;
        };
        let of_one = made.is_of_one_workload();
        let body = made.resource.value;
        let version = version::version(&body);
        let entry = match previous {
            Some(previous) if previous.version == version => previous,
            _ => Entry { name: name.into(), version, type_url: type_url.into(), body },
        };
        let is_shared = !of_one && translate::projection(type_url, name, view) == *caller;
        let cache = if is_shared { &**shared } else { own };
        cache.keep(type_url, entry.clone(), made.reads, self.published.version);
        Some(entry)
    }
}

impl Catalog for ProxyCatalog<'_> {
    fn all(&mut self, type_url: &str) -> Vec<Arc<str>> {
        if !WILDCARD.contains(&type_url) {
            return Vec::new();
        }
        if !self.proxy.lists.contains_key(type_url) {
            let common = self.proxy.common_names(type_url, self.published);
            let own = translate::own_names(type_url, &self.proxy.view, &self.published.snapshot);
            self.proxy.lists.insert(type_url.into(), Lists { common, own });
        }
        let lists = self.proxy.lists.get(type_url);
        let own = lists.iter().flat_map(|lists| &lists.own.names).map(|name| name.as_str().into());
        lists.iter().flat_map(|lists| lists.common.iter()).cloned().chain(own).collect()
    }

    fn get(&mut self, type_url: &str, name: &str) -> Option<Entry> {
        if type_url == type_url::SECRET && !self.proxy.may_have(name, &self.published.snapshot) {
            return None;
        }
        let mut previous = None;
        for cache in [&*self.proxy.shared, &self.proxy.own] {
            match cache.find(type_url, name, self.published.version) {
                Lookup::Fresh(entry) => return Some(entry),
                Lookup::Stale(entry) => previous = Some(entry),
                Lookup::Missing => {}
            }
        }
        let made = self.make(type_url, name, previous);
        if made.is_none() && WILDCARD.contains(&type_url) {
            self.proxy.absent.insert((type_url.into(), name.into()));
        }
        made
    }
}

/// What resources depend on that the proxy shares with others: any outbound one depends on the caller alone.
fn caller(view: &ProxyView) -> Projection {
    translate::projection(type_url::CLUSTER, "outbound", view)
}

/// Gives the view the labels that its pod has by now: the proxy only knows those of its start, and policies select it by
/// the others too. Answers whether anything changed.
fn relabel(view: &mut ProxyView, snapshot: &Snapshot) -> bool {
    let labels = snapshot.labels_of(&view.namespace, &view.pod, &view.addresses);
    let changed = labels.is_some_and(|labels| *labels != view.labels);
    if let Some(labels) = labels.filter(|_| changed) {
        view.labels.clone_from(labels);
    }
    changed
}

/// The version of the proxy's program.
fn node_version(node: &Node) -> String {
    let fields = node.metadata.as_ref().map(|metadata| &metadata.fields);
    let value = fields.and_then(|fields| fields.get("ISTIO_VERSION"));
    match value.and_then(|value| value.kind.as_ref()) {
        Some(Kind::StringValue(text)) => text.clone(),
        _ => "unknown".to_owned(),
    }
}
