//! What the images share about TLS.

mod accept_any;
mod server;
mod session;

pub(crate) use accept_any::AcceptAny;
pub(crate) use server::{Clients, Pair, config, own_pair, pair_of_files};
pub(crate) use session::Session;
