//! The tool in the operator's hand: what proxies and control plane hold, asked through the user's `kubectl`.

pub mod authz;
pub mod kubectl;
pub mod mtls;
pub mod observe;
pub mod proxy_config;
pub mod proxy_status;
pub mod request;
pub mod version;
