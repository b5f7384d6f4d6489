//! Rules as an NFNETLINK batch.

mod message;
mod number;
mod rule;
mod ruleset;
mod set;

pub(crate) use message::{Batch, Part};
pub(crate) use ruleset::{Mode, delete_table, replace, update};
