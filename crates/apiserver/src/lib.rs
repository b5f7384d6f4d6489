//! A Kubernetes-compatible API server that keeps its objects in one database file.

mod admission;
mod apply;
pub mod auth;
pub mod cel;
pub mod client;
pub mod clock;
pub mod config;
pub mod cron;
mod engine;
#[cfg(test)]
mod fuzz;
pub mod gvr;
mod http_front;
pub mod object;
mod patch;
mod pki;
mod protobuf;
mod registry;
mod rules;
pub mod runtime;
mod schema;
pub mod selector;
pub mod server;
pub mod status;
mod store;
pub mod streams;
mod table;

pub use client::{Client, DeleteOptions, Event, EventType, List, ListOptions, PatchType, Watch};
pub use config::Config;
pub use gvr::Gvr;
pub use object::Object;
pub use server::Server;
pub use status::Status;
