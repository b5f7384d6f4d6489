//! The data plane's decisions, pure: xDS resources are loaded into [`Tables`], and every question that the proxy asks
//! while it serves (which filter chain, which route, which endpoint, try again?) is answered by a value.
//!
//! No socket is opened here, no clock read and no die rolled: time and randomness are arguments.

pub mod balance;
pub mod chain;
pub mod cluster;
pub mod endpoint;
pub mod external;
pub mod fault;
pub mod flags;
pub mod format;
pub mod fraction;
pub mod head;
pub mod header_match;
pub mod header_ops;
pub mod http;
pub mod interner;
pub mod jwt;
pub mod listener;
pub mod load;
pub mod normalize;
pub mod outlier;
pub mod pattern;
pub mod provenance;
pub mod rbac;
pub mod retry;
pub mod route;
pub mod tables;
pub mod tls;
pub mod virtual_host;

pub use conn::{ConnInfo, Transport};
pub use flags::{Flag, Flags};
pub use head::RequestHead;
pub use tables::Tables;

mod conn;
