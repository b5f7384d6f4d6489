//! The controllers of the local cluster: each makes the world as objects of its kind want it.

mod api;
mod deployment;
mod endpoints;
pub mod object;
mod pods;
pub mod queue;
mod replica_set;
mod scheduler;
pub mod selector;
mod service_account;

pub use endpoints::SERVICE_NAME;
