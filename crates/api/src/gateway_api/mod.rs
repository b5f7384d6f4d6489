//! Resources of the Kubernetes Gateway API 1.6 (`gateway.networking.k8s.io`), as far as they are served.
//!
//! Absent fields stay absent: the defaults of the API are applied where the fields are read.

mod gateway;
mod policy;
mod route;

pub use gateway::{
    AllowedListeners, AllowedRoutes, CertificateMode, FrontendTls, FrontendValidation, Gateway, GatewayAddress,
    GatewayBackendTls, GatewayClass, GatewayTls, Infrastructure, Listener, ListenerSet, ListenerTls, ParametersRef,
    PortTls, RouteKind, RouteNamespaces, Selector, SelectorRequirement, TlsFrontend,
};
pub use policy::{
    BackendTlsPolicy, BackendTlsValidation, GrantFrom, GrantTo, PolicyTarget, ReferenceGrant, SubjectAltName,
};
pub use route::{
    BackendRef, CorsFilter, Fraction, GrpcMethodMatch, GrpcRoute, GrpcRouteMatch, GrpcRouteRule, Header, HeaderFilter,
    HttpBackendRef, HttpRoute, HttpRouteMatch, HttpRouteRule, MirrorFilter, NameMatch, ParentRef, PathMatch,
    PathModifier, RedirectFilter, RewriteFilter, RouteFilter, RouteRetry, RouteTimeouts, StreamRouteRule, TcpRoute,
    TlsRoute,
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// API group of everything here.
pub const GROUP: &str = "gateway.networking.k8s.io";

/// A reference to an object, in the same namespace unless it says otherwise.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ObjectRef {
    /// API group; empty for the core group.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Kind.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Name.
    pub name: String,
    /// Namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
}
