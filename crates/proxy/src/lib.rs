//! The data plane's shell: capture, listeners, TLS, HTTP, pools, DNS, telemetry, admin, drain.

pub mod capture;
pub mod resolv_conf;
