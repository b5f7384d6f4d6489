//! A Kubernetes-compatible API server that keeps its objects in one database file.

pub mod config;
pub mod gvr;
pub mod object;
pub mod runtime;
pub mod status;
pub mod streams;

pub use config::Config;
pub use gvr::Gvr;
pub use object::Object;
pub use status::Status;
