//! The proxy's shell, from outside.

mod capture;
mod data_path;
mod envoy;
mod istiod;
mod resources;
mod sidecar;
