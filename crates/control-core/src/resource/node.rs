use lateen_mesh::Locality;
use serde_json::Value;

use super::metadata::Meta;

/// A node: only where it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Node {
    /// Name.
    pub name: String,
    /// Where it is.
    pub locality: Locality,
}

/// Reads a Node; the well-known topology labels say where it is.
pub(super) fn parse(object: &Value) -> Node {
    let meta = Meta::of(object);
    let label = |key: &str| meta.labels.get(key).cloned();
    let locality = Locality {
        region: label("topology.kubernetes.io/region")
            .or_else(|| label("failure-domain.beta.kubernetes.io/region"))
            .unwrap_or_default(),
        zone: label("topology.kubernetes.io/zone")
            .or_else(|| label("failure-domain.beta.kubernetes.io/zone"))
            .unwrap_or_default(),
        subzone: label("topology.istio.io/subzone").unwrap_or_default(),
    };
    Node { name: meta.name, locality }
}
