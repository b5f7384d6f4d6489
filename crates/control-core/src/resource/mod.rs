//! Kubernetes and Istio objects, parsed into the narrow types that translation needs.
//!
//! Each type keeps only what translation reads, so that comparing two of them tells whether a change matters.

mod credential;
mod endpoint_slice;
mod gateway_api;
mod ingress;
mod istio;
mod key;
mod mesh_config;
mod metadata;
mod node;
mod pod;
mod service;
mod service_entry;

pub use credential::{Credential, Pair, Pem};
pub use endpoint_slice::{EndpointSlice, SliceEndpoint};
pub use gateway_api::{GatewayApi, Object};
pub use ingress::{Ingress, ROUTE_SEMANTICS, virtual_services as virtual_services_of_ingresses};
pub use istio::Config;
pub use key::{Key, Kind};
pub use mesh_config::{BadMeshConfig, MeshConfig};
pub use metadata::Meta;
pub use node::Node;
pub use pod::Pod;
pub use service::{Registry, Resolution, Service, ServicePort, TargetPort, TrafficDistribution};
pub use service_entry::services_of_entry;

use std::sync::Arc;

use lateen_api::istio as api;
use serde_json::Value;
use thiserror::Error;

/// Why an object cannot be used at all.
#[derive(Debug, Error)]
pub enum ParseError {
    /// Not a kind that the control plane reads.
    #[error("objects of kind {kind} ({api_version}) are not read")]
    UnknownKind {
        /// Its `kind`.
        kind: String,
        /// Its `apiVersion`.
        api_version: String,
    },
    /// Its content does not have the shape of its kind.
    #[error("{key}: {reason}")]
    Malformed {
        /// The object.
        key: Key,
        /// What is wrong, and where.
        reason: String,
    },
}

/// A parsed object.
#[derive(Clone, Debug, PartialEq)]
pub enum Resource {
    /// Service
    Service(Service),
    /// EndpointSlice
    EndpointSlice(EndpointSlice),
    /// Pod
    Pod(Pod),
    /// Node
    Node(Node),
    /// Namespace, only its labels and annotations.
    Namespace(Meta),
    /// The ConfigMap with the settings of the mesh.
    MeshConfig(Box<MeshConfig>),
    /// Another ConfigMap, only the roots in it (PEM).
    Roots(Option<Pem>),
    /// VirtualService
    VirtualService(Config<api::VirtualService>),
    /// DestinationRule
    DestinationRule(Config<api::DestinationRule>),
    /// Gateway
    Gateway(Config<api::Gateway>),
    /// ServiceEntry
    ServiceEntry(Config<api::ServiceEntry>),
    /// WorkloadEntry
    WorkloadEntry(Config<api::WorkloadEntry>),
    /// Sidecar
    Sidecar(Config<api::Sidecar>),
    /// PeerAuthentication
    PeerAuthentication(Config<api::PeerAuthentication>),
    /// AuthorizationPolicy
    AuthorizationPolicy(Config<api::AuthorizationPolicy>),
    /// Secret, what it holds for TLS.
    Secret(Arc<Credential>),
    /// RequestAuthentication
    RequestAuthentication(Config<api::RequestAuthentication>),
    /// Ingress
    Ingress(Box<Ingress>),
    /// IngressClass, only its controller.
    IngressClass(String),
    /// An object of the Gateway API.
    GatewayApi(Box<GatewayApi>),
}

impl Resource {
    /// The VirtualService, if it is one.
    pub fn virtual_service(&self) -> Option<&Config<api::VirtualService>> {
        if let Self::VirtualService(config) = self { Some(config) } else { None }
    }

    /// The Gateway, if it is one.
    pub fn gateway(&self) -> Option<&Config<api::Gateway>> {
        if let Self::Gateway(config) = self { Some(config) } else { None }
    }

    /// The DestinationRule, if it is one.
    pub fn destination_rule(&self) -> Option<&Config<api::DestinationRule>> {
        if let Self::DestinationRule(config) = self { Some(config) } else { None }
    }

    /// The Sidecar, if it is one.
    pub fn sidecar(&self) -> Option<&Config<api::Sidecar>> {
        if let Self::Sidecar(config) = self { Some(config) } else { None }
    }

