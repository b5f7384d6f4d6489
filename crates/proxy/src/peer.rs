//! Metadata that peers exchange: who they are, for the labels of metrics.

use std::collections::HashMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use lateen_api::google::protobuf::{Struct, value::Kind};
use prost::Message;

/// Carries the metadata, as base64 of a protobuf struct.
pub const METADATA_HEADER: &str = "x-envoy-peer-metadata";
/// Carries the node id.
pub const ID_HEADER: &str = "x-envoy-peer-metadata-id";
/// Longest metadata read.
const MAX_METADATA: usize = 16 << 10;
/// Peers remembered by one worker.
const MAX_PEERS: usize = 512;

/// Who a peer is.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Peer {
    /// Workload name.
    pub workload: String,
    /// Namespace.
    pub namespace: String,
    /// Cluster.
    pub cluster: String,
    /// Label `app`.
    pub app: String,
    /// Label `version`.
    pub version: String,
    /// Canonical service.
    pub canonical_name: String,
    /// Canonical revision.
    pub canonical_revision: String,
}

impl Peer {
    /// Reads the value of the metadata header.
    pub fn parse(header: &[u8]) -> Option<Self> {
        if header.len() > MAX_METADATA {
            return None;
        }
        let bytes = STANDARD.decode(header).or_else(|_| STANDARD_NO_PAD.decode(header)).ok()?;
        let fields = Struct::decode(bytes.as_slice()).ok()?;
        let labels = match fields.fields.get("LABELS").and_then(|value| value.kind.as_ref()) {
            Some(Kind::StructValue(labels)) => labels.clone(),
            _ => Struct::default(),
        };
        let workload = text(&fields, "WORKLOAD_NAME");
        let first = |keys: &[&str], default: &str| {
            let found = keys.iter().map(|key| text(&labels, key)).find(|value| !value.is_empty());
            found.unwrap_or_else(|| default.to_owned())
        };
        let names = ["service.istio.io/canonical-name", "app.kubernetes.io/name", "app"];
        let revisions = ["service.istio.io/canonical-revision", "app.kubernetes.io/version", "version"];
        Some(Self {
            namespace: text(&fields, "NAMESPACE"),
            cluster: text(&fields, "CLUSTER_ID"),
            app: text(&labels, "app"),
            version: text(&labels, "version"),
            canonical_name: first(&names, &workload),
            canonical_revision: first(&revisions, "latest"),
            workload,
        })
    }
}

fn text(fields: &Struct, key: &str) -> String {
    match fields.fields.get(key).and_then(|value| value.kind.as_ref()) {
        Some(Kind::StringValue(text)) => text.clone(),
        _ => String::new(),
    }
}

/// What this proxy tells its peers.
#[derive(Debug, Clone, Default)]
pub struct OwnMetadata {
    /// Value of [`METADATA_HEADER`]; empty tells nothing.
    pub metadata: Arc<str>,
    /// Value of [`ID_HEADER`].
    pub id: Arc<str>,
}

impl OwnMetadata {
    /// Encodes what is told.
    pub fn new(id: &str, fields: &Struct) -> Self {
        Self { metadata: STANDARD.encode(fields.encode_to_vec()).into(), id: id.into() }
    }
}

/// Peers by header value, so that each is read once.
#[derive(Debug, Default)]
pub struct PeerCache {
    peers: HashMap<Box<[u8]>, Option<Arc<Peer>>>,
}

impl PeerCache {
    /// The peer that told `header`.
    pub fn get(&mut self, header: &[u8]) -> Option<Arc<Peer>> {
        if let Some(known) = self.peers.get(header) {
            return known.clone();
        }
        if self.peers.len() >= MAX_PEERS {
            self.peers.clear();
        }
        let peer = Peer::parse(header).map(Arc::new);
        self.peers.insert(header.into(), peer.clone());
        peer
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lateen_api::google::protobuf::Value;

    fn value(text: &str) -> Value {
        Value { kind: Some(Kind::StringValue(text.into())) }
    }

    #[test]
    fn what_one_proxy_tells_another_reads() {
        let labels = Struct { fields: [("app".to_owned(), value("backend"))].into() };
        let fields = Struct {
            fields: [
                ("WORKLOAD_NAME".to_owned(), value("backend-v1")),
                ("NAMESPACE".to_owned(), value("default")),
                ("LABELS".to_owned(), Value { kind: Some(Kind::StructValue(labels)) }),
            ]
            .into(),
        };
        let own = OwnMetadata::new("sidecar~1", &fields);
        let peer = PeerCache::default().get(own.metadata.as_bytes()).expect("readable");
        assert_eq!((peer.workload.as_str(), peer.namespace.as_str()), ("backend-v1", "default"));
        assert_eq!((peer.canonical_name.as_str(), peer.canonical_revision.as_str()), ("backend", "latest"));
        assert!(PeerCache::default().get(b"no base64!").is_none());
    }
}
