use std::fmt;

use lateen_api::gateway_api::GROUP;
use serde_json::Value;

/// Kinds that the control plane reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// Service
    Service,
    /// EndpointSlice
    EndpointSlice,
    /// Pod
    Pod,
    /// Node
    Node,
    /// Namespace
    Namespace,
    /// ConfigMap: the one named `istio` has the settings of the mesh, others may have roots.
    ConfigMap,
    /// VirtualService
    VirtualService,
    /// DestinationRule
    DestinationRule,
    /// Gateway of Istio
    Gateway,
    /// ServiceEntry
    ServiceEntry,
    /// WorkloadEntry
    WorkloadEntry,
    /// Sidecar
    Sidecar,
    /// PeerAuthentication
    PeerAuthentication,
    /// AuthorizationPolicy
    AuthorizationPolicy,
    /// Secret; only what it holds for TLS.
    Secret,
    /// RequestAuthentication
    RequestAuthentication,
    /// Ingress of Kubernetes
    Ingress,
    /// IngressClass of Kubernetes
    IngressClass,
    /// GatewayClass of the Gateway API
    GatewayClass,
    /// Gateway of the Gateway API
    KubernetesGateway,
    /// ListenerSet of the Gateway API
    ListenerSet,
    /// HTTPRoute of the Gateway API
    HttpRoute,
    /// GRPCRoute of the Gateway API
    GrpcRoute,
    /// TLSRoute of the Gateway API
    TlsRoute,
    /// TCPRoute of the Gateway API
    TcpRoute,
    /// ReferenceGrant of the Gateway API
    ReferenceGrant,
    /// BackendTLSPolicy of the Gateway API
    BackendTlsPolicy,
}

/// Name of the ConfigMap with the settings of the mesh.
const MESH_CONFIG_MAP: &str = "istio";

const KINDS: [(Kind, &str, &str); 27] = [
    (Kind::Service, "", "Service"),
    (Kind::EndpointSlice, "discovery.k8s.io", "EndpointSlice"),
    (Kind::Pod, "", "Pod"),
    (Kind::Node, "", "Node"),
    (Kind::Namespace, "", "Namespace"),
    (Kind::ConfigMap, "", "ConfigMap"),
    (Kind::VirtualService, "networking.istio.io", "VirtualService"),
    (Kind::DestinationRule, "networking.istio.io", "DestinationRule"),
    (Kind::Gateway, "networking.istio.io", "Gateway"),
    (Kind::ServiceEntry, "networking.istio.io", "ServiceEntry"),
    (Kind::WorkloadEntry, "networking.istio.io", "WorkloadEntry"),
    (Kind::Sidecar, "networking.istio.io", "Sidecar"),
    (Kind::PeerAuthentication, "security.istio.io", "PeerAuthentication"),
    (Kind::AuthorizationPolicy, "security.istio.io", "AuthorizationPolicy"),
    (Kind::Secret, "", "Secret"),
    (Kind::RequestAuthentication, "security.istio.io", "RequestAuthentication"),
    (Kind::Ingress, "networking.k8s.io", "Ingress"),
    (Kind::IngressClass, "networking.k8s.io", "IngressClass"),
    (Kind::GatewayClass, GROUP, "GatewayClass"),
    (Kind::KubernetesGateway, GROUP, "Gateway"),
    (Kind::ListenerSet, GROUP, "ListenerSet"),
    (Kind::HttpRoute, GROUP, "HTTPRoute"),
    (Kind::GrpcRoute, GROUP, "GRPCRoute"),
    (Kind::TlsRoute, GROUP, "TLSRoute"),
    (Kind::TcpRoute, GROUP, "TCPRoute"),
    (Kind::ReferenceGrant, GROUP, "ReferenceGrant"),
    (Kind::BackendTlsPolicy, GROUP, "BackendTLSPolicy"),
];

impl Kind {
    /// The kind by API group and name.
    pub fn find(group: &str, name: &str) -> Option<Self> {
        KINDS.iter().find(|(_, g, n)| *g == group && *n == name).map(|(kind, ..)| *kind)
    }

    /// All kinds, with API group and name.
    pub fn all() -> impl Iterator<Item = (Self, &'static str, &'static str)> {
        KINDS.iter().copied()
    }

    /// Is it one of Istio's own kinds.
    pub fn is_istio(self) -> bool {
        self.group_and_name().0.ends_with(".istio.io")
    }

    /// Have objects of the kind no namespace.
    pub fn is_cluster_scoped(self) -> bool {
        matches!(self, Self::Node | Self::Namespace | Self::IngressClass | Self::GatewayClass)
    }

    /// Is it one of the Gateway API.
    pub fn is_gateway_api(self) -> bool {
        self.group_and_name().0 == GROUP
    }

    /// API group and name.
    pub fn group_and_name(self) -> (&'static str, &'static str) {
        KINDS.iter().find(|(kind, ..)| *kind == self).map_or(("", ""), |(_, group, name)| (group, name))
    }
}

/// One object by kind, namespace and name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// Kind.
    pub kind: Kind,
    /// Namespace; empty for cluster-scoped kinds.
    pub namespace: String,
    /// Name.
    pub name: String,
}

impl Key {
    /// A key from its parts.
    pub fn new(kind: Kind, namespace: &str, name: &str) -> Self {
        Self { kind, namespace: namespace.to_owned(), name: name.to_owned() }
    }

    /// The key of an object, if its kind is read. Istio objects without a namespace belong to `default`.
    pub fn of(object: &Value) -> Option<Self> {
        let text = |value: &Value, key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        let api_version = text(object, "apiVersion");
        let group = api_version.split_once('/').map_or("", |(group, _)| group);
        let kind = Kind::find(group, &text(object, "kind"))?;
        let metadata = object.get("metadata")?;
        let mut namespace = text(metadata, "namespace");
        if namespace.is_empty() && !kind.is_cluster_scoped() {
            namespace = "default".into();
        }
        let name = text(metadata, "name");
        Some(Self { kind, namespace, name })
    }

    /// Is it the ConfigMap with the settings of the mesh.
    pub fn is_mesh_config(&self) -> bool {
        self.kind == Kind::ConfigMap && self.name == MESH_CONFIG_MAP
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (_, kind) = self.kind.group_and_name();
        write!(f, "{kind} {}/{}", self.namespace, self.name)
    }
}
