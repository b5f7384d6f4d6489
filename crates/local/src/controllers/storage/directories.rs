//! The directories behind the volumes.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Where the directories lie.
#[derive(Debug, Clone)]
pub struct Directories {
    root: PathBuf,
}

impl Directories {
    /// Directories below `root`.
    #[must_use]
    pub fn new(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// The directory of a volume.
    #[must_use]
    pub fn path(&self, volume: &str) -> PathBuf {
        self.root.join(volume)
    }

    /// Make a volume's directory; every user of every pod may write to it.
    pub async fn make(&self, volume: &str) -> io::Result<()> {
        let path = self.path(volume);
        blocking(move || {
            fs::create_dir_all(&path)?;
            fs::set_permissions(&path, fs::Permissions::from_mode(0o777))
        })
        .await
    }

    /// Remove a volume's directory with everything in it; that it is gone already is fine.
    pub async fn remove(&self, volume: &str) -> io::Result<()> {
        let path = self.path(volume);
        blocking(move || match fs::remove_dir_all(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        })
        .await
    }
}

async fn blocking(work: impl FnOnce() -> io::Result<()> + Send + 'static) -> io::Result<()> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_directory_goes_with_what_is_in_it() {
        let root = tempfile::tempdir().unwrap();
        let directories = Directories::new(&root.path().join("volumes"));
        directories.make("pvc-1").await.unwrap();
        let path = directories.path("pvc-1");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o777);
        fs::write(path.join("file"), "data").unwrap();
        directories.make("pvc-1").await.unwrap();
        assert!(path.join("file").exists());
        directories.remove("pvc-1").await.unwrap();
        assert!(!path.exists());
        directories.remove("pvc-1").await.unwrap();
    }
}
