//! Writing a volume's files so that a program sees all of an update or nothing of it.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Component, Path};

/// One file of a volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct VolumeFile {
    pub(crate) data: Vec<u8>,
    pub(crate) mode: u32,
}

/// The files of a volume by their path.
pub(crate) type Files = BTreeMap<String, VolumeFile>;

/// The link that a program's view of the files goes through.
const CURRENT: &str = "..data";

/// Makes the directory show `files`, and only these. `group` is given the files where it is set.
pub(crate) fn publish(directory: &Path, files: &Files, group: Option<u32>) -> io::Result<()> {
    fs::create_dir_all(directory)?;
    let current = directory.join(CURRENT);
    let old = fs::read_link(&current).ok();
    let version = format!("..{}", jiff::Timestamp::now().as_nanosecond());
    let target = directory.join(&version);
    for (path, file) in files {
        write(&target, path, file, group)?;
    }
    fs::create_dir_all(&target)?;
    let staged = directory.join("..data_tmp");
    let _ = fs::remove_file(&staged);
    symlink(&version, &staged)?;
    fs::rename(&staged, &current)?;
    link_names(directory, files)?;
    if let Some(old) = old {
        fs::remove_dir_all(directory.join(old))?;
    }
    Ok(())
}

fn write(target: &Path, path: &str, file: &VolumeFile, group: Option<u32>) -> io::Result<()> {
    let relative = Path::new(path);
    if !relative.components().all(|part| matches!(part, Component::Normal(_))) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("{path:?} leads outside")));
    }
    let full = target.join(relative);
    if let Some(parent) = full.parent() {
        fs::create_dir_all(parent)?;
    }
    fs::write(&full, &file.data)?;
    if let Some(group) = group {
        std::os::unix::fs::chown(&full, None, Some(group))?;
    }
    let mode = if group.is_some() { file.mode | 0o440 } else { file.mode };
    fs::set_permissions(&full, fs::Permissions::from_mode(mode))
}

/// Gives every first part of a path a link to what `..data` shows, and removes other links.
fn link_names(directory: &Path, files: &Files) -> io::Result<()> {
    let first = |path: &str| path.split('/').next().unwrap_or_default().to_owned();
    let names: std::collections::BTreeSet<String> = files.keys().map(|path| first(path)).collect();
    for entry in fs::read_dir(directory)?.flatten() {
        let name = entry.file_name();
        let known = name.to_str().is_some_and(|name| name.starts_with("..") || names.contains(name));
        // A directory is the mount point of a volume inside this one.
        if !known && entry.file_type()?.is_symlink() {
            fs::remove_file(entry.path())?;
        }
    }
    for name in names {
        let link = directory.join(&name);
        if fs::symlink_metadata(&link).is_err() {
            symlink(Path::new(CURRENT).join(&name), &link)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> VolumeFile {
        VolumeFile { data: text.into(), mode: 0o640 }
    }

    #[test]
    fn an_update_replaces_all_files() {
        let dir = tempfile::tempdir().unwrap();
        let read = |name: &str| fs::read_to_string(dir.path().join(name)).ok();
        let first = Files::from([("a".into(), file("1")), ("d/b".into(), file("2"))]);
        publish(dir.path(), &first, None).unwrap();
        assert_eq!((read("a"), read("d/b")), (Some("1".into()), Some("2".into())));
        assert_eq!(fs::metadata(dir.path().join("a")).unwrap().permissions().mode() & 0o777, 0o640);
        publish(dir.path(), &Files::from([("c".into(), file("3"))]), None).unwrap();
        assert_eq!((read("a"), read("d/b"), read("c")), (None, None, Some("3".into())));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 3);
    }

    #[test]
    fn paths_stay_inside_the_volume() {
        let dir = tempfile::tempdir().unwrap();
        for path in ["../x", "/etc/x", "a/../../x"] {
            let files = Files::from([(path.to_owned(), file("1"))]);
            assert!(publish(dir.path(), &files, None).is_err(), "{path}");
        }
    }
}
