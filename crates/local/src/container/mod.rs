//! Containers: processes with mount and PID namespaces of their own inside their pod's network,
//! IPC and UTS namespaces.

pub(crate) mod console;
pub(crate) mod create;
mod devices;
mod etc;
pub(crate) mod exec;
mod identity;
pub(crate) mod init;
pub(crate) mod log;
pub(crate) mod log_read;
pub(crate) mod mounts;
mod rootfs;
pub(crate) mod running;
pub(crate) mod spec;
pub(crate) mod terminal;
