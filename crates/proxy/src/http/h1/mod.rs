//! HTTP/1 on our own codec: heads are read in place and written in one pass.

pub mod chunked;
pub mod parse;
pub mod request;
pub mod response;
pub mod server;
pub mod write;
