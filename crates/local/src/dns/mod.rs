//! The cluster's DNS server, for pods with or without sidecar.

mod answer;
mod forward;
mod server;
mod zone;

pub use forward::Upstreams;
pub use server::{Sockets, Zones, serve};
pub use zone::Zone;
