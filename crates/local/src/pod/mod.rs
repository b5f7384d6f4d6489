//! The node agent: runs the pods that are bound to this node and tells the API how they are.

pub(crate) mod agent;
mod backoff;
pub(crate) mod context;
mod env;
mod etc;
pub(crate) mod fields;
mod handler;
mod hooks;
mod identity;
mod launch;
pub(crate) mod live;
mod objects;
mod probe;
pub(crate) mod quantity;
pub(crate) mod registry;
mod resolv;
mod service_links;
mod status;
mod stop;
mod unit;
#[cfg(test)]
mod unit_tests;
mod volumes;
mod worker;
