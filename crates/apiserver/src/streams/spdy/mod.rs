//! SPDY/3.1, as far as `kubectl exec`, `attach` and `port-forward` speak it: the peer opens
//! streams, both ends send data on them.

mod frame;
mod header;
mod session;

pub(super) use session::{Incoming, Session};
