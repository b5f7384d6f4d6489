//! The namespaces that hold the whole cluster: how they are made, and what runs in them.

pub(crate) mod channel;
pub(crate) mod enter;
pub(crate) mod init;
pub(crate) mod message;
pub(crate) mod node;
pub(crate) mod outside;
