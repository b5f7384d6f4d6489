//! The receiving end: incremental discovery.

mod handle;
mod session;
mod transport;

pub use handle::{Subscriptions, Wanted};
pub use session::{Apply, Rejected, Session, Update};
pub use transport::{Backoff, BoxError, Connect, Connected, Observer, run};
