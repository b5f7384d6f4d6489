//! Configuration in, one proxy's tables out: the control plane's core and the proxy's core in one process, no socket.

use std::sync::Arc;

use anyhow::Context;
use lateen_control_core::keys::KeySource;
use lateen_control_core::snapshot::Snapshot;
use lateen_control_core::store::{Event, Store};
use lateen_control_core::view::ProxyView;
use lateen_proxy_core::Tables;
use serde_json::{Value, json};

/// Objects of a mesh.
#[derive(Default)]
pub struct World {
    store: Store,
}

impl World {
    /// A world with these MeshConfig settings over the defaults.
    #[must_use]
    pub fn new(mesh_config: &Value) -> Self {
        let mut world = Self::default();
        let text = serde_json::to_string(mesh_config).unwrap_or_default();
        let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "istio", "namespace": "istio-system"}, "data": {"mesh": text}});
        world.apply(map);
        world
    }

    /// Applies an object; one without a namespace belongs to `default`, those without a time of creation are equally
    /// old.
    pub fn apply(&mut self, mut object: Value) {
        let metadata = &mut object["metadata"];
        if metadata["namespace"].is_null() {
            metadata["namespace"] = json!("default");
        }
        if metadata["creationTimestamp"].is_null() {
            metadata["creationTimestamp"] = json!("2020-01-01T00:00:00Z");
        }
        self.store.apply(Event::Apply(object));
        self.store.settle();
    }

    /// Makes `text` the key set that everyone gets who fetches one from `uri`.
    pub fn keys(&mut self, uri: &str, text: &str) {
        self.store.apply(Event::Keys(KeySource::Uri(uri.to_owned()), Some(text.into())));
    }

    /// Its state.
    #[must_use]
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.store.snapshot()
    }

    /// The tables of a proxy in this world.
    ///
    /// # Errors
    /// When the proxy refuses a resource that the control plane made for it.
    pub fn tables(&self, view: &ProxyView) -> anyhow::Result<Arc<Tables>> {
        Ok(lateen_explain::tables(view, &self.store.snapshot())?)
    }
}

/// The view of a proxy with this kind, namespace, addresses and labels.
///
/// # Errors
/// When the kind is not known.
pub fn view(kind: &str, namespace: &str, addresses: &[String], labels: &Value) -> anyhow::Result<ProxyView> {
    let kind = if kind == "gateway" { "router" } else { kind };
    let address = addresses.first().context("a proxy has an address")?;
    let node = lateen_api::discovery::Node {
        id: format!("{kind}~{address}~proxy.{namespace}~{namespace}.svc.cluster.local"),
        ..Default::default()
    };
    let mut view = ProxyView::from_node(&node)?;
    view.lateen = true;
    view.addresses = addresses.iter().map(|one| one.parse()).collect::<Result<_, _>>()?;
    view.labels = serde_json::from_value(labels.clone())?;
    Ok(view)
}
