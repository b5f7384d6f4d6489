//! Bind mounts that keep the flags which a sandbox without privileges can't take away.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use nix::fcntl::{OFlag, open, openat};
use nix::mount::{MsFlags, mount};
use nix::sys::stat::Mode;
use nix::sys::statvfs::{FsFlags, statvfs};

use super::init::OLD_ROOT;
use super::spec::Volume;

const NONE: Option<&str> = None;

/// Makes `source` visible at `target`, which exists.
pub(crate) fn bind(source: &Path, target: &Path, read_only: bool) -> io::Result<()> {
    mount(Some(source), target, NONE, MsFlags::MS_BIND | MsFlags::MS_REC, NONE)?;
    if read_only { remount_read_only(target) } else { Ok(()) }
}

/// Makes a mount point read-only, leaving its other flags.
pub(super) fn remount_read_only(target: &Path) -> io::Result<()> {
    let flags = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY | kept(target)?;
    Ok(mount(NONE, target, NONE, flags, NONE)?)
}

/// Flags of the mount that may be locked, and so must be repeated.
fn kept(target: &Path) -> io::Result<MsFlags> {
    let has = statvfs(target)?.flags();
    let mut flags = MsFlags::empty();
    for (bit, flag) in [
        (FsFlags::ST_NOSUID, MsFlags::MS_NOSUID),
        (FsFlags::ST_NODEV, MsFlags::MS_NODEV),
        (FsFlags::ST_NOEXEC, MsFlags::MS_NOEXEC),
        (FsFlags::ST_NOATIME, MsFlags::MS_NOATIME),
        (FsFlags::ST_NODIRATIME, MsFlags::MS_NODIRATIME),
        (FsFlags::ST_RELATIME, MsFlags::MS_RELATIME),
    ] {
        if has.contains(bit) {
            flags |= flag;
        }
    }
    Ok(flags)
}

/// Makes every mount at and below a directory read-only.
pub(super) fn tree_read_only(top: &Path) -> io::Result<()> {
    for point in points_below(&fs::read_to_string("/proc/self/mountinfo")?, top) {
        match remount_read_only(&point) {
            // A mount hidden below another can't be reached, from inside neither.
            Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::InvalidInput) => {}
            Err(e) if e.raw_os_error() == Some(nix::errno::Errno::EACCES as i32) => {}
            other => other?,
        }
    }
    Ok(())
}

fn points_below(mountinfo: &str, top: &Path) -> Vec<PathBuf> {
    let points = mountinfo.lines().filter_map(|line| line.split(' ').nth(4)).map(unescape);
    points.filter(|point| point.starts_with(top)).collect()
}

/// Undoes the octal escapes of mountinfo.
fn unescape(field: &str) -> PathBuf {
    let mut text = field.to_owned();
    for (escape, plain) in [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")] {
        text = text.replace(escape, plain);
    }
    PathBuf::from(text)
}

/// Mounts a volume, still writable: a volume may have to hold the mount point of another. The
/// container's root is the root already, so that links in the target's path lead nowhere else; the
/// source is seen below the old root, but for `/proc`: the node's would show the processes of all pods,
/// so a volume of it shows the container's own.
pub(super) fn volume(volume: &Volume) -> io::Result<()> {
    let of_node = Path::new("/").join(OLD_ROOT);
    let root = if volume.source.starts_with("/proc") { Path::new("/") } else { &of_node };
    let source = open_plain(root, &volume.source)?;
    let target = volume_target(volume);
    if source.metadata()?.is_dir() {
        fs::create_dir_all(&target)?;
    } else if !target.exists() {
        touch(&target)?;
    }
    bind(Path::new(&format!("/proc/self/fd/{}", source.as_raw_fd())), &target, false)
}

/// Opens the absolute `path` as it is seen below `root`, and follows no link: the path was checked without any, so one
/// that is there now was put there by somebody who can write to a volume, to be led elsewhere.
fn open_plain(root: &Path, path: &Path) -> io::Result<File> {
    let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let mut at = File::from(open(root, flags, Mode::empty())?);
    for part in path.strip_prefix("/").unwrap_or(path).components() {
        at = File::from(openat(&at, part.as_os_str(), flags, Mode::empty())?);
        if at.metadata()?.is_symlink() {
            return Err(io::Error::other(format!("{} leads through a link", path.display())));
        }
    }
    Ok(at)
}

/// Makes a mounted volume read-only if it is to be.
pub(super) fn seal_volume(volume: &Volume) -> io::Result<()> {
    if volume.read_only { remount_read_only(&volume_target(volume)) } else { Ok(()) }
}

fn volume_target(volume: &Volume) -> PathBuf {
    Path::new("/").join(&volume.target)
}

/// An empty file to mount another file on.
pub(super) fn touch(path: &Path) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    File::create(path).map(drop)
}

/// The absolute `path` as it is seen below `root`.
pub(super) fn inside(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_opened_only_where_no_link_is_on_the_way() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("a/b")).unwrap();
        fs::write(root.path().join("a/b/file"), "x").unwrap();
        std::os::unix::fs::symlink("a", root.path().join("link")).unwrap();
        std::os::unix::fs::symlink("b", root.path().join("a/last")).unwrap();
        assert!(open_plain(root.path(), Path::new("/a/b")).unwrap().metadata().unwrap().is_dir());
        assert!(open_plain(root.path(), Path::new("/a/b/file")).is_ok());
        for path in ["/link/b", "/a/last", "/link", "/a/last/file", "/nothing"] {
            assert!(open_plain(root.path(), Path::new(path)).is_err(), "{path}");
        }
    }

    #[test]
    fn mounts_below_a_directory_are_found_with_their_odd_names() {
        let info = "1 0 8:1 / / rw - ext4 a rw\n2 1 8:1 / /r rw - t t rw\n\
                    3 2 8:1 / /r/a\\040b rw - t t rw\n4 1 8:1 / /rx rw - t t rw\n";
        assert_eq!(points_below(info, Path::new("/r")), [Path::new("/r"), Path::new("/r/a b")]);
    }
}
