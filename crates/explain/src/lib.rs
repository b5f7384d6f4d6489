//! A call through a proxy's tables, explained: which listener, filter chain, route and cluster, or why it fails.
//! Pure: configuration in, decision out, no socket.

pub mod call;
pub mod outcome;
mod walk;

pub use call::Call;
pub use outcome::{Failure, Outcome};
pub use walk::{Judge, explain};
