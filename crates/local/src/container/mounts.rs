//! Bind mounts that keep the flags which a sandbox without privileges can't take away.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use nix::mount::{MsFlags, mount};
use nix::sys::statvfs::{FsFlags, statvfs};

use super::init::OLD_ROOT;
use super::spec::Volume;

const NONE: Option<&str> = None;

/// Makes `source` visible at `target`, which exists.
pub(super) fn bind(source: &Path, target: &Path, read_only: bool) -> io::Result<()> {
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
/// source is seen below the old root.
pub(super) fn volume(volume: &Volume) -> io::Result<()> {
    let source = inside(Path::new("/").join(OLD_ROOT).as_path(), &volume.source);
    let target = volume_target(volume);
    if source.is_dir() {
        fs::create_dir_all(&target)?;
    } else if !target.exists() {
        touch(&target)?;
    }
    bind(&source, &target, false)
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
    fn mounts_below_a_directory_are_found_with_their_odd_names() {
        let info = "1 0 8:1 / / rw - ext4 a rw\n2 1 8:1 / /r rw - t t rw\n\
                    3 2 8:1 / /r/a\\040b rw - t t rw\n4 1 8:1 / /rx rw - t t rw\n";
        assert_eq!(points_below(info, Path::new("/r")), [Path::new("/r"), Path::new("/r/a b")]);
    }
}
