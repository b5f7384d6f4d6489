//! Wire and resource types: Envoy's v3 API, the discovery envelopes, Istio's and the Gateway API's resources, the CA service and the
//! name table. Types only, no logic.

/// Envoy's protobuf types (`envoy::config`, `envoy::extensions`, …) and the `google` and `xds` types they use.
pub use envoy_types::pb as envoy;
/// Google's protobuf types as Envoy's messages use them.
pub use envoy_types::pb::google;

pub mod ca;
pub mod crd;
pub mod discovery;
pub mod gateway_api;
pub mod istio;
pub mod nds;
pub mod type_url;
pub mod typed_struct;
