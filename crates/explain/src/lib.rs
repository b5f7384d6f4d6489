//! A call through a proxy's tables, explained: which listener, filter chain, route and cluster, or why it fails.
//! Pure: configuration in, decision out, no socket.

pub mod call;
#[cfg(test)]
mod fixtures;
pub mod observed;
pub mod outcome;
pub mod strict;
pub mod suggest;
mod tables;
mod walk;

pub use call::Call;
pub use outcome::{Failure, Outcome};
pub use tables::{Refused, tables};
pub use walk::{Judge, explain};
