//! Waiting for files that tokio has no type for: process descriptors and terminals.

use std::fs::File;
use std::io;

use tokio::io::unix::AsyncFd;

/// A file that can be waited for.
// `new` is deprecated because a type of one's own may lie about its descriptor. `File` owns its.
#[allow(deprecated)]
pub(crate) fn watched(file: File) -> io::Result<AsyncFd<File>> {
    AsyncFd::new(file)
}
