//! A container's `/etc`: the container's own files, and from the host only what is no secret.

use std::fs;
use std::io;
use std::path::Path;

use super::mounts::{bind, touch};
use super::spec::{Base, ContainerSpec};

/// What programs of the host need from its `/etc`.
const NEEDED: [&str; 17] = [
    "alternatives",
    "bash.bashrc",
    "ca-certificates",
    "ca-certificates.conf",
    "gai.conf",
    "host.conf",
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "localtime",
    "mime.types",
    "pki",
    "profile",
    "protocols",
    "services",
    "ssl",
    "terminfo",
];
/// Password hashes and rules; nobody's business in a container, even one that shows the host.
const SECRET: [&str; 6] = ["shadow", "shadow-", "gshadow", "gshadow-", "sudoers", "sudoers.d"];

/// Fills the directory `etc` of a root under construction.
pub(super) fn build(etc: &Path, spec: &ContainerSpec) -> io::Result<()> {
    for entry in fs::read_dir("/etc")?.flatten() {
        let name = entry.file_name();
        let shown = name.to_str().is_some_and(|name| shown(name, &spec.base));
        let own = spec.etc.iter().any(|(file, _)| name == file.as_str());
        if shown && !own {
            show(&entry.path(), &etc.join(&name))?;
        }
    }
    for (name, content) in &spec.etc {
        fs::write(etc.join(name), content)?;
    }
    Ok(())
}

fn shown(name: &str, base: &Base) -> bool {
    match base {
        Base::Builtin { .. } => NEEDED.contains(&name),
        Base::Host => !SECRET.contains(&name),
    }
}

/// Makes a file, directory or link of the host appear at the same place.
pub(super) fn show(source: &Path, target: &Path) -> io::Result<()> {
    let kind = fs::symlink_metadata(source)?.file_type();
    if kind.is_symlink() {
        return std::os::unix::fs::symlink(fs::read_link(source)?, target);
    }
    if kind.is_dir() {
        fs::create_dir(target)?;
    } else if kind.is_file() {
        touch(target)?;
    } else {
        return Ok(());
    }
    bind(source, target, true)
}
