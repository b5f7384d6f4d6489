use std::sync::Arc;

use lateen_api::gateway_api as api;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::istio::drop_nulls;
use super::metadata::Meta;

/// An object of the Gateway API.
#[derive(Clone, Debug, PartialEq)]
pub struct Object<T> {
    /// Name, labels and age.
    pub meta: Meta,
    /// Its identity, for objects that belong to it.
    pub uid: String,
    /// Counts changes of what is wanted.
    pub generation: i64,
    /// What is wanted.
    pub spec: Arc<T>,
}

/// An object of the Gateway API.
#[derive(Clone, Debug, PartialEq)]
pub enum GatewayApi {
    /// GatewayClass
    Class(Object<api::GatewayClass>),
    /// Gateway
    Gateway(Object<api::Gateway>),
    /// ListenerSet
    ListenerSet(Object<api::ListenerSet>),
    /// HTTPRoute
    Http(Object<api::HttpRoute>),
    /// GRPCRoute
    Grpc(Object<api::GrpcRoute>),
    /// TLSRoute
    Tls(Object<api::TlsRoute>),
    /// TCPRoute
    Tcp(Object<api::TcpRoute>),
    /// ReferenceGrant
    Grant(Object<api::ReferenceGrant>),
    /// BackendTLSPolicy
    BackendTls(Object<api::BackendTlsPolicy>),
}

/// Reads an object. Explicit nulls count as absent.
pub(super) fn parse<T: DeserializeOwned + Default>(mut object: Value) -> Result<Object<T>, String> {
    let meta = Meta::of(&object);
    let text = |at: &str| object.pointer(at).and_then(Value::as_str).unwrap_or_default().to_owned();
    let uid = text("/metadata/uid");
    let generation = object.pointer("/metadata/generation").and_then(Value::as_i64).unwrap_or(0);
    let mut spec = object.get_mut("spec").map(Value::take).unwrap_or_default();
    drop_nulls(&mut spec);
    let spec =
        if spec.is_null() { T::default() } else { serde_json::from_value(spec).map_err(|e| format!("spec: {e}"))? };
    Ok(Object { meta, uid, generation, spec: Arc::new(spec) })
}
