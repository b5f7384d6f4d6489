//! A cluster on one machine: `lateen up` starts a Kubernetes-compatible API server, controllers,
//! Services, DNS and a node agent that runs pods as local processes with real network namespaces.

mod async_file;
pub mod clock;
mod cluster;
mod container;
pub mod controllers;
pub mod dns;
pub mod events;
mod launcher;
mod network;
mod node_object;
mod paths;
mod pod;
pub mod reexec;
mod runtime;
mod sandbox;
pub mod services;

mod image;
mod options;
mod stage;

pub use image::{Image, ImageResolver};
pub use launcher::{Down, Progress, Status, UpError, down, status, up};
pub use options::{Install, UpOptions};

/// Name of the one node.
pub const NODE_NAME: &str = "lateen";
/// The Kubernetes version that the node agent behaves like.
pub(crate) const KUBELET_VERSION: &str = concat!("v1.33.0+lateen-", env!("CARGO_PKG_VERSION"));
