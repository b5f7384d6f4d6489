//! The server as `kubectl` sees it.

mod client;
mod cluster;
mod durable;
mod guide;
mod objects;
mod webhooks;
