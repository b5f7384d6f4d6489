//! A container's `/dev`.

use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use nix::mount::{MsFlags, mount};

use super::mounts::{bind, touch};

const NODES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];
const OPTIONAL_NODES: [&str; 1] = ["net/tun"];
const LINKS: [(&str, &str); 5] = [
    ("ptmx", "pts/ptmx"),
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
];

/// Fills the directory `dev` of a root under construction.
pub(super) fn build(dev: &Path, many_ids: bool) -> io::Result<()> {
    let none = None::<&str>;
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC;
    mount(Some("tmpfs"), dev, Some("tmpfs"), flags, Some("mode=0755,size=64k"))?;
    for node in NODES {
        device(dev, node)?;
    }
    for node in OPTIONAL_NODES {
        if Path::new("/dev").join(node).exists() {
            device(dev, node)?;
        }
    }
    for directory in ["pts", "shm", "mqueue"] {
        fs::create_dir(dev.join(directory))?;
    }
    for (name, target) in LINKS {
        symlink(target, dev.join(name))?;
    }
    let options =
        if many_ids { "newinstance,ptmxmode=0666,mode=0620,gid=5" } else { "newinstance,ptmxmode=0666,mode=0620" };
    mount(Some("devpts"), &dev.join("pts"), Some("devpts"), flags, Some(options))?;
    let shm = dev.join("shm");
    mount(Some("shm"), &shm, Some("tmpfs"), flags | MsFlags::MS_NODEV, Some("mode=1777,size=64m"))?;
    // Message queues are rarely used and not in every kernel.
    let _ = mount(Some("mqueue"), &dev.join("mqueue"), Some("mqueue"), flags | MsFlags::MS_NODEV, none);
    fs::set_permissions(dev, fs::Permissions::from_mode(0o755))
}

fn device(dev: &Path, name: &str) -> io::Result<()> {
    let target = dev.join(name);
    touch(&target)?;
    bind(&Path::new("/dev").join(name), &target, false)
}
