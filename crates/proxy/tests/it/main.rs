//! The proxy's shell, from outside.

mod capture;
mod envoy;
mod istiod;
mod resources;
mod sidecar;
