//! The control plane's pure core: resources in, a snapshot and xDS out. No I/O, clock, environment or randomness.

mod claims;
pub mod gateway_api;
pub mod inject;
pub mod install;
pub mod keys;
pub mod reads;
pub mod resource;
pub mod snapshot;
pub mod status;
pub mod store;
pub mod topology;
pub mod translate;
pub mod validate;
pub mod view;
