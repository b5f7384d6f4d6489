//! The run directory: a lock that says whether a cluster runs, and a file that says which.

use std::fs::{self, DirBuilder, File, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::UpError;
use crate::paths::Home;

/// A running launcher as others see it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Running {
    pub(crate) pid: i32,
    pub(crate) api: String,
    pub(crate) ready: bool,
    pub(crate) started: jiff::Timestamp,
}

/// The lock of a state directory; whoever holds it is the cluster.
#[derive(Debug)]
pub(crate) struct Lock {
    home: Home,
    _file: File,
}

impl Lock {
    /// Takes the lock, making the state directory; `None` when a cluster runs.
    pub(crate) fn take(home: &Home) -> Result<Option<Lock>, UpError> {
        for dir in [home.root().to_owned(), home.run(), home.root().join("logs")] {
            make_dir(&dir).map_err(|e| UpError::state(&dir, e))?;
        }
        let path = home.lock();
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(|e| UpError::state(&path, e))?;
        match file.try_lock() {
            Ok(()) if is_at(&file, &path) => Ok(Some(Lock { home: home.clone(), _file: file })),
            // It was let go and removed in the meantime.
            Ok(()) => Self::take(home),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(e)) => Err(UpError::state(&path, e)),
        }
    }

    /// Says who runs.
    pub(crate) fn publish(&self, running: &Running) -> Result<(), UpError> {
        let path = self.home.running();
        let temporary = path.with_extension("new");
        serde_json::to_vec(running)
            .map_err(io::Error::from)
            .and_then(|bytes| fs::write(&temporary, bytes))
            .and_then(|()| fs::rename(&temporary, &path))
            .map_err(|e| UpError::state(&path, e))
    }
}

impl Drop for Lock {
    /// Removes what exists only while a cluster runs. The lock goes last: whoever finds none may start at once.
    fn drop(&mut self) {
        let (run, lock) = (self.home.run(), self.home.lock());
        for path in fs::read_dir(&run).into_iter().flatten().flatten().map(|entry| entry.path()) {
            if path != lock {
                let _ = fs::remove_file(&path).or_else(|_| fs::remove_dir_all(&path));
            }
        }
        let _ = fs::remove_file(&lock);
        let _ = fs::remove_dir(&run);
        remove_unused(&self.home);
    }
}

/// Whether an open file is the one at a path, not one that was there before.
fn is_at(file: &File, path: &Path) -> bool {
    let id = |found: &fs::Metadata| (found.dev(), found.ino());
    matches!((file.metadata(), fs::metadata(path)), (Ok(open), Ok(there)) if id(&open) == id(&there))
}

/// Removes what a start left that came to nothing: an empty log and empty directories.
fn remove_unused(home: &Home) {
    let log = home.log();
    if fs::metadata(&log).is_ok_and(|found| found.len() == 0) && !home.server().exists() {
        let _ = fs::remove_file(&log);
    }
    for directory in log.parent().into_iter().chain([home.root()]) {
        let _ = fs::remove_dir(directory);
    }
}

/// Who runs in this state directory, if anyone.
pub(crate) fn running(home: &Home) -> Option<Running> {
    let file = File::options().write(true).open(home.lock()).ok()?;
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => {}
        _ => return None,
    }
    serde_json::from_slice(&fs::read(home.running()).ok()?).ok()
}

fn make_dir(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_that_was_removed_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let old = File::create(&path).unwrap();
        assert!(is_at(&old, &path));
        fs::remove_file(&path).unwrap();
        assert!(!is_at(&old, &path));
        let new = File::create(&path).unwrap();
        assert!(is_at(&new, &path) && !is_at(&old, &path));
    }

    #[test]
    fn only_one_cluster_runs_in_a_state_directory_and_leaves_no_run_files() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::new(dir.path().join("home"));
        let lock = Lock::take(&home).unwrap().unwrap();
        let me = Running { pid: 7, api: "x".into(), ready: true, started: jiff::Timestamp::UNIX_EPOCH };
        lock.publish(&me).unwrap();
        assert!(Lock::take(&home).unwrap().is_none());
        assert_eq!(running(&home).unwrap().pid, 7);
        drop(lock);
        assert!(running(&home).is_none());
        assert!(!home.root().exists());
    }
}
