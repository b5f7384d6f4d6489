//! Istio's resources as serde types, in the JSON form Kubernetes stores.
//!
//! Fields that are absent take their zero value (`serde(default)`); [`Option`] is used where presence matters.
//! Durations are strings such as `10s`.

mod destination_rule;
mod envoy_filter;
mod extensions;
mod gateway;
mod mesh_config;
mod object;
mod proxy_config;
mod security;
mod service_entry;
mod sidecar;
mod telemetry;
mod types;
mod virtual_service;

pub use destination_rule::*;
pub use envoy_filter::*;
pub use extensions::*;
pub use gateway::*;
pub use mesh_config::*;
pub use object::*;
pub use proxy_config::*;
pub use security::*;
pub use service_entry::*;
pub use sidecar::*;
pub use telemetry::*;
pub use types::*;
pub use virtual_service::*;
