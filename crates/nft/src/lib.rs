//! nf_tables rules as values.
//!
//! A [`Ruleset`] is built from plain values, shown as nft syntax with [`Ruleset::render`], and put into the
//! kernel with [`apply`], which replaces our tables (and only those) in one transaction over netlink in the
//! network namespace of the calling thread. No `nft` binary is involved.

mod apply;
pub mod conntrack;
mod encode;
mod expr;
mod render;
mod table;

pub use apply::{Error, Owned, apply, apply_owned, delete_table, update};
pub use expr::{CtState, Dir, Expr, L4, Op, Owner, Ports, Spread, Verdict};
pub use table::{Chain, Family, Hook, HookKind, MapKey, Policy, Rule, Ruleset, SourceSet, Table, VerdictMap, priority};
