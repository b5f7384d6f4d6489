//! Istio's resources as serde types, in the JSON form Kubernetes stores.
//!
//! Fields that are absent take their zero value (`serde(default)`); [`Option`] is used where presence matters.
//! Durations are strings such as `10s`.

mod connection_pool;
mod destination_rule;
mod envoy_filter;
mod extensions;
mod gateway;
mod load_balancer;
mod mesh_config;
mod object;
mod proxy_config;
mod security;
mod service_entry;
mod sidecar;
mod telemetry;
mod types;
mod virtual_service;

pub use connection_pool::*;
pub use destination_rule::*;
pub use envoy_filter::*;
pub use extensions::*;
pub use gateway::*;
pub use load_balancer::*;
pub use mesh_config::*;
pub use object::*;
pub use proxy_config::*;
pub use security::*;
pub use service_entry::*;
pub use sidecar::*;
pub use telemetry::*;
pub use types::*;
pub use virtual_service::*;
