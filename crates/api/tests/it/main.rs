//! Behaviour of the wire and resource types.

mod crd;
mod wire;
