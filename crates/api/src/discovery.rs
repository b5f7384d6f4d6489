//! The discovery envelopes (`envoy.service.discovery.v3`), same on the wire as Envoy's, but with payloads as
//! [`Bytes`], so that one encoded resource is shared by every session that sends it.

use std::collections::BTreeMap;

use bytes::Bytes;

/// The node identity that a client sends.
pub use envoy_types::pb::envoy::config::core::v3::{ControlPlane, Node};
/// A gRPC status, as carried in `error_detail`.
pub use envoy_types::pb::google::rpc::Status;

/// gRPC path of state-of-the-world ADS.
pub const STREAM_PATH: &str = "/envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources";
/// gRPC path of delta ADS.
pub const DELTA_PATH: &str = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources";

/// A packed message (`google.protobuf.Any`) whose value is shared, not copied.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Any {
    /// Type URL of the message in `value`.
    #[prost(string, tag = "1")]
    pub type_url: String,
    /// The encoded message.
    #[prost(bytes = "bytes", tag = "2")]
    pub value: Bytes,
}

impl Any {
    /// Packs `message`.
    pub fn pack<M: prost::Message + prost::Name>(message: &M) -> Self {
        Self { type_url: M::type_url(), value: message.encode_to_vec().into() }
    }
}

/// State-of-the-world request: subscription, ACK or NACK.
#[derive(Clone, PartialEq, prost::Message)]
pub struct DiscoveryRequest {
    /// Version of the last response that was applied.
    #[prost(string, tag = "1")]
    pub version_info: String,
    /// Who asks; only needed in the first request of a stream.
    #[prost(message, optional, tag = "2")]
    pub node: Option<Node>,
    /// Resources wanted; empty means all, for listeners and clusters.
    #[prost(string, repeated, tag = "3")]
    pub resource_names: Vec<String>,
    /// Type of the resources.
    #[prost(string, tag = "4")]
    pub type_url: String,
    /// Nonce of the response that this request answers.
    #[prost(string, tag = "5")]
    pub response_nonce: String,
    /// Why the response was refused; present in a NACK.
    #[prost(message, optional, tag = "6")]
    pub error_detail: Option<Status>,
}

/// State-of-the-world response.
#[derive(Clone, PartialEq, prost::Message)]
pub struct DiscoveryResponse {
    /// Version of this set of resources.
    #[prost(string, tag = "1")]
    pub version_info: String,
    /// The resources.
    #[prost(message, repeated, tag = "2")]
    pub resources: Vec<Any>,
    /// Type of the resources.
    #[prost(string, tag = "4")]
    pub type_url: String,
    /// Nonce that the answer must repeat.
    #[prost(string, tag = "5")]
    pub nonce: String,
    /// Who serves.
    #[prost(message, optional, tag = "6")]
    pub control_plane: Option<ControlPlane>,
}

/// Delta request: subscription change, ACK or NACK.
#[derive(Clone, PartialEq, prost::Message)]
pub struct DeltaDiscoveryRequest {
    /// Who asks; only needed in the first request of a stream.
    #[prost(message, optional, tag = "1")]
    pub node: Option<Node>,
    /// Type of the resources.
    #[prost(string, tag = "2")]
    pub type_url: String,
    /// Names to subscribe to; `*` is the wildcard.
    #[prost(string, repeated, tag = "3")]
    pub resource_names_subscribe: Vec<String>,
    /// Names no longer wanted.
    #[prost(string, repeated, tag = "4")]
    pub resource_names_unsubscribe: Vec<String>,
    /// Resources the client already holds, by version; first request of a stream only.
    #[prost(btree_map = "string, string", tag = "5")]
    pub initial_resource_versions: BTreeMap<String, String>,
    /// Nonce of the response that this request answers.
    #[prost(string, tag = "6")]
    pub response_nonce: String,
    /// Why the response was refused; present in a NACK.
    #[prost(message, optional, tag = "7")]
    pub error_detail: Option<Status>,
}

/// Delta response.
#[derive(Clone, PartialEq, prost::Message)]
pub struct DeltaDiscoveryResponse {
    /// Version of the server's state, for debugging.
    #[prost(string, tag = "1")]
    pub system_version_info: String,
    /// Added and changed resources.
    #[prost(message, repeated, tag = "2")]
    pub resources: Vec<Resource>,
    /// Type of the resources.
    #[prost(string, tag = "4")]
    pub type_url: String,
    /// Nonce that the answer must repeat.
    #[prost(string, tag = "5")]
    pub nonce: String,
    /// Names of resources that are gone.
    #[prost(string, repeated, tag = "6")]
    pub removed_resources: Vec<String>,
    /// Who serves.
    #[prost(message, optional, tag = "7")]
    pub control_plane: Option<ControlPlane>,
}

/// One named resource of a delta response.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Resource {
    /// Version of the resource.
    #[prost(string, tag = "1")]
    pub version: String,
    /// The packed resource; absent when it does not exist.
    #[prost(message, optional, tag = "2")]
    pub resource: Option<Any>,
    /// Name of the resource.
    #[prost(string, tag = "3")]
    pub name: String,
    /// Other names of the resource.
    #[prost(string, repeated, tag = "4")]
    pub aliases: Vec<String>,
}
