//! A container's root file system: a tmpfs with read-only parts of the host in it.

use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use nix::mount::{MsFlags, mount};

use super::etc::show;
use super::init::OLD_ROOT;
use super::mounts::{bind, inside, remount_read_only, touch, tree_read_only};
use super::spec::{Base, ContainerSpec};
use super::{devices, etc};

const NONE: Option<&str> = None;
/// Where a distribution keeps programs and libraries, besides `/usr`.
const PROGRAMS: [&str; 7] = ["bin", "sbin", "lib", "lib32", "lib64", "libx32", "nix"];
/// Directories that every container has of its own.
const OWN: [(&str, u32); 14] = [
    ("dev", 0o755),
    ("etc", 0o755),
    ("home", 0o755),
    ("opt", 0o755),
    ("proc", 0o555),
    ("root", 0o700),
    ("run", 0o755),
    ("sys", 0o555),
    ("tmp", 0o1777),
    ("usr", 0o755),
    ("var", 0o755),
    ("var/log", 0o755),
    ("var/run", 0o755),
    ("var/tmp", 0o1777),
];
const PROC_READ_ONLY: [&str; 4] = ["proc/sys", "proc/sysrq-trigger", "proc/irq", "proc/bus"];
const PROC_HIDDEN: [&str; 4] = ["proc/kcore", "proc/keys", "proc/timer_list", "proc/kallsyms"];

/// Builds the root at `spec.root` in the current mount namespace, which is the container's own.
pub(super) fn build(spec: &ContainerSpec) -> io::Result<()> {
    mount(NONE, "/", NONE, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NONE)?;
    let root = spec.root.as_path();
    fs::create_dir_all(root)?;
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    mount(Some("tmpfs"), root, Some("tmpfs"), flags, Some("mode=0755"))?;
    for (name, mode) in OWN {
        let path = root.join(name);
        fs::create_dir(&path)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(mode))?;
    }
    fs::create_dir(root.join(OLD_ROOT))?;
    match &spec.base {
        Base::Builtin { applets } => builtin(root, applets)?,
        Base::Host => host(root, &spec.hidden)?,
    }
    etc::build(&root.join("etc"), spec)?;
    kernel(root, spec.process.identity.privileged)?;
    devices::build(&root.join("dev"), spec.process.identity.many_ids)
}

fn builtin(root: &Path, applets: &[String]) -> io::Result<()> {
    for name in PROGRAMS {
        let source = Path::new("/").join(name);
        if fs::symlink_metadata(&source).is_ok() {
            show(&source, &root.join(name))?;
        }
    }
    // Entry by entry, so that volumes can be mounted beside them.
    if Path::new("/opt").is_dir() {
        children(Path::new("/opt"), &root.join("opt"), &[])?;
    }
    children(Path::new("/usr"), &root.join("usr"), &["local"])?;
    let local = root.join("usr/local");
    fs::create_dir(&local)?;
    if Path::new("/usr/local").is_dir() {
        children(Path::new("/usr/local"), &local, &["bin"])?;
    }
    programs(root, applets)
}

/// `/usr/local/bin` of a built-in image: this binary, by its own name and those of its applets.
fn programs(root: &Path, applets: &[String]) -> io::Result<()> {
    let bin = root.join("usr/local/bin");
    fs::create_dir(&bin)?;
    let binary = bin.join("lateen");
    touch(&binary)?;
    bind(&fs::read_link("/proc/self/exe")?, &binary, true)?;
    for applet in applets {
        let taken = ["/usr/bin", "/bin"].iter().any(|dir| Path::new(dir).join(applet).exists());
        if !taken {
            symlink("lateen", bin.join(applet))?;
        }
    }
    Ok(())
}

/// All of the host but what a container has of its own and the cluster's state.
fn host(root: &Path, hidden: &Path) -> io::Result<()> {
    let own = ["dev", "etc", "proc", "run", "sys", "tmp", "var", "lost+found"];
    for made in ["home", "opt", "root", "usr"] {
        fs::remove_dir(root.join(made))?;
    }
    children(Path::new("/"), root, &own)?;
    children(Path::new("/var"), &root.join("var"), &["log", "run", "tmp"])?;
    tree_read_only(root).and_then(|()| writable(root))?;
    let covered = inside(root, hidden);
    if covered.is_dir() {
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_RDONLY;
        mount(Some("tmpfs"), &covered, Some("tmpfs"), flags, Some("mode=0700,size=4k"))?;
    }
    Ok(())
}

/// Undoes read-only for the container's own tmpfs.
fn writable(root: &Path) -> io::Result<()> {
    let flags = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    Ok(mount(NONE, root, NONE, flags, NONE)?)
}

/// Shows the entries of one directory, except some, in another.
fn children(from: &Path, to: &Path, except: &[&str]) -> io::Result<()> {
    for entry in fs::read_dir(from)?.flatten() {
        let name = entry.file_name();
        let skipped = except.iter().any(|skip| name == *skip);
        if !skipped && fs::symlink_metadata(to.join(&name)).is_err() {
            show(&entry.path(), &to.join(&name))?;
        }
    }
    Ok(())
}

/// `/proc` and `/sys`, with what belongs to the machine closed.
fn kernel(root: &Path, privileged: bool) -> io::Result<()> {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(Some("proc"), &root.join("proc"), Some("proc"), flags, NONE)?;
    // Some kernels refuse a second sysfs to an unprivileged sandbox; few programs need it.
    let _ = mount(Some("sysfs"), &root.join("sys"), Some("sysfs"), flags | MsFlags::MS_RDONLY, NONE);
    if privileged {
        return Ok(());
    }
    for path in PROC_READ_ONLY.iter().map(|path| root.join(path)).filter(|path| path.exists()) {
        bind(&path, &path, true)?;
    }
    for path in PROC_HIDDEN.iter().map(|path| root.join(path)).filter(|path| path.exists()) {
        bind(Path::new("/dev/null"), &path, true)?;
    }
    Ok(())
}

/// Last touches, after the volumes are mounted.
pub(super) fn finish(spec: &ContainerSpec) -> io::Result<()> {
    fs::create_dir_all(&spec.process.cwd).or_else(|e| if spec.process.cwd.is_dir() { Ok(()) } else { Err(e) })?;
    if spec.read_only_root { remount_read_only(Path::new("/")) } else { Ok(()) }
}
