//! The discovery protocol (Envoy's xDS v3), both ends.
//!
//! [`server::Session`] and [`client::Session`] are pure state machines: they take messages and
//! return messages, and know neither sockets nor time. [`server::AdsServer`] and [`client::run`]
//! put them on gRPC.

pub mod client;
pub mod server;

/// Name that subscribes to every resource of a type.
pub const WILDCARD: &str = "*";

/// Largest message either end accepts.
pub const MAX_MESSAGE_BYTES: usize = 256 << 20;

/// HTTP/2 window to set on both ends of a connection that carries xDS.
///
/// h2 closes a connection that sends many small DATA frames relative to this window.
pub const HTTP2_WINDOW_BYTES: u32 = 16 << 20;
