//! The discovery service.

mod cache;
mod catalog;
mod clients;
mod connection;
mod secrets;
mod service;
mod version;

pub use cache::Caches;
pub use clients::{ClientGuard, ClientStatus, Clients};
pub use service::{Discovery, Shared};
