//! One shape for the messages of both protocol variants.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use lateen_api::discovery::{
    Any, DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse, Node, Resource,
};

/// An encoded resource, shared by every session that serves it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The name a client subscribes to.
    pub name: Arc<str>,
    /// Changes exactly when the content changes.
    pub version: Arc<str>,
    /// Type URL of the body; that of the response.
    pub type_url: Arc<str>,
    /// The encoded message, without its `Any` envelope.
    pub body: Bytes,
}

/// What a client sent, in either variant.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// Who asks; only in the first request of a stream.
    pub node: Option<Node>,
    /// Which type of resource this is about.
    pub type_url: String,
    /// The nonce of the response that this acknowledges or refuses; empty otherwise.
    pub nonce: String,
    /// Why the response was refused.
    pub error: Option<String>,
    /// The change of subscription.
    pub names: Names,
}

/// How a request states its subscription.
#[derive(Clone, Debug)]
pub enum Names {
    /// Incremental: what to add and to drop, and what the client still holds from before.
    Delta {
        /// Names to add.
        subscribe: Vec<String>,
        /// Names to drop.
        unsubscribe: Vec<String>,
        /// Versions that the client holds from an earlier stream.
        held: HashMap<String, String>,
    },
    /// State of the world: the complete list.
    Full(Vec<String>),
}

impl Default for Names {
    fn default() -> Self {
        Names::Full(Vec::new())
    }
}

impl From<DeltaDiscoveryRequest> for Request {
    fn from(request: DeltaDiscoveryRequest) -> Self {
        Request {
            node: request.node,
            type_url: request.type_url,
            nonce: request.response_nonce,
            error: request.error_detail.map(|status| status.message),
            names: Names::Delta {
                subscribe: request.resource_names_subscribe,
                unsubscribe: request.resource_names_unsubscribe,
                held: request.initial_resource_versions.into_iter().collect(),
            },
        }
    }
}

impl From<DiscoveryRequest> for Request {
    fn from(request: DiscoveryRequest) -> Self {
        Request {
            node: request.node,
            type_url: request.type_url,
            nonce: request.response_nonce,
            error: request.error_detail.map(|status| status.message),
            names: Names::Full(request.resource_names),
        }
    }
}

/// What to send to a client, in either variant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// Which type of resource this is about.
    pub type_url: Arc<str>,
    /// The nonce that the client's answer will carry.
    pub nonce: String,
    /// Version of the whole, for the state-of-the-world variant and for logs.
    pub version: String,
    /// New or changed resources (incremental), or all of them (state of the world).
    pub resources: Vec<Entry>,
    /// Names that are gone; only in the incremental variant.
    pub removed: Vec<Arc<str>>,
}

/// The whole message at once; a stream carries it in pieces.
impl From<Response> for DeltaDiscoveryResponse {
    fn from(response: Response) -> Self {
        DeltaDiscoveryResponse {
            system_version_info: response.version,
            resources: response.resources.into_iter().map(resource).collect(),
            type_url: response.type_url.to_string(),
            removed_resources: response.removed.iter().map(|name| name.to_string()).collect(),
            nonce: response.nonce,
            ..Default::default()
        }
    }
}

/// The whole message at once; a stream carries it in pieces.
impl From<Response> for DiscoveryResponse {
    fn from(response: Response) -> Self {
        DiscoveryResponse {
            version_info: response.version,
            resources: response.resources.into_iter().map(any).collect(),
            type_url: response.type_url.to_string(),
            nonce: response.nonce,
            ..Default::default()
        }
    }
}

fn resource(entry: Entry) -> Resource {
    Resource {
        name: entry.name.to_string(),
        version: entry.version.to_string(),
        resource: Some(any(entry)),
        ..Default::default()
    }
}

fn any(entry: Entry) -> Any {
    Any { type_url: entry.type_url.to_string(), value: entry.body }
}