    /// The PeerAuthentication, if it is one.
    pub fn peer_authentication(&self) -> Option<&Config<api::PeerAuthentication>> {
        if let Self::PeerAuthentication(config) = self { Some(config) } else { None }
    }

    /// The AuthorizationPolicy, if it is one.
    pub fn authorization_policy(&self) -> Option<&Config<api::AuthorizationPolicy>> {
        if let Self::AuthorizationPolicy(config) = self { Some(config) } else { None }
    }

    /// The RequestAuthentication, if it is one.
    pub fn request_authentication(&self) -> Option<&Config<api::RequestAuthentication>> {
        if let Self::RequestAuthentication(config) = self { Some(config) } else { None }
    }
}

/// Parses one object.
pub fn parse(object: Value) -> Result<(Key, Resource), ParseError> {
    let key = Key::of(&object).ok_or_else(|| ParseError::UnknownKind {
        kind: text(&object, "kind").to_owned(),
        api_version: text(&object, "apiVersion").to_owned(),
    })?;
    let parsed = parse_kind(&key, object).map_err(|reason| ParseError::Malformed { key: key.clone(), reason })?;
    Ok((key, parsed))
}

fn parse_kind(key: &Key, object: Value) -> Result<Resource, String> {
    Ok(match key.kind {
        Kind::Service => Resource::Service(service::parse(object)?),
        Kind::EndpointSlice => Resource::EndpointSlice(endpoint_slice::parse(object)?),
        Kind::Pod => Resource::Pod(pod::parse(object)?),
        Kind::Node => Resource::Node(node::parse(&object)),
        Kind::Namespace => Resource::Namespace(Meta::of(&object)),
        Kind::ConfigMap if key.is_mesh_config() => Resource::MeshConfig(Box::new(mesh_config::of_config_map(&object)?)),
        Kind::ConfigMap => Resource::Roots(credential::roots_of_config_map(&object)),
        Kind::VirtualService => Resource::VirtualService(istio::parse(object)?),
        Kind::DestinationRule => Resource::DestinationRule(istio::parse(object)?),
        Kind::Gateway => Resource::Gateway(istio::parse(object)?),
        Kind::ServiceEntry => Resource::ServiceEntry(istio::parse(object)?),
        Kind::WorkloadEntry => Resource::WorkloadEntry(istio::parse(object)?),
        Kind::Sidecar => Resource::Sidecar(istio::parse(object)?),
        Kind::PeerAuthentication => Resource::PeerAuthentication(istio::parse(object)?),
        Kind::AuthorizationPolicy => Resource::AuthorizationPolicy(istio::parse(object)?),
        Kind::Secret => Resource::Secret(Arc::new(credential::parse(&object))),
        Kind::RequestAuthentication => Resource::RequestAuthentication(istio::parse(object)?),
        Kind::Ingress => Resource::Ingress(Box::new(ingress::parse(&object))),
        Kind::IngressClass => Resource::IngressClass(ingress::parse_class(&object)),
        _ => Resource::GatewayApi(Box::new(parse_gateway_api(key.kind, object)?)),
    })
}

fn parse_gateway_api(kind: Kind, object: Value) -> Result<GatewayApi, String> {
    use gateway_api::parse;
    Ok(match kind {
        Kind::GatewayClass => GatewayApi::Class(parse(object)?),
        Kind::KubernetesGateway => GatewayApi::Gateway(parse(object)?),
        Kind::ListenerSet => GatewayApi::ListenerSet(parse(object)?),
        Kind::HttpRoute => GatewayApi::Http(parse(object)?),
        Kind::GrpcRoute => GatewayApi::Grpc(parse(object)?),
        Kind::TlsRoute => GatewayApi::Tls(parse(object)?),
        Kind::TcpRoute => GatewayApi::Tcp(parse(object)?),
        Kind::ReferenceGrant => GatewayApi::Grant(parse(object)?),
        Kind::BackendTlsPolicy => GatewayApi::BackendTls(parse(object)?),
        other => return Err(format!("kind {other:?} is not one of the Gateway API")),
    })
}

fn text<'a>(object: &'a Value, key: &str) -> &'a str {
    object.get(key).and_then(Value::as_str).unwrap_or_default()
}
