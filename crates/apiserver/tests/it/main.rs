//! The server as `kubectl` sees it.

mod apply;
mod client;
mod cluster;
mod definitions;
mod durable;
mod guide;
mod hook;
mod limits;
mod lists;
mod objects;
mod policies;
mod rbac;
mod webhooks;
