//! What both ends of the discovery protocol promise.

mod catalog;
mod converge;
mod rules;
mod transport;
