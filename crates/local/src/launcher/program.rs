//! The cluster's own name for the program it was started from. Containers mount the program, and a file that was replaced,
//! as an upgrade or a build does, can't be mounted any more.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use nix::sys::statvfs::{FsFlags, statvfs};

use crate::paths::Home;

/// The running program, wherever its file is by now.
const SELF: &str = "/proc/self/exe";

/// Gives the program a name in the state directory and answers it. Where that can't be, the cluster runs from the file that
/// there is, and starts no containers any more once that is replaced.
pub(super) fn keep(home: &Home) -> PathBuf {
    let kept = home.program();
    match put(&kept) {
        Ok(()) => kept,
        Err(error) => {
            tracing::warn!(path = %kept.display(), %error, "don't replace the program while the cluster runs: it can't be kept");
            SELF.into()
        }
    }
}

fn put(kept: &Path) -> io::Result<()> {
    if kept.parent().map(statvfs).transpose()?.is_some_and(|found| found.flags().contains(FsFlags::ST_NOEXEC)) {
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, "nothing there can be executed"));
    }
    match fs::remove_file(kept) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    // Another file system, or somebody else's file: then it takes a copy.
    let linked = std::env::current_exe().and_then(|program| fs::hard_link(program, kept));
    linked.or_else(|_| fs::copy(SELF, kept).map(drop))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_has_a_second_name_each_time() {
        let root = tempfile::tempdir().unwrap();
        let home = Home::new(root.path());
        fs::create_dir_all(home.run()).unwrap();
        for _ in 0..2 {
            assert_eq!(keep(&home), home.program());
            assert_eq!(fs::metadata(home.program()).unwrap().len(), fs::metadata(SELF).unwrap().len());
        }
        assert_eq!(keep(&Home::new(root.path().join("missing"))), Path::new(SELF));
    }
}
