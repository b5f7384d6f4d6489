//! Writes into the status of objects what became of them.
//!
//! [`Statuses`] holds two things of each object: the status that it has, as the watches saw it, and how to make the one
//! that it should have. [`write`] writes where the two differ, so that our own writes, when the watches bring them back,
//! cause nothing; and it writes one object the more rarely the more often others undo it. [`judge`] is what makes the
//! status of Istio's objects.

mod board;
mod findings;
mod patch;
mod writer;

pub use board::{Current, Make, Statuses};
pub(crate) use findings::disclaim;
pub use findings::judge;
pub use writer::write;
