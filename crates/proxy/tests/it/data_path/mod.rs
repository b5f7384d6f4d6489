//! The data path: two proxies in one process, a client before the first, a server behind the second, mutual TLS between
//! them. Where a connection was meant to go is told by a hook, as there is no capture.

mod attacks;
mod backend;
mod errors;
mod http1;
mod http2;
mod limits;
mod mesh;
mod mirror;
mod resources;
mod retries;
mod tcp;
