//! The proxy's shell, from outside.

mod capture;
mod istiod;
mod resources;
mod sidecar;
