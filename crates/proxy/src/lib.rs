//! The data plane's shell: capture, listeners, TLS, HTTP, pools, DNS, telemetry, admin, drain.

pub mod admin;
mod backoff;
pub mod capture;
pub mod certs;
pub mod config;
pub mod control_plane;
pub mod dns;
pub mod local_http;
pub mod logging;
pub mod peer;
pub mod readiness;
pub mod record;
pub mod resolv_conf;
pub mod state;
pub mod status;
pub mod telemetry;
pub mod xds_client;
