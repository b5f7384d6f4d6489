//! The kinds that istiod watches.

use kube::core::ApiResource;
use lateen_control_core::resource;

/// Which namespaces a kind is watched in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// The kind has no namespaces.
    Cluster,
    /// All namespaces.
    Namespaced,
}

/// A kind of object in the Kubernetes API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Kind {
    /// API group; empty for the core group.
    pub group: &'static str,
    /// Version.
    pub version: &'static str,
    /// Kind.
    pub kind: &'static str,
    /// Name in URLs.
    pub plural: &'static str,
    /// Which namespaces to watch.
    pub scope: Scope,
}

const fn kind(
    group: &'static str,
    version: &'static str,
    kind: &'static str,
    plural: &'static str,
    scope: Scope,
) -> Kind {
    Kind { group, version, kind, plural, scope }
}

const NETWORKING: &str = "networking.istio.io";
const SECURITY: &str = "security.istio.io";
const GATEWAY_API: &str = lateen_api::gateway_api::GROUP;

/// Everything that istiod could read, if the core has a use for it.
const KINDS: &[Kind] = &[
    kind("", "v1", "Namespace", "namespaces", Scope::Cluster),
    kind("", "v1", "Node", "nodes", Scope::Cluster),
    kind("", "v1", "Pod", "pods", Scope::Namespaced),
    kind("", "v1", "Service", "services", Scope::Namespaced),
    kind("discovery.k8s.io", "v1", "EndpointSlice", "endpointslices", Scope::Namespaced),
    kind("", "v1", "Secret", "secrets", Scope::Namespaced),
    kind("networking.k8s.io", "v1", "Ingress", "ingresses", Scope::Namespaced),
    kind("networking.k8s.io", "v1", "IngressClass", "ingressclasses", Scope::Cluster),
    kind("", "v1", "ConfigMap", "configmaps", Scope::Namespaced),
    kind(GATEWAY_API, "v1", "GatewayClass", "gatewayclasses", Scope::Cluster),
    kind(GATEWAY_API, "v1", "Gateway", "gateways", Scope::Namespaced),
    kind(GATEWAY_API, "v1", "ListenerSet", "listenersets", Scope::Namespaced),
    kind(GATEWAY_API, "v1", "HTTPRoute", "httproutes", Scope::Namespaced),
    kind(GATEWAY_API, "v1", "GRPCRoute", "grpcroutes", Scope::Namespaced),
    kind(GATEWAY_API, "v1", "TLSRoute", "tlsroutes", Scope::Namespaced),
    kind(GATEWAY_API, "v1", "TCPRoute", "tcproutes", Scope::Namespaced),
    kind(GATEWAY_API, "v1", "ReferenceGrant", "referencegrants", Scope::Namespaced),
    kind(GATEWAY_API, "v1", "BackendTLSPolicy", "backendtlspolicies", Scope::Namespaced),
    kind(NETWORKING, "v1", "VirtualService", "virtualservices", Scope::Namespaced),
    kind(NETWORKING, "v1", "DestinationRule", "destinationrules", Scope::Namespaced),
    kind(NETWORKING, "v1", "Gateway", "gateways", Scope::Namespaced),
    kind(NETWORKING, "v1", "ServiceEntry", "serviceentries", Scope::Namespaced),
    kind(NETWORKING, "v1", "WorkloadEntry", "workloadentries", Scope::Namespaced),
    kind(NETWORKING, "v1", "WorkloadGroup", "workloadgroups", Scope::Namespaced),
    kind(NETWORKING, "v1", "Sidecar", "sidecars", Scope::Namespaced),
    kind(NETWORKING, "v1alpha3", "EnvoyFilter", "envoyfilters", Scope::Namespaced),
    kind(NETWORKING, "v1beta1", "ProxyConfig", "proxyconfigs", Scope::Namespaced),
    kind(SECURITY, "v1", "PeerAuthentication", "peerauthentications", Scope::Namespaced),
    kind(SECURITY, "v1", "RequestAuthentication", "requestauthentications", Scope::Namespaced),
    kind(SECURITY, "v1", "AuthorizationPolicy", "authorizationpolicies", Scope::Namespaced),
    kind("telemetry.istio.io", "v1", "Telemetry", "telemetries", Scope::Namespaced),
    kind("extensions.istio.io", "v1alpha1", "WasmPlugin", "wasmplugins", Scope::Namespaced),
];

impl Kind {
    /// `apiVersion` of its objects.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.to_owned() } else { format!("{}/{}", self.group, self.version) }
    }

    /// How the client library names it.
    pub fn resource(&self) -> ApiResource {
        ApiResource {
            group: self.group.to_owned(),
            version: self.version.to_owned(),
            api_version: self.api_version(),
            kind: self.kind.to_owned(),
            plural: self.plural.to_owned(),
        }
    }

    /// Whether translation reads it.
    pub fn is_read(&self) -> bool {
        resource::Kind::find(self.group, self.kind).is_some()
    }

    /// Whether istiod writes the status of such objects.
    pub fn reports(&self) -> bool {
        self.is_istio() || self.group == GATEWAY_API
    }

    /// Whether this is one of Istio's own kinds.
    pub fn is_istio(&self) -> bool {
        self.group.ends_with(".istio.io")
    }
}

/// The kinds to watch: those that translation reads, and those of Istio's whose objects are told that they have no
/// effect.
pub fn watched() -> impl Iterator<Item = &'static Kind> {
    KINDS.iter().filter(|kind| kind.is_istio() || kind.is_read())
}
